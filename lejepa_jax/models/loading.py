"""Models from wherever they are: a run, a folder, a file, the hub, or this package."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lejepa_jax.models.architecture import maker_of
from lejepa_jax.models.model import Model, abstract_variables, make_network
from lejepa_jax.models.preprocessing import read_preprocessing
from lejepa_jax.models.saving import CONFIG, FORMAT, WEIGHTS
from lejepa_jax.models.storage.run_models import load_run
from lejepa_jax.models.tensors import TensorFile, mismatches, name_arrays, sha256_of
from lejepa_jax.training.storage.files import describe_error, read_regular

#: Folders of models that come with this package, by name.
BUNDLED = Path(__file__).parent / "bundled"
_MAX_CONFIG = 2**24


def load(what: str | os.PathLike[str], *, encoder: Callable[..., Any] | None = None) -> Model:
    """Load a model. Nothing that is loaded is executed.

    Args:
        what: The folder of a run (its `model`, or of one that was stopped its newest checkpoint),
            a folder that `save` wrote, a file `.safetensors` of one, `hf://OWNER/NAME` of the
            Hugging Face hub, maybe with `@REVISION`, or the name of a model of this package.
        encoder: What makes the encoder, where that is not one of these packages: as the recipe has
            it.

    Returns:
        The model.

    Raises:
        ValueError: If there is no such model, it is damaged, or its arrays are not those of its
            networks: one line with all that is wrong.

    Examples:
        >>> load("runs/nowhere")
        Traceback (most recent call last):
            ...
        ValueError: model must be the folder of a run or of a model, a file .safetensors,
        hf://OWNER/NAME or the name of one of this package (cifar10-small, digits), got
        'runs/nowhere'
    """
    text = os.fspath(what)
    if text.startswith("hf://"):
        from lejepa_jax.models.storage.hub import fetch_model

        folder, root = fetch_model(text)
        return load_folder(folder, root=root, encoder=encoder)
    path = Path(text).expanduser()
    if path.is_dir():
        if (path / CONFIG).exists() or (path / WEIGHTS).exists():
            return load_folder(path, encoder=encoder)
        if (path / "run.json").exists():
            return _load_run(path, encoder)
        raise ValueError(f"{path} holds neither a run nor a model")
    if path.is_file():
        return load_file(path, encoder=encoder)
    names = bundled_models()
    if text in names:
        return load_folder(BUNDLED / text, encoder=encoder)
    there = ", ".join(names) or "there are none"
    raise ValueError(
        "model must be the folder of a run or of a model, a file .safetensors, hf://OWNER/NAME or "
        f"the name of one of this package ({there}), got {text!r}"
    )


def bundled_models() -> list[str]:
    """Names of the models that come with this package."""
    if not BUNDLED.is_dir():
        return []
    return sorted(entry.name for entry in BUNDLED.iterdir() if (entry / CONFIG).is_file())


def load_folder(
    folder: Path, *, root: Path | None = None, encoder: Callable[..., Any] | None = None
) -> Model:
    """Load what `save` wrote.

    Args:
        folder: The folder.
        root: Where its files may lie, if some are links; by default the folder itself.
        encoder: See `load`.

    Returns:
        The model.

    Raises:
        ValueError: See `load`.
    """
    inside = (folder if root is None else root).resolve()
    for name in (CONFIG, WEIGHTS):
        file = folder / name
        if not file.exists():
            raise ValueError(f"{folder} lacks {name}")
        if not file.resolve().is_relative_to(inside):
            raise ValueError(f"{file} is a link out of {inside}: it is not followed")
    config = read_config(folder / CONFIG)
    return _load(TensorFile(folder / WEIGHTS), config, encoder, str(folder))


def load_file(path: Path, *, encoder: Callable[..., Any] | None = None) -> Model:
    """Load one file that `save` wrote, without its folder: its header says what it is.

    Args:
        path: The file.
        encoder: See `load`.

    Returns:
        The model.

    Raises:
        ValueError: See `load`.
    """
    file = TensorFile(path)
    text = file.metadata.get("lejepa_jax")
    if text is None:
        raise ValueError(
            f"{path} does not say which network its arrays are of: it was not written by "
            "lejepa_jax.save. Weights of timm and torchvision are converted by "
            "`python train.py import`"
        )
    return _load(file, parse_config(text, str(path)), encoder, str(path))


def read_config(path: Path) -> dict[str, Any]:
    """Read `config.json`.

    Raises:
        ValueError: If it is no configuration of a model.
    """
    try:
        if path.stat().st_size > _MAX_CONFIG:
            raise ValueError(f"{path} is larger than {_MAX_CONFIG} bytes")
        text = read_regular(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {describe_error(error)}") from None
    return parse_config(text, str(path))


def parse_config(text: str, title: str) -> dict[str, Any]:
    """Read the configuration of a model from JSON.

    Args:
        text: The JSON.
        title: Where it is from, for errors.

    Returns:
        The configuration, whose parts are not looked at yet.

    Raises:
        ValueError: If it is no configuration of a model.

    Examples:
        >>> parse_config("[]", "config.json")
        Traceback (most recent call last):
            ...
        ValueError: config.json is no configuration of a lejepa-jax model
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{title} is no JSON that can be read: {error}") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ValueError(f"{title} is no configuration of a {FORMAT}")
    if config.get("version") != 1:
        raise ValueError(f"{title} is of version {config.get('version')!r}; this package reads 1")
    return config


