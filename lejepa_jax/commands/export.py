"""`export MODEL --format FORMAT --out PATH`: the encoder of a model for other libraries."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from lejepa_jax.commands.options import parse_options
from lejepa_jax.commands.table import Program
from lejepa_jax.models.loading import load
from lejepa_jax.models.programs import export_onnx, export_stablehlo, input_shapes
from lejepa_jax.models.saving import save
from lejepa_jax.models.weights.files import export_pytorch, preprocessing_line


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """The encoder of a model for other libraries.

    Attributes:
        model: A run, a model, a file .safetensors, or hf://OWNER/NAME. Of a run that was stopped,
            its newest checkpoint.
        out: What to write: a folder for `safetensors`, else a file.
        format: `safetensors` is the folder that `load` reads; `timm` and `torchvision` are weights
            in the names of those libraries; `stablehlo` and `onnx` are programs.
        architecture: Name of the model in timm or torchvision; by default the general class, whose
            arguments are printed.
        license: License of the weights, for the card of `safetensors`.
    """

    model: Annotated[str, tyro.conf.Positional]
    out: str
    format: Literal["safetensors", "timm", "torchvision", "stablehlo", "onnx"] = "safetensors"
    architecture: str | None = None
    license: str | None = None


def run(arguments: list[str], program: Program) -> int:
    """Export an encoder.

    Args:
        arguments: `export`, a model and flags.
        program: What runs the command.

    Returns:
        The exit code.

    Raises:
        UsageError: One line about what is wrong.
    """
    options = parse_options(ExportOptions, arguments)
    model, out = load(options.model), Path(options.out).expanduser()

    def say(text: str) -> None:
        # As it is: brackets are no markup here, and lines are for copying.
        program.console.print(text, markup=False, highlight=False, soft_wrap=True)

    if options.format == "safetensors":
        say(f"{save(model, out, license=options.license)}")
        return 0
    if out.is_dir():
        raise ValueError(f"out must be a file for format={options.format}, got the folder {out}")
    out.parent.mkdir(parents=True, exist_ok=True)
    if options.format in ("timm", "torchvision"):
        lines = export_pytorch(model, out, options.format, architecture=options.architecture)
        say(f"{lines}\n# {preprocessing_line(model)}")
    elif options.format == "stablehlo":
        export_stablehlo(model, out)
        names = ", ".join(input_shapes(model))
        say(f"jax.export.deserialize(open({str(out)!r}, 'rb').read()).call({names})")
        say(f"# {preprocessing_line(model)}")
    else:
        difference = export_onnx(model, out)
        say(f"{out}: differs from our features by {difference:.1e}")
        say(f"# {preprocessing_line(model)}")
    return 0
