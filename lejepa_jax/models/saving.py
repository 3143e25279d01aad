"""A model as a folder: weights, configuration and a card, as the Hugging Face hub expects."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lejepa_jax.evaluation.features import fetch
from lejepa_jax.models.card import write_card
from lejepa_jax.models.model import Model
from lejepa_jax.models.tensors import current_umask, name_arrays, write_tensors
from lejepa_jax.training.storage.files import write_atomically

#: Names of the files of a model.
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
FORMAT = "lejepa-jax model"
# Beside these three, what tools of the hub leave in a folder.
_HARMLESS = {WEIGHTS, CONFIG, CARD, ".gitattributes", ".cache", ".git"}


def save(model: Model, folder: str | os.PathLike[str], *, license: str | None = None) -> Path:
    """Write a model as a folder: `model.safetensors`, `config.json` and `README.md`, the card.

    The folder is there as a whole or not at all; an older model in it is replaced.

    Args:
        model: The model.
        folder: Where to. An existing one must be empty or hold a model.
        license: License of the weights, such as `apache-2.0`, for the card; by default what the
            provenance says.

    Returns:
        The folder.

    Raises:
        ValueError: If the folder holds something else, or an option of a network is no literal.
        OSError: If it cannot be written; what was there before is still there.

    Examples:
        >>> import functools, jax
        >>> from lejepa_jax.nn import ResNet
        >>> from lejepa_jax.models.model import random_model
        >>> from lejepa_jax.models.preprocessing import ImagePreprocessing
        >>> make = functools.partial(ResNet, stage_sizes=(1,), width=4, stem="small", in_channels=1)
        >>> preprocessing = ImagePreprocessing(channels=1, image_size=8, eval_size=8)
        >>> model = random_model(jax.random.key(0), {"encoder": make}, preprocessing)
        >>> folder = save(model, Path(tempfile.mkdtemp()) / "model")
        >>> sorted(path.name for path in folder.iterdir())
        ['README.md', 'config.json', 'model.safetensors']
    """
    folder = Path(os.path.abspath(Path(folder).expanduser()))
    check_replaceable(folder)
    provenance = dict(model.provenance) | ({} if license is None else {"license": license})
    arrays = {
        name: fetch(leaf) for part in model.variables for name, leaf in name_arrays(part).items()
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
    try:
        partial.chmod(0o777 & ~current_umask())
        config = model.config | {"features": model.features, "provenance": provenance}
        write_model_files(partial, arrays, config)
        replace_folder(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def write_model_files(
    folder: Path, arrays: Mapping[str, np.ndarray], config: Mapping[str, Any]
) -> None:
    """Write the three files of a model.

    Args:
        folder: An existing folder.
        arrays: Parameters and state by name.
        config: What `Model.config` gives, and the provenance.
    """
    # A file without its folder still says what it is.
    alone = json.dumps({"format": FORMAT, "version": 1, **config}, allow_nan=False)
    sha256 = write_tensors(folder / WEIGHTS, arrays, {"format": "np", "lejepa_jax": alone})
    whole = {"format": FORMAT, "version": 1, **config, "sha256": sha256}
    write_atomically(folder / CONFIG, json.dumps(whole, indent=2, allow_nan=False))
    sizes = {name: tuple(array.shape) for name, array in arrays.items()}
    write_atomically(folder / CARD, write_card(whole, sizes))


def check_replaceable(folder: Path) -> None:
    """Refuse to replace what is no model.

    Raises:
        ValueError: If the path is a file, or a folder with other files.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"{folder} must be a folder to hold a model, or not be there")
    if folder.is_dir():
        others = sorted({entry.name for entry in folder.iterdir()} - _HARMLESS)
        if others:
            raise ValueError(
                f"{folder} must be empty or hold a model alone, and has {', '.join(others[:3])}"
            )


def replace_folder(new: Path, folder: Path) -> None:
    """Put a folder in the place of another one.

    Args:
        new: The new folder.
        folder: Its place; what is there is removed once the new one is in its place.
    """
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old-", dir=folder.parent)) / "old"
    try:
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except BaseException:
            if old.exists():
                old.rename(folder)
            raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)