def _load(
    file: TensorFile, config: Mapping[str, Any], encoder: Callable[..., Any] | None, title: str
) -> Model:
    """Check shapes against the networks, before anything is read; then read."""
    try:
        makers = read_makers(config, len(file.shapes), encoder)
        preprocessing = read_preprocessing(config.get("preprocessing"))
        precision = str(config.get("precision"))[:20]
        like = abstract_variables(make_network(makers, preprocessing, precision))
    except ValueError as error:
        raise ValueError(f"{title}: {error}") from error
    wanted = {name: tuple(x.shape) for part in like for name, x in name_arrays(part).items()}
    if wrong := mismatches(file.shapes, wanted):
        raise ValueError(
            f"{file.path} holds other arrays than the networks of its configuration, "
            f"{len(wrong)} difference{'s' * (len(wrong) > 1)}: {'; '.join(wrong)}"
        )
    size, memory = file.path.stat().st_size, _memory()
    if size > memory:
        raise ValueError(f"{file.path} has {size} bytes, more than the memory of this machine")
    digest = config.get("sha256")
    if digest is not None and digest != sha256_of(file.path):
        raise ValueError(f"{file.path} was changed: its SHA-256 is not that of {CONFIG}")
    provenance = config.get("provenance")
    return Model(
        makers,
        file.read(),
        preprocessing,
        precision=precision,
        provenance=provenance if isinstance(provenance, dict) else {},
    )


def read_makers(
    config: Mapping[str, Any], num_arrays: int, encoder: Callable[..., Any] | None
) -> dict[str, Callable[..., Any]]:
    """Find what makes the networks that a configuration names.

    Args:
        config: Of a model.
        num_arrays: Arrays that it has.
        encoder: See `load`.

    Returns:
        What makes each network, by name.

    Raises:
        ValueError: If it names anything else.
    """
    parts = config.get("architecture")
    if (
        not isinstance(parts, dict)
        or "encoder" not in parts
        or set(parts)
        > {
            "encoder",
            "projector",
        }
    ):
        raise ValueError("the architecture must have an encoder, and maybe a projector")
    return {
        name: maker_of(part, num_arrays, encoder if name == "encoder" else None)
        for name, part in parts.items()
    }


def _load_run(folder: Path, encoder: Callable[..., Any] | None) -> Model:
    """Load the model of a run, or its newest checkpoint if it has gone on since."""
    kept = folder / "model"
    step = None
    if (kept / CONFIG).is_file():
        step = read_config(kept / CONFIG).get("provenance", {}).get("step")
    newer = load_run(folder, after=step, read_makers=read_makers, encoder=encoder)
    return load_folder(kept, encoder=encoder) if newer is None else newer


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 2**63
