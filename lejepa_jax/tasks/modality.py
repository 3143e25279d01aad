"""What LeJEPA pretraining has to know of a kind of data."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, UInt8

from lejepa_jax.tasks.dense_probing import Segmented
from lejepa_jax.training.task import Batch

#: What an encoder takes: an array, examples first, or a pytree of them.
Inputs = Any


class Modality(NamedTuple):
    """What the objective has to know of a kind of data.

    Attributes:
        views: Maps a key for each example and a batch to groups of views of one shape each, axes
            (view, example) first, the global views in front.
        eval_inputs: What the encoder gets of a batch in evaluation, by condition. Probes are fitted
            under the first and scored under each.
        raw: One row of raw data an example: what the probes of an encoder have to beat.
        raw_name: What those rows are called in the results.
        pictures: Pictures of the examples of a source at some indices, for the report.
        segmented: Makes images with a class a pixel for the dense probe; None for no such probe.
    """

    views: Callable[[Array, Batch], tuple[Inputs, ...]]
    eval_inputs: Mapping[str, Callable[[Batch], Inputs]]
    raw: Callable[[Batch], Float[Array, "b d"]]
    raw_name: str
    pictures: Callable[[Any, np.ndarray], UInt8[np.ndarray, "n h w c"]]
    segmented: Callable[[], Segmented] | None = None
