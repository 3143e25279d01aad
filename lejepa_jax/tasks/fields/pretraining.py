"""LeJEPA pretraining on series, planes and volumes, as a task of the training loop."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.augment.fields.drawing import draw_fields
from lejepa_jax.augment.fields.sheet import field_table
from lejepa_jax.augment.fields.specs import FieldView
from lejepa_jax.augment.fields.sphere import random_turn
from lejepa_jax.augment.fields.views import eval_field, make_field_views
from lejepa_jax.checks import check_choice, check_positive
from lejepa_jax.data.fields.loading import load_fields
from lejepa_jax.data.fields.normalization import Normalization
from lejepa_jax.data.fields.reading import FieldOptions
from lejepa_jax.data.fields.source import FieldSource
from lejepa_jax.data.fields.statistics import measure_channels
from lejepa_jax.data.splits import Splits
from lejepa_jax.nn.encoder import encoder_by_name
from lejepa_jax.nn.fields import Field, Values, values_of
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.tasks.joint_embedding import joint_embedding_task
from lejepa_jax.tasks.modality import Modality
from lejepa_jax.tasks.objective import ObjectiveConfig
from lejepa_jax.tasks.pretraining import kept_parts
from lejepa_jax.training.task import Batch, Task

if TYPE_CHECKING:
    from PIL.Image import Image

# Numbers that the probes of raw data get of an example.
_MAX_RAW = 1024


@runtime_checkable
class HasFrontEnd(Protocol):
    """An encoder that first computes something of its inputs, such as a spectrogram."""

    def front_end(self, samples: Any, /) -> Any:
        """Compute it."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldPretrainingConfig(ObjectiveConfig):
    """What to pretrain on fields, and how.

    Attributes:
        num_axes: Axes of space: 1 for series, 2 for planes of any channels, 3 for volumes. Spheres
            have 2, latitude and longitude, or 1, the pixels of HEALPix maps in ring order.
        encoder: Makes an encoder from `in_channels`, `dtype`, `axis_name` and `rngs`, such as a
            `ViT` with the same `num_axes`; or the name of one for planes: `resnet18`,
            `vit-S(patch_size=8)`.
        views: What views to make, the global ones first.
        stored_size: Samples to store along each axis; those of the largest field by default.
        eval_size: Samples that the encoder sees along each axis in evaluation; of spheres the cells
            of a HEALPix grid.
        weigh: Whether the encoder gets the measure of the samples, by which it leaves out what is
            missing; of encoders that take a `Field`. Others see 0, the mean, where nothing is.
        data_options: How the data set is read.

    Raises:
        ValueError: For a value out of range, or more global views than views.
    """

    evaluation_only: ClassVar[frozenset[str]] = ObjectiveConfig.evaluation_only | {"eval_size"}

    num_axes: Literal[1, 2, 3]
    encoder: str | Callable[..., Any]
    views: tuple[FieldView, ...]
    eval_size: int | tuple[int, ...]
    stored_size: int | tuple[int, ...] | None = None
    weigh: bool = True
    data_options: FieldOptions = dataclasses.field(default_factory=FieldOptions)

    def __post_init__(self):
        super().__post_init__()
        check_choice("num_axes", str(self.num_axes), ("1", "2", "3"))
        if not self.views:
            raise ValueError("views must hold at least one FieldView, got none")
        for name in ("eval_size", "stored_size"):
            value = getattr(self, name)
            for side in (value,) if isinstance(value, int) else value or ():
                check_positive(name, side)
        for spec in (*self.views, FieldView(1, self.eval_size, fit=self.views[0].fit)):
            spec.sides(self.num_axes)
        self.check_views(sum(spec.count for spec in self.views))
        if isinstance(self.encoder, str):
            encoder_by_name(self.encoder)

    def load(
        self,
        name: str,
        *,
        data_dir: str | None = None,
        holdout: Literal["test", "validation"] = "test",
        max_bad_records: int = 0,
    ) -> Splits:
        """Load fields; see `lejepa_jax.data.fields.load_fields`.

        The statistics of the channels are measured here, and become facts of the splits.
        """
        size = self.stored_size
        splits = load_fields(
            name,
            num_axes=self.num_axes,
            size=(size,) * self.num_axes if isinstance(size, int) else size,
            data_dir=data_dir,
            holdout=holdout,
            max_bad_records=max_bad_records,
            options=self.data_options,
        )
        found, facts = measure_channels(
            splits.train, percentiles=self.data_options.clip, missing=self.data_options.missing
        )
        splits.train.normalization = found
        if found.clip:
            ranges = ", ".join(
                f"{low:g} to {high:g}" for low, high in zip(found.low, found.high, strict=True)
            )
            facts["clipped"] = f"values beyond percentiles {self.data_options.clip}: {ranges}"
        if not self.weigh and "missing" in facts:
            facts["missing"] += "; this encoder sees the mean of the channel there"
        return splits._replace(info={**splits.info, **facts})

    def build(
        self, splits: Splits, *, dtype: DTypeLike = jnp.float32, axis_name: AxisName | None = None
    ) -> Task:
        """Make the task; see `field_pretraining_task`."""
        source, own = splits.train, normalization_of(self, splits.train)
        task = field_pretraining_task(self, own, dtype=dtype, axis_name=axis_name)
        kept = kept_parts(self, self.encoder_maker(source.channels), self.preprocessing(source))
        return task._replace(kept=kept)

    def encoder_maker(self, in_channels: int) -> Callable[..., Any]:
        """Bind what is known of the encoder; `dtype`, `axis_name` and `rngs` are still wanted."""
        make = self.encoder
        if isinstance(make, str):
            make = encoder_by_name(make, image_size=self.eval_size, num_axes=self.num_axes)
        return functools.partial(make, in_channels=in_channels)

    def preprocessing(self, source: FieldSource) -> dict[str, Any]:
        """Say what fields go through before the encoder, as JSON can hold it.

        Args:
            source: The training part.

        Returns:
            Fields of `lejepa_jax.models.preprocessing.FieldPreprocessing`.
        """
        own = normalization_of(self, source)
        spacing = source.layout.spacing
        return {
            "kind": "fields",
            "stored_size": list(source.layout.shape),
            "eval_size": list(
                FieldView(1, self.eval_size, fit=self.views[0].fit).sides(self.num_axes)
            ),
            "fit": self.views[0].fit,
            "weigh": self.weigh,
            "dtype": source.layout.dtype.name,
            "spacing": [] if spacing is None else list(spacing),
            "channel_names": list(source.layout.channel_names),
            **{name: list(getattr(own, name)) for name in ("mean", "std", "low", "high")},
            "clip": own.clip,
            "missing": [] if own.missing is None else [own.missing],
            "batch_size": self.eval_batch_size,
        }

    def draw_views(self, splits: Splits, *, seed: int, rows: int, tile: int) -> "Image":
        """Draw a table of views as training sees them; see `field_table`."""
        own = normalization_of(self, splits.train)
        return field_table(splits.train, self.views, own, seed=seed, rows=rows, tile=tile)


