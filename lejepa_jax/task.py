"""What a training run needs to know: three pure functions, and nothing of images or clouds."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lejepa_jax.data import Splits

#: Arrays of one batch by name, examples first.
Batch = Mapping[str, Array]


class Variables(NamedTuple):
    """What a model consists of.

    Attributes:
        params: What the optimiser changes, a pytree of dictionaries.
        state: What a forward pass changes (statistics of BatchNorm), another one.
    """

    params: Any
    state: Any


class Evaluation(NamedTuple):
    """What a trained model is worth.

    Attributes:
        results: Numbers by name, nested; what `results.json` holds.
        table: Something `rich` can print, for the terminal.
        write_report: Writes a page about the run to a path, from a title, the configuration and
            the logged metrics.
    """

    results: dict[str, Any]
    table: Any
    write_report: Callable[[Path, str, dict[str, Any], list[dict[str, float]]], Path]


class Task(NamedTuple):
    """What a run trains, as pure functions.

    Attributes:
        init: Makes the variables from a key.
        loss: Maps `(params, state, key, batch)` to `(loss, (state, metrics))`. The batch is that of
            one device; the loss and the metrics are those of the global batch, the same on every
            device, by collectives over the axis the task was built for. The key is that of the
            step, the same on every device.
        evaluate: Maps `(key, trained, untrained, splits, place)` to an `Evaluation`, where `place`
            puts a NumPy batch on the devices.
    """

    init: Callable[[PRNGKeyArray], Variables]
    loss: Callable[
        [Any, Any, PRNGKeyArray, Batch], tuple[Float[Array, ""], tuple[Any, dict[str, jax.Array]]]
    ]
    evaluate: Callable[
        [PRNGKeyArray, Variables, Variables, Splits, Callable[[Mapping[str, np.ndarray]], Batch]],
        Evaluation,
    ]
