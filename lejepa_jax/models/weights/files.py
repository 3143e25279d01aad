"""Models from files of other libraries, and files for them: safetensors in their names."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lejepa_jax.augment.presets import IMAGENET_MEAN, IMAGENET_STD
from lejepa_jax.evaluation.features import fetch
from lejepa_jax.models.model import Model
from lejepa_jax.models.preprocessing import FieldPreprocessing, ImagePreprocessing
from lejepa_jax.models.tensors import TensorFile, name_arrays, sha256_of
from lejepa_jax.models.weights.architectures import architecture_by_name
from lejepa_jax.models.weights.conversion import (
    from_timm,
    from_torchvision,
    named_model,
    to_timm,
    to_torchvision,
)
from lejepa_jax.models.weights.pytorch import pytorch_lines, torch_model
from lejepa_jax.nn.encoder import encoder_by_name
from lejepa_jax.training.storage.files import write_atomically

_HALF = (0.5, 0.5, 0.5)
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def usual_statistics(architecture: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give the mean and deviation that most public weights of an architecture were trained with.

    Args:
        architecture: Its name.

    Returns:
        Mean and deviation of the channels, of values in [0, 1].

    Examples:
        >>> usual_statistics("vit_tiny_patch16_224")[0], usual_statistics("resnet18")[0]
        ((0.5, 0.5, 0.5), (0.485, 0.456, 0.406))
    """
    if "_clip_" in architecture:
        return _CLIP_MEAN, _CLIP_STD
    others = ("dino", "rope", "patch8")
    if architecture.startswith("vit_") and not any(part in architecture for part in others):
        return _HALF, _HALF
    return IMAGENET_MEAN, IMAGENET_STD


def import_model(
    file: str | os.PathLike[str],
    library: str,
    architecture: str,
    *,
    prefix: str = "",
    eval_size: int | None = None,
    crop: float = 0.875,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> tuple[Model, tuple[str, ...]]:
    """Make a model of a file in the names of another library.

    Args:
        file: A safetensors file. Nothing in it is executed.
        library: "timm" or "torchvision".
        architecture: Its name there, see `ARCHITECTURES`.
        prefix: What stands in front of the names in the file.
        eval_size: Side of the images that the encoder sees; by default those it was made for, or
            224.
        crop: Part of the shorter side of an image that it sees.
        mean: Of the channels; by default `usual_statistics`.
        std: Their deviation, likewise.

    Returns:
        The model, and the names in the file that were left.

    Raises:
        ValueError: If the file cannot be read, or does not fit: one error with every mismatch.

    Examples:
        >>> import_model("nowhere.safetensors", "timm", "resnet18")
        Traceback (most recent call last):
            ...
        ValueError: nowhere.safetensors is not a file
    """
    path = Path(file).expanduser()
    architecture_by_name(library, architecture)
    read = from_timm if library == "timm" else from_torchvision
    if path.suffix in (".pth", ".pt", ".bin", ".ckpt", ".tar"):
        raise ValueError(
            f"{path} must be a safetensors file: a pickle is a program. docs/weights.md has the "
            "lines that convert it with torch"
        )
    imported = read(TensorFile(path).read(), architecture, prefix=prefix)
    make = encoder_by_name(imported.encoder)
    options = make.keywords if isinstance(make, functools.partial) else {}
    size = eval_size or options.get("image_size", 224)
    usual_mean, usual_std = usual_statistics(architecture)
    preprocessing = ImagePreprocessing(
        channels=options.get("in_channels", 3),
        image_size=round(size / crop),
        eval_size=size,
        crop=crop,
        mean=tuple(usual_mean if mean is None else mean),
        std=tuple(usual_std if std is None else std),
        batch_size=64,
    )
    arrays = {
        f"encoder.{name}": x
        for tree in (imported.params, imported.state)
        for name, x in name_arrays(tree).items()
    }
    digest = sha256_of(path)
    provenance = {
        "recipe": architecture,
        "weights": f"{path.name} in the names of {library}, SHA-256 {digest}",
    }
    return Model({"encoder": make}, arrays, preprocessing, provenance=provenance), imported.left


def export_pytorch(
    model: Model, file: str | os.PathLike[str], library: str, *, architecture: str | None = None
) -> str:
    """Write the encoder of a model in the names of another library.

    Args:
        model: The model.
        file: The safetensors file to write. It appears as a whole or not at all.
        library: "timm" or "torchvision".
        architecture: Name of the model there; by default the general class.

    Returns:
        The lines that load it in PyTorch; they leave the encoder in `model`. The header of the file
        has them, too.

    Raises:
        ValueError: If the library has no such model.
        OSError: If the file cannot be written.

    Examples:
        >>> import jax
        >>> from lejepa_jax.models import random_model
        >>> from lejepa_jax.nn import convnext
        >>> preprocessing = ImagePreprocessing(channels=3, image_size=8, eval_size=8)
        >>> make = functools.partial(convnext, "atto", depths=(1,), widths=(4,))
        >>> model = random_model(jax.random.key(0), {"encoder": make}, preprocessing)
        >>> export_pytorch(model, "model.safetensors", "torchvision")
        Traceback (most recent call last):
            ...
        ValueError: format='torchvision' has no model like ConvNeXt
    """
    from safetensors.numpy import save

    path = Path(file).expanduser()
    encoder = model.net.shape.encoder
    write = to_timm if library == "timm" else to_torchvision
    params, state = (
        {} if "encoder" not in tree else _fetched(tree["encoder"]) for tree in model.variables
    )
    weights = write(encoder, params, state, architecture=architecture)
    chosen = torch_model(encoder, library)
    if architecture is not None and "(" not in architecture:
        chosen = named_model(library, architecture)
    lines = pytorch_lines(chosen, path.name)
    write_atomically(path, save(weights, {"format": "pt", "load": lines}))
    return lines


def preprocessing_line(model: Model) -> str:
    """Say in one line what an exported encoder expects.

    Args:
        model: A model of images or fields.

    Returns:
        The line.
    """
    given = model.preprocessing
    if isinstance(given, FieldPreprocessing):
        sides = " x ".join(map(str, given.eval_size))
        return (
            f"inputs: values (b, {sides}, {len(given.mean)}) of float32, less mean "
            f"{list(given.mean)}, over std {list(given.std)}"
            + (f", and their measure (b, {sides}): 0 where there is none" if given.weigh else "")
        )
    if not isinstance(given, ImagePreprocessing):
        return "inputs: see config.json"
    return (
        f"inputs: {given.channels} channels, {given.eval_size} x {given.eval_size} pixels in "
        f"[0, 1], less mean {list(given.mean)}, over std {list(given.std)}"
    )


def _fetched(tree: Any) -> Any:
    return jax.tree.map(lambda x: np.asarray(fetch(x)), tree)
