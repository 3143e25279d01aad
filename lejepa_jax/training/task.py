"""What a training run needs to know: four pure functions, and nothing of images or clouds."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from lejepa_jax.data.splits import Splits
from lejepa_jax.statistics.reductions import AxisName

#: Arrays of one batch by name, examples first.
Batch = Mapping[str, Array]


class Variables(NamedTuple):
    """What a model consists of.

    Attributes:
        params: What the optimizer changes, a pytree of dictionaries.
        state: What a forward pass changes (statistics of BatchNorm), a dictionary of others.
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

    A step is `encode`, then `loss`. What each example can do for itself is in the first, so that a
    large batch can go through it in parts; what couples examples is in the second. Both get the key
    of the step, the same on every device, and the batch of one device, and both return the entries
    of `state` that they change.

    Attributes:
        init: Makes the variables from a key.
        encode: Maps `(params, state, key, batch)` to `(outputs, new_state)`, examples first in
            every output.
        loss: Maps `(params, state, key, outputs, batch)` to `(loss, (new_state, metrics))`. The
            loss and the metrics are those of the global batch, the same on every device, by
            collectives over the axis the task was built for.
        evaluate: Maps `(key, trained, untrained, splits, place)` to an `Evaluation`, where `place`
            puts a NumPy batch on the devices.
    """

    init: Callable[[PRNGKeyArray], Variables]
    encode: Callable[[Any, Any, PRNGKeyArray, Batch], tuple[Any, dict[str, Any]]]
    loss: Callable[
        [Any, Any, PRNGKeyArray, Any, Batch],
        tuple[Float[Array, ""], tuple[dict[str, Any], dict[str, jax.Array]]],
    ]
    evaluate: Callable[
        [PRNGKeyArray, Variables, Variables, Splits, Callable[[Mapping[str, np.ndarray]], Batch]],
        Evaluation,
    ]


@runtime_checkable
class TaskConfig(Protocol):
    """Configuration of anything the loop can train; a frozen dataclass.

    A class attribute `evaluation_only` may name the fields that change the evaluation alone: a run
    may be resumed with others.
    """

    def load(
        self,
        name: str,
        *,
        data_dir: str | None,
        holdout: Literal["test", "validation"],
        max_bad_records: int,
    ) -> Splits:
        """Load a data set of the kind the task learns from.

        Args:
            name: Name of the data set.
            data_dir: Where it lies; None for the usual place.
            holdout: `validation` for a part of the training data in place of the test data.
            max_bad_records: Unreadable examples that are skipped before it is an error.

        Raises:
            ValueError: One line about what is wrong with the data set.
        """
        ...

    def build(self, splits: Splits, *, dtype: DTypeLike, axis_name: AxisName | None) -> Task:
        """Make the task for a data set, a compute type and a mapped axis."""
        ...


def fetch(array: Array) -> np.ndarray:
    """Bring an array to the host, from wherever its parts are.

    Args:
        array: An array, maybe spread over devices of several processes, all of which ask for it.

    Returns:
        The whole of it, in every process.

    Examples:
        >>> fetch(jax.numpy.ones(2))
        array([1., 1.], dtype=float32)
    """
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))
