"""The whole world model of a run: encoder, projector and predictor, to plan with."""

import ast
import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from lejepa_jax.models.model import abstract_variables
from lejepa_jax.models.storage.run_models import read_newest, run_provenance
from lejepa_jax.models.tensors import arrange_arrays, mismatches, name_arrays
from lejepa_jax.training.networks import Variables
from lejepa_jax.training.storage.files import describe_error, read_regular
from lejepa_jax.worldmodels.config import WorldModelConfig
from lejepa_jax.worldmodels.dynamics import world_model_network
from lejepa_jax.worldmodels.trained import TrainedWorldModel
from lejepa_jax.worldmodels.trajectories.episodes import ActionScale

_PARTS = ("encoder", "projector", "predictor", "inverse")


def load_world_model(
    folder: str | os.PathLike[str], *, encoder: Callable[..., Any] | None = None
) -> TrainedWorldModel:
    """Load the world model of a run, from its newest checkpoint. Nothing of the run is executed.

    `lejepa_jax.load` gives the encoder of frames alone.

    Args:
        folder: Folder of the run.
        encoder: What makes the encoder, where the recipe has a function of its own.

    Returns:
        The model.

    Raises:
        ValueError: If there is no such run, or no checkpoint can be read.

    Examples:
        >>> load_world_model("runs/nowhere")
        Traceback (most recent call last):
            ...
        ValueError: folder must be that of a run of a world model, got 'runs/nowhere': ...
    """
    path = Path(folder).expanduser()
    try:
        metadata = json.loads(read_regular(path / "run.json"))
        config = _read_config(metadata["config"]["task"], encoder)
        scale = ActionScale(
            *(
                np.asarray(ast.literal_eval(metadata["data"][name]), np.float32)
                for name in ("action_mean", "action_std")
            )
        )
        channels = int(metadata["model"]["preprocessing"]["channels"])
    except (OSError, ValueError, KeyError, TypeError, SyntaxError) as error:
        raise ValueError(
            f"folder must be that of a run of a world model, got {str(folder)!r}: "
            f"{describe_error(error)}"
        ) from None
    precision = metadata["config"]["precision"]
    net = world_model_network(
        config,
        action_features=config.action_block * len(scale.mean),
        in_channels=channels,
        dtype=jnp.dtype(precision),
    )
    like = abstract_variables(net)
    wanted = {name: tuple(x.shape) for part in like for name, x in name_arrays(part).items()}

    def read(arrays: Mapping[str, np.ndarray], averaged: bool, step: int) -> TrainedWorldModel:
        if wrong := mismatches({name: x.shape for name, x in arrays.items()}, wanted):
            raise ValueError(f"it holds other arrays than the networks: {'; '.join(wrong)}")
        variables = Variables(*(arrange_arrays(arrays, part) for part in like))
        provenance = run_provenance(metadata, step=step, averaged=averaged)
        return TrainedWorldModel(config, net, variables, scale, provenance)

    return read_newest(path, {name: [name] for name in _PARTS}, read)


def _read_config(
    described: Mapping[str, Any], encoder: Callable[..., Any] | None
) -> WorldModelConfig:
    """Make the configuration that `describe` wrote as JSON."""
    known = {field.name for field in dataclasses.fields(WorldModelConfig)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in described.items()
        if name in known
    }
    # Where it acted in the run is no part of the model, and may be a class of the user's own.
    values["environment"] = None
    if encoder is not None:
        values["encoder"] = encoder
    elif not isinstance(values.get("encoder"), str | None):
        raise ValueError("its encoder is a function of the recipe: give encoder=MAKER")
    return WorldModelConfig(**values)