def normalization_of(config: FieldPretrainingConfig, source: FieldSource) -> Normalization:
    """Give the statistics that `load` measured, or measure them."""
    found = getattr(source, "normalization", None)
    if found is None:
        options = config.data_options
        found, _ = measure_channels(source, percentiles=options.clip, missing=options.missing)
    return found


def field_pretraining_task(
    config: FieldPretrainingConfig,
    normalization: Normalization,
    *,
    dtype: DTypeLike = jnp.float32,
    axis_name: AxisName | None = None,
) -> Task:
    """Make the task of LeJEPA pretraining on fields; see `joint_embedding_task`.

    Args:
        config: What to pretrain.
        normalization: Of the channels.
        dtype: Type in which the networks compute; parameters and statistics are float32.
        axis_name: Mapped axis over which batches are sharded; None where the compiler shards them.

    Returns:
        The task. Batches are those of `FieldSource`: `values`, `extent` and `index`.

    Examples:
        >>> from functools import partial
        >>> from lejepa_jax.nn import ViT
        >>> tiny = partial(ViT, num_axes=1, width=8, depth=1, num_heads=2, patch_size=4,
        ...     image_size=16, position="axial", pooling="mean")
        >>> config = FieldPretrainingConfig(num_axes=1, encoder=tiny, views=(FieldView(2, 16),),
        ...     num_global=2, embedding_features=4, hidden_features=8, eval_size=16)
        >>> own = Normalization(mean=(0.0,), std=(1.0,), low=(-1.0,), high=(1.0,))
        >>> task = field_pretraining_task(config, own)
        >>> batch = {"values": jnp.zeros((3, 20, 1), jnp.int16), "index": jnp.arange(3),
        ...     "extent": jnp.full((3, 1), 20, jnp.int32)}
        >>> variables = jax.eval_shape(task.init, jax.random.key(0))
        >>> features, _ = jax.eval_shape(task.encode, *variables, jax.random.key(1), batch)
        >>> features.shape
        (3, 2, 8)
    """
    encoder = config.encoder_maker(len(normalization.mean))
    modality = field_modality(config, normalization)
    return joint_embedding_task(config, modality, encoder, dtype=dtype, axis_name=axis_name)


