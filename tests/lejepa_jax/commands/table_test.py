"""The table of commands."""

import importlib

import pytest

import train
from lejepa_jax.commands.table import COMMANDS
from recipes import recipes


def test_every_command_has_a_function_and_no_recipe_has_its_name():
    for name, command in COMMANDS.items():
        module = importlib.import_module(f"lejepa_jax.commands.{command.module}")
        assert callable(module.run), name
    assert not set(COMMANDS) & set(recipes())


def test_the_help_lists_them(capsys):
    with pytest.raises(SystemExit) as end:
        train.main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert f"{name} {command.usage}: {command.summary[:10]}" in shown
