"""`embed MODEL --data-dir PATH --out FILE`: features of all images or fields below a folder."""

import dataclasses
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import tyro

from lejepa_jax.commands.options import cores, parse_options, prepare_devices
from lejepa_jax.commands.table import Program
from lejepa_jax.models.embedding import embed_folder
from lejepa_jax.models.loading import load
from lejepa_jax.training.command_line import program_words
from lejepa_jax.training.signals import Stop

_SHOWN = 20
_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class EmbedOptions:
    """Features of all files below a folder; the same command goes on where it was stopped.

    Attributes:
        model: A run, a model, a file .safetensors, or hf://OWNER/NAME.
        data_dir: The folder of the images, or of a model of fields that of sounds, TIFF, NIfTI, npy
            or png; sub-folders or `labels.csv` are classes.
        out: File to write: .npz, .parquet or .csv. Files added later are embedded alone.
        num_layers: Last layers to read side by side, of a ViT.
        devices: Number of devices; all by default. On a CPU, as many are made.
    """

    model: Annotated[str, tyro.conf.Positional]
    data_dir: str
    out: str = "features.npz"
    num_layers: int = 1
    devices: int | None = None


def run(arguments: list[str], program: Program) -> int:
    """Write the features of the files below a folder.

    Args:
        arguments: `embed`, a model and flags.
        program: What runs the command.

    Returns:
        The exit code.

    Raises:
        UsageError: One line about what is wrong.
    """
    options = parse_options(EmbedOptions, arguments)
    prepare_devices(options.devices, usual=cores())
    say = program.console.print
    model = load(options.model)
    model.num_devices = options.devices
    noun = model.preprocessing.kind
    with Stop(say) as stop, progress_line(program, noun) as progress:
        found = embed_folder(
            model,
            options.data_dir,
            options.out,
            num_layers=options.num_layers,
            stop=lambda: stop.asked(0),
            progress=progress,
        )
    for record in found.unreadable[:_SHOWN]:
        say(f"skipped {record.name}: {record.reason}")
    if not found.finished:
        again = shlex.join([*program_words(), *arguments])
        say(f"stopped after {found.rows:,} {noun}; go on with: {again}")
        return 0 if stop.signal == signal.SIGTERM else 128 + (stop.signal or 0)
    say(
        f"{found.rows:,} rows, {found.new:,} of them new, {len(found.unreadable):,} {noun} could "
        f"not be read: {options.out} ({model.features * options.num_layers} features), what it is "
        f"of: {options.out}.json"
    )
    return 0


@contextmanager
def progress_line(program: Program, noun: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far something is: a bar in a terminal, a line every ten seconds in a file."""
    import rich.progress

    start, last = time.monotonic(), [time.monotonic()]

    def line(done: int, total: int) -> None:
        now = time.monotonic()
        if now - last[0] >= _SECONDS or done == total:
            last[0] = now
            rate = done / max(now - start, 1e-9)
            program.console.print(f"{done:,}/{total:,} {noun}  {rate:,.0f} {noun}/s")

    if not program.console.is_terminal:
        yield line
        return
    with rich.progress.Progress(console=program.console) as bar:
        task = bar.add_task(noun, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
