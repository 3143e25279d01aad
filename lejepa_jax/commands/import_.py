"""`import FILE --format timm|torchvision --architecture NAME --out FOLDER`: weights of others."""

import dataclasses
from typing import Annotated, Literal

import tyro

from lejepa_jax.commands.options import parse_options
from lejepa_jax.commands.table import Program
from lejepa_jax.models.saving import save
from lejepa_jax.models.weights.files import import_model, preprocessing_line


@dataclasses.dataclass(frozen=True)
class ImportOptions:
    """A model made of weights in the names of another library.

    Every array has its place, or one error lists all that do not fit.

    Attributes:
        file: A safetensors file. docs/weights.md has the lines that make one of a `.pth`.
        architecture: Its name in that library, such as vit_small_patch14_dinov2, or that with
            options: `"vit_small_patch16_224(image_size=384)"`.
        out: Folder to write: an ordinary model, for --init-from and every other command.
        format: The library.
        prefix: What stands in front of the names, such as "backbone."; others are left.
        eval_size: Side of the images that the encoder sees; by default those it was made for.
        crop: Part of the shorter side of an image that it sees.
        mean: Subtracted from each channel, whose values are in [0, 1]; by default what is usual for
            the architecture.
        std: Divided by, likewise.
        license: License of the weights, for the card.
    """

    file: Annotated[str, tyro.conf.Positional]
    architecture: str
    out: str
    format: Literal["timm", "torchvision"] = "timm"
    prefix: str = ""
    eval_size: int | None = None
    crop: float = 0.875
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    license: str | None = None


def run(arguments: list[str], program: Program) -> int:
    """Make a model of a file.

    Args:
        arguments: `import`, a file and flags.
        program: What runs the command.

    Returns:
        The exit code.

    Raises:
        UsageError: One line about what is wrong.
    """
    options = parse_options(ImportOptions, arguments)
    model, left = import_model(
        options.file,
        options.format,
        options.architecture,
        prefix=options.prefix,
        eval_size=options.eval_size,
        crop=options.crop,
        mean=options.mean,
        std=options.std,
    )
    folder = save(model, options.out, license=options.license)
    say = program.console.print
    if left:
        say(f"left: {', '.join(left)}")
    say(preprocessing_line(model))
    say(f"{model.features} features of {options.architecture}: {folder}")
    return 0
