"""What `python train.py COMMAND` runs beside training: one module a command."""

from lejepa_jax.commands.table import COMMANDS, Command, Program, run_command

__all__ = ["COMMANDS", "Command", "Program", "run_command"]
