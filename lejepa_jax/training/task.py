"""What the loop trains: a few pure functions, and nothing of images or clouds."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from lejepa_jax.augment.specs import ViewSpec
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.quick import QuickEvaluator
from lejepa_jax.evaluation.results import Evaluator
from lejepa_jax.report.metric import Metric
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.training.networks import Variables

#: Arrays of one batch by name, examples first.
Batch = Mapping[str, Array]


class Part(NamedTuple):
    """A network of a task that is kept when the training is over.

    Attributes:
        make: Makes it from `rngs`, and of images also `dtype`; a function or a partial one.
        path: Where its parameters and its state are in those of the task.
    """

    make: Callable[..., Any]
    path: tuple[str, ...]


class Kept(NamedTuple):
    """What a run leaves behind: an encoder, and what it is given.

    Attributes:
        parts: The `encoder`, and maybe the `projector`.
        preprocessing: What an example goes through before the encoder, as JSON can hold it; see
            `lejepa_jax.models.preprocessing`.
    """

    parts: Mapping[str, Part]
    preprocessing: Mapping[str, Any]


class Task(NamedTuple):
    """What a run trains, as pure functions.

    A step is `encode`, then `loss`. What each example can do for itself is in the first, so that a
    large batch can go through it in parts; what couples examples is in the second. Both get the key
    of the step, the same on every device, and the batch of one device, and both return the entries
    of `state` that they change.

    Attributes:
        init: Makes the variables from a key.
        encode: Maps `(params, state, key, batch)` to `(outputs, changed_state)`, examples first in
            every output.
        loss: Maps `(params, state, key, outputs, batch)` to `(loss, (changed_state, metrics))`. The
            loss and the metrics are those of the global batch, the same on every device, by
            collectives over the axis the task was built for.
        kinds: What each parameter is, see `lejepa_jax.training.networks.Network`.
        metrics: How the metrics of `loss` are shown, by name; the loop adds its own.
        evaluators: What is measured at the end of a run, by name.
        quick_evaluators: What is measured during a run, by name; `metrics` says how their numbers
            are shown, behind `eval/`.
        kept: What is kept as a model at the end of a run; None for nothing.
        rate_factors: Factor of the learning rate of each parameter, a pytree like the parameters;
            None for 1.
    """

    init: Callable[[PRNGKeyArray], Variables]
    encode: Callable[[Any, Any, PRNGKeyArray, Batch], tuple[Any, dict[str, Any]]]
    loss: Callable[
        [Any, Any, PRNGKeyArray, Any, Batch],
        tuple[Float[Array, ""], tuple[dict[str, Any], dict[str, jax.Array]]],
    ]
    kinds: PyTree
    metrics: Mapping[str, Metric]
    evaluators: Mapping[str, Evaluator]
    quick_evaluators: Mapping[str, QuickEvaluator] = MappingProxyType({})
    kept: Kept | None = None
    rate_factors: PyTree | None = None


@runtime_checkable
class HasViews(Protocol):
    """A configuration that trains on views of images, which can be drawn."""

    @property
    def view_specs(self) -> tuple[ViewSpec, ...]:
        """What views are made."""
        ...


@runtime_checkable
class DrawsViews(Protocol):
    """A configuration that draws the views it trains on by itself."""

    def draw_views(self, splits: Splits, *, seed: int, rows: int, tile: int) -> Any:
        """Draw a table, a row an example: a picture of Pillow."""
        ...


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
            data_dir: Where it is; None for the usual place.
            holdout: `validation` for a part of the training data in place of the test data.
            max_bad_records: Unreadable examples that are skipped before it is an error.

        Raises:
            ValueError: One line about what is wrong with the data set.
        """
        ...

    def build(self, splits: Splits, *, dtype: DTypeLike, axis_name: AxisName | None) -> Task:
        """Make the task for a data set, a compute type and a mapped axis."""
        ...