def field_modality(config: FieldPretrainingConfig, normalization: Normalization) -> Modality:
    """Say what an objective has to know of fields.

    Args:
        config: Views, sizes and the encoder.
        normalization: Of the channels.

    Returns:
        Views, inputs of the evaluation, raw rows and pictures.
    """
    fit = config.views[0].fit

    def views(keys: jax.Array, batch: Batch) -> tuple[Field, ...]:
        values, extent = batch["values"], batch["extent"]
        return make_field_views(keys, values, extent, config.views, normalization)

    def whole(batch: Batch, turns: Array | None = None) -> Field:
        values, extent = batch["values"], batch["extent"]
        return eval_field(values, extent, config.eval_size, normalization, fit=fit, turns=turns)

    encoder = config.encoder_maker(len(normalization.mean))
    return modality_of_fields(whole, views, encoder, weigh=config.weigh, fit=fit)


def modality_of_fields(
    whole: Callable[..., Field],
    views: Callable[[Array, Batch], Sequence[Field]],
    encoder: Callable[..., Any],
    *,
    weigh: bool,
    fit: str,
) -> Modality:
    """Say what an objective has to know of fields, whoever makes them.

    Args:
        whole: Makes what is seen of a batch in evaluation; of spheres also from `turns`, a rotation
            each.
        views: Makes views of a batch, from a key an example.
        encoder: Makes the encoder from `dtype`, `axis_name` and `rngs`.
        weigh: Whether it gets the measure.
        fit: See `FieldView`. Spheres are probed as they are, and turned at random.

    Returns:
        Views, inputs of the evaluation, raw rows and pictures.
    """

    def seen(field: Field) -> Values | Field:
        return field if weigh else field.values

    raw, raw_name = _raw_rows(encoder)

    def pictures(source: Any, index: np.ndarray) -> np.ndarray:
        found = jax.jit(whole)({k: v for k, v in source.gather(index).items() if k != "label"})
        return draw_fields(np.asarray(found.values), np.asarray(found.measure), fit=fit)

    def turned(batch: Batch) -> Values | Field:
        keys = example_keys(jax.random.key(0), batch["index"])
        turns = jax.vmap(functools.partial(random_turn, axis="any"))(keys)
        return seen(whole(batch, turns=turns))

    conditions: dict[str, Callable[[Batch], Any]] = {"": lambda batch: seen(whole(batch))}
    if fit == "sphere":
        conditions["turned"] = turned
    return Modality(
        views=lambda keys, batch: tuple(map(seen, views(keys, batch))),
        eval_inputs=conditions,
        raw=lambda batch: raw(whole(batch)),
        raw_name=raw_name,
        pictures=pictures,
    )


def _raw_rows(encoder: Callable[..., Any]) -> tuple[Callable[[Field], Array], str]:
    """What the probes of an encoder have to beat: spectrograms if it computes them, else values."""
    from flax import nnx

    made: list[Any] = []

    def make() -> None:
        made.append(encoder(dtype=jnp.float32, axis_name=None, rngs=nnx.Rngs(0)))

    jax.eval_shape(make)
    if isinstance(made[0], HasFrontEnd):
        front = made[0].front_end
        return lambda field: shrink(values_of(front(field))), "front end"
    return lambda field: shrink(field.values), "values"


def shrink(values: Float[Array, "b *space c"]) -> Float[Array, "b d"]:
    """Lay fields out as rows of at most 1,024 numbers, means of neighbors along their axes.

    Examples:
        >>> shrink(jnp.ones((2, 4096, 1))).shape
        (2, 1024)
    """
    shape, channels = list(values.shape[1:-1]), values.shape[-1]
    while np.prod(shape) * channels > _MAX_RAW and max(shape) > 1:
        axis = int(np.argmax(shape))
        shape[axis] = -(-shape[axis] // 2)
    small = jax.image.resize(values, (len(values), *shape, channels), "linear", antialias=True)
    return small.reshape(len(values), -1)
