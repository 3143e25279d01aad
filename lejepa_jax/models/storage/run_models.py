"""The model of a run: what is kept of it at its end, and what its newest checkpoint holds."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp

from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.features import fetch
from lejepa_jax.evaluation.results import Results
from lejepa_jax.models.model import Model, abstract_variables, describe_model, make_network
from lejepa_jax.models.preprocessing import read_preprocessing
from lejepa_jax.models.saving import save
from lejepa_jax.models.tensors import mismatches, name_arrays
from lejepa_jax.training.networks import Variables
from lejepa_jax.training.step import TrainState, trained_variables
from lejepa_jax.training.storage.damage import Folders, steps_on_disk
from lejepa_jax.training.storage.files import (
    checksums,
    describe_error,
    read_checksums,
    read_regular,
)
from lejepa_jax.training.task import Kept

T = TypeVar("T")


def describe_kept(kept: Kept | None, precision: str) -> dict[str, Any]:
    """Describe what a run will leave behind, for `run.json`: a checkpoint is read with it.

    Args:
        kept: Of the task.
        precision: Type in which the networks compute.

    Returns:
        Under `model` its configuration and where its parts are in the variables, or the `reason`
        why it cannot be described; nothing where nothing is kept.
    """
    if kept is None:
        return {}
    makers = {name: part.make for name, part in kept.parts.items()}
    try:
        config = describe_model(makers, read_preprocessing(kept.preprocessing), precision)
    except ValueError as error:
        return {"model": {"reason": str(error)}}
    paths = {name: list(part.path) for name, part in kept.parts.items()}
    return {"model": {**config, "paths": paths}}


def export_run(
    kept: Kept | None,
    state: TrainState,
    workdir: Path,
    splits: Splits,
    results: Results | None,
    progress: Any,
) -> bool:
    """Write the model of a run that is over, as `WORKDIR/model`; every process takes part.

    Args:
        kept: Of the task.
        state: Of the run.
        workdir: Its folder, with `run.json` in it.
        splits: Its data.
        results: What the evaluators found.
        progress: Of the run; it says where the model is, or warns of what went wrong.

    Returns:
        Whether it was written; True where nothing is kept.
    """
    if kept is None:
        return True
    arrays = kept_arrays(kept, trained_variables(state))
    if jax.process_index() != 0:
        return True
    try:
        metadata = json.loads(read_regular(workdir / "run.json"))
        provenance = run_provenance(
            metadata,
            step=int(state.step),
            averaged=state.ema is not None,
            data={
                "name": splits.name,
                "train": len(splits.train),
                "test": len(splits.test),
                "classes": splits.train.num_classes,
            },
            results=None if results is None else results.as_json(),
        )
        model = kept_model(kept, arrays, metadata["config"]["precision"], provenance)
        folder = save(model, workdir / "model")
    except (OSError, ValueError) as error:
        progress.warn(f"no model was written: {describe_error(error)}")
        return False
    progress.say(f"model: {folder}")
    return True


def usage_lines(kept: Kept | None, workdir: Path) -> str | None:
    """Lines of code that load the model of a run, for its report; None where none is kept."""
    if kept is None:
        return None
    return f'import lejepa_jax\n\nmodel = lejepa_jax.load("{workdir}")\nfeatures = model(inputs)'


def kept_arrays(kept: Kept, variables: Variables) -> dict[str, np.ndarray]:
    """Bring what is kept to the host; every process takes part, and gets all of it.

    Args:
        kept: Of the task.
        variables: Of the task, maybe sharded over devices of several processes.

    Returns:
        Arrays by the names they have in a model.
    """
    arrays = {}
    for name, part in kept.parts.items():
        for tree in variables:
            arrays |= _below(tree, name, part.path)
    return arrays


def kept_model(
    kept: Kept, arrays: Mapping[str, np.ndarray], precision: str, provenance: Mapping[str, Any]
) -> Model:
    """Make the model of a run.

    Args:
        kept: Of the task.
        arrays: What `kept_arrays` gave.
        precision: Type in which the networks compute.
        provenance: Where the model is from.

    Returns:
        The model, on the host.
    """
    return Model(
        {name: part.make for name, part in kept.parts.items()},
        arrays,
        read_preprocessing(kept.preprocessing),
        precision=precision,
        provenance=provenance,
    )


def run_provenance(
    metadata: Mapping[str, Any],
    *,
    step: int,
    averaged: bool,
    data: Mapping[str, Any] | None = None,
    results: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Say where the model of a run is from.

    Args:
        metadata: What `run.json` holds.
        step: Steps done.
        averaged: Whether the weights are the exponential moving average.
        data: Name and sizes of the data set.
        results: What `results.json` holds.

    Returns:
        Facts that JSON can hold.
    """
    config = metadata.get("config", {})
    known = {"name": config.get("data"), "data_dir": config.get("data_dir")}
    found = {
        **{name: metadata.get(name) for name in ("recipe", "command", "versions", "source")},
        "step": step,
        "steps": metadata.get("steps"),
        "seed": config.get("seed"),
        "weights": "exponential moving average" if averaged else "those of the last step",
        "data": {**known, **(data or {})},
        "init_from": config.get("init_from"),
    }
    if results:
        found["results"] = {
            name: _finite(value) for name, value in results.items() if name != "confusion"
        }
    return {name: value for name, value in found.items() if value is not None}


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no Inf."""
    if isinstance(value, Mapping):
        return {str(name): _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def load_run(
    folder: Path,
    *,
    after: int | None,
    read_makers: Callable[..., dict[str, Callable[..., Any]]],
    encoder: Callable[..., Any] | None,
) -> Model | None:
    """Load the newest checkpoint of a run that is whole; nothing of the run is changed.

    Args:
        folder: Of the run.
        after: Step of the model that the run has left, if there is one.
        read_makers: Finds what makes the networks of a configuration.
        encoder: What makes the encoder, where it is the user's own.

    Returns:
        The model; None if the one that was left is as new.

    Raises:
        ValueError: If there is no checkpoint, or none can be read.
    """
    folders = folders_of(folder)
    steps = [step for step in steps_on_disk(folders) if after is None or step > after]
    if not steps:
        if after is None:
            raise ValueError(f"{folder} holds a run without a model and without a checkpoint yet")
        return None
    try:
        metadata = json.loads(read_regular(folder / "run.json"))
        config = metadata["model"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, KeyError):
            raise ValueError(
                f"{folder} is a run of an earlier version, whose checkpoints do not say what they "
                "are of: its command, typed again, writes its model"
            ) from None
        raise ValueError(f"{folder / 'run.json'} cannot be read: {describe_error(error)}") from None
    if "reason" in config:
        raise ValueError(
            f"{folder} holds a run whose model cannot be described: {config['reason']}"
        )

    def read(arrays: Mapping[str, np.ndarray], averaged: bool, step: int) -> Model:
        provenance = run_provenance(metadata, step=step, averaged=averaged)
        return _model_of(arrays, config, provenance, read_makers, encoder)

    return read_newest(folder, config["paths"], read, after=after)


def folders_of(folder: Path) -> Folders:
    """Say where a run keeps its checkpoints, and what it knows of them."""
    return Folders(folder / "checkpoints", folder / "checksums", folder / "damaged")


def read_newest(
    folder: Path,
    paths: Mapping[str, list[str]],
    read: Callable[[Mapping[str, np.ndarray], bool, int], T],
    *,
    after: int | None = None,
) -> T:
    """Read variables out of the newest checkpoint of a run that is whole.

    Args:
        folder: Of the run.
        paths: Where each part lies in the variables, by name.
        read: Makes something of `(arrays, averaged, step)`: arrays by name, such as
            `encoder.norm.scale`, whether they are averages, and the step; raises if they do not
            fit.
        after: Only checkpoints after this step; None for all.

    Returns:
        What `read` made.

    Raises:
        ValueError: If there is no checkpoint, or none can be read.
    """
    folders = folders_of(folder)
    steps = [step for step in steps_on_disk(folders) if after is None or step > after]
    if not steps:
        raise ValueError(f"{folder} holds a run without a checkpoint yet")
    reasons = []
    for step in steps:
        state = folders.checkpoints / str(step) / "state"
        try:
            known = read_checksums(folders.record(step))
            if known is not None and known != checksums(folders.checkpoints / str(step)):
                raise ValueError("it was changed or cut short")
            arrays, averaged = _read_state(state, paths)
            return read(arrays, averaged, step)
        except Exception as error:  # orbax raises errors of all kinds
            reasons.append(f"step {step}: {describe_error(error)}")
    raise ValueError(f"no checkpoint of {folder} can be read ({'; '.join(reasons)})")


def _model_of(
    arrays: Mapping[str, np.ndarray],
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    read_makers: Callable[..., dict[str, Callable[..., Any]]],
    encoder: Callable[..., Any] | None,
) -> Model:
    makers = read_makers(config, len(arrays), encoder)
    preprocessing = read_preprocessing(config["preprocessing"])
    precision = config["precision"]
    like = abstract_variables(make_network(makers, preprocessing, precision))
    wanted = {name: tuple(x.shape) for part in like for name, x in name_arrays(part).items()}
    if wrong := mismatches({name: x.shape for name, x in arrays.items()}, wanted):
        raise ValueError(f"it holds other arrays than the networks: {'; '.join(wrong)}")
    return Model(makers, arrays, preprocessing, precision=precision, provenance=provenance)


def _read_state(state: Path, paths: Mapping[str, list[str]]) -> tuple[dict[str, np.ndarray], bool]:
    """Read the variables out of a checkpoint, the averaged ones if there are any."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        tree = checkpointer.metadata(state).item_metadata.tree
        averaged = next((name for name in ("ema", "average") if tree.get(name) is not None), None)
        name = averaged or "variables"
        wanted = {name: tree[name]}
        restored = checkpointer.restore(
            state,
            args=ocp.args.PyTreeRestore(
                item=wanted,
                restore_args=jax.tree.map(
                    lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted
                ),
                partial_restore=True,
            ),
        )
    found = {}
    for tree in (restored[name]["params"], restored[name]["state"]):
        for part, path in paths.items():
            found |= _below(tree, part, tuple(path))
    return found, averaged is not None


def _below(tree: Any, name: str, path: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Arrays of one part of the variables, by the names they have in a model."""
    for key in path:
        if not isinstance(tree, Mapping) or key not in tree:
            return {}  # a part without parameters, or without state
        tree = tree[key]
    return {f"{name}.{inner}": fetch(leaf) for inner, leaf in name_arrays(tree).items()}
