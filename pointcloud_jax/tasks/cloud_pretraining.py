"""LeJEPA pretraining on clouds, as a task of the training loop."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from lejepa_jax.checks import check_choice, check_positive
from lejepa_jax.data.splits import Splits
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.tasks.joint_embedding import joint_embedding_task
from lejepa_jax.tasks.modality import Modality
from lejepa_jax.tasks.objective import ObjectiveConfig
from lejepa_jax.tasks.pretraining import kept_parts
from lejepa_jax.training.task import Batch, Task
from pointcloud_jax.augment.view_sets import cloud_views_by_name
from pointcloud_jax.augment.views import PointViews, PointViewSpec, make_point_views
from pointcloud_jax.data import loading as data
from pointcloud_jax.nn.names import cloud_encoder_by_name
from pointcloud_jax.render import render_clouds
from pointcloud_jax.spectra.degrees import degree_spectrum
from pointcloud_jax.tasks.rotation_protocols import PROTOCOL_NAMES, apply_protocol
from pointcloud_jax.tasks.supervised import check_float32

# The descriptor that a learned one has to beat: 9 degrees, 31 radii.
_MAX_DEGREE, _RADII = 8, np.linspace(0, 12, 31)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CloudPretrainingConfig(ObjectiveConfig):
    """What to pretrain on clouds, and how.

    Attributes:
        encoder: Makes an encoder from `axis_name` and `rngs`, such as `DiPVNet` or `DGCNN`; or its
            name, as `cloud_encoder_by_name` reads it: `hierarchical`, `dipvnet-tiny(k=12)`.
        views: What views to make, the global ones first; or the name of a set of views, alone or
            called with options: `whole`, `parts(num_local=4)`, `scans`.
        stored_points: Points kept of each cloud.
        normals: Whether the encoder gets normals.
        memory_limit: Bytes that the clouds may take; more is refused before it is read.
        eval_points: Points of the clouds that the probes see.
        eval_rotations: How clouds are rotated for the probes, "none", "axis" or "so3": probes are
            fitted under the first and scored under each.

    Raises:
        ValueError: For a value out of range, or more global views than views.
    """

    evaluation_only: ClassVar[frozenset[str]] = ObjectiveConfig.evaluation_only | {
        "eval_points",
        "eval_rotations",
    }

    encoder: str | Callable[..., Any]
    views: str | tuple[PointViewSpec, ...]
    stored_points: int
    normals: bool = False
    memory_limit: int = 2**31
    eval_points: int = 1024
    eval_rotations: tuple[str, ...] = ("axis", "so3")
    eval_batch_size: int = 60

    def __post_init__(self):
        super().__post_init__()
        check_positive("stored_points", self.stored_points)
        check_positive("eval_points", self.eval_points)
        for rotation in self.eval_rotations:
            check_choice("eval_rotations", rotation, tuple(PROTOCOL_NAMES))
        if not self.eval_rotations:
            raise ValueError("eval_rotations must name at least one rotation, got none")
        self.encoder_maker()
        self.check_views(sum(spec.count for spec in self.view_specs))

    @property
    def view_specs(self) -> tuple[PointViewSpec, ...]:
        """The views, made from their name if that is what there is."""
        return cloud_views_by_name(self.views) if isinstance(self.views, str) else self.views

    def encoder_maker(self) -> Callable[..., Any]:
        """Give what makes the encoder."""
        if isinstance(self.encoder, str):
            return cloud_encoder_by_name(self.encoder, normals=self.normals)
        return self.encoder

    def load(
        self,
        name: str,
        *,
        data_dir: str | None = None,
        holdout: Literal["test", "validation"] = "test",
        max_bad_records: int = 0,
    ) -> Splits:
        """Load clouds, those without a class too; see `pointcloud_jax.data.loading.load`."""
        return data.load(
            name,
            num_points=self.stored_points,
            normals=self.normals,
            data_dir=data_dir,
            holdout=holdout,
            max_bad_records=max_bad_records,
            memory_limit=self.memory_limit,
        )

    def build(
        self, splits: Splits, *, dtype: DTypeLike = jnp.float32, axis_name: AxisName | None = None
    ) -> Task:
        """Make the task; see `cloud_pretraining_task`."""
        del splits
        task = cloud_pretraining_task(self, dtype=dtype, axis_name=axis_name)
        preprocessing = {
            "kind": "clouds",
            "num_points": self.eval_points,
            "normals": self.normals,
            "batch_size": self.eval_batch_size,
        }
        # Inside what hands it the views.
        path = ("encoder", "encoder")
        return task._replace(kept=kept_parts(self, self.encoder_maker(), preprocessing, path))


class CloudEncoder(nnx.Module):
    """An encoder of clouds that is called with views of them.

    Args:
        encoder: A module with `features`, such as `DiPVNet`.
        normals: Whether it gets normals.
    """

    def __init__(self, encoder: Any, *, normals: bool):
        self.encoder = encoder
        self.normals = normals
        self.features = encoder.features

    def __call__(
        self, views: PointViews, *, train: bool = False, keys: Key[Array, " b"] | None = None
    ) -> Float[Array, "b d"]:
        """Encode views, of which there may be several of each cloud, all in one axis."""
        normals = views.normals if self.normals else None
        return self.encoder(views.points, normals=normals, mask=views.mask, train=train, keys=keys)


def cloud_pretraining_task(
    config: CloudPretrainingConfig,
    *,
    dtype: DTypeLike = jnp.float32,
    axis_name: AxisName | None = None,
) -> Task:
    """Make the task of LeJEPA pretraining on clouds; see `joint_embedding_task`.

    With views under any rotation a plain encoder has to learn what an invariant one is built with.
    The probes are also scored on clouds that are rotated in ways the labeled ones were not;
    they have to beat the degree-resolved spectrum of the raw points, which is invariant by itself.

    Args:
        config: What to pretrain.
        dtype: Must be float32, as for `classification_task`.
        axis_name: Mapped axis over which batches are sharded; None where the compiler shards them.

    Returns:
        The task. Batches are those of `CloudSource`.

    Raises:
        ValueError: For another `dtype`.

    Examples:
        >>> from functools import partial
        >>> from pointcloud_jax.nn.dgcnn import DGCNN
        >>> config = CloudPretrainingConfig(
        ...     encoder=partial(DGCNN, (4,), embedding=4, k=3), views=(PointViewSpec(2, 6),),
        ...     num_global=2, embedding_features=4, hidden_features=8, stored_points=8,
        ... )
        >>> task = cloud_pretraining_task(config)
        >>> batch = {"points": jnp.ones((3, 8, 3)), "index": jnp.arange(3)}
        >>> params, state = jax.eval_shape(task.init, jax.random.key(0))
        >>> jax.eval_shape(task.encode, params, state, jax.random.key(1), batch)[0].shape
        (3, 2, 8)
    """
    check_float32(dtype)
    specs = config.view_specs

    def views(keys: jax.Array, batch: Batch) -> tuple[PointViews, ...]:
        normals, exists = batch.get("normals"), batch.get("exists")
        return make_point_views(keys, batch["points"], specs, normals=normals, mask=exists)

    def eval_inputs(rotation: str) -> Callable[[Batch], PointViews]:
        spec = PointViewSpec(1, config.eval_points, up=specs[0].up)

        def rotated(batch: Batch) -> PointViews:
            # One draw for all: the rotation of a cloud depends on its index alone.
            key, draw = jax.random.key(0), jnp.int32(0)
            views, _ = apply_protocol(key, batch, draw, spec, rotation)
            return jax.tree.map(lambda x: x[0], views)

        return rotated

    def spectrum(batch: Batch) -> jax.Array:
        mask = batch.get("exists")
        power = degree_spectrum(batch["points"], _RADII, max_degree=_MAX_DEGREE, mask=mask)
        return jnp.log(power.reshape(power.shape[0], -1) + 1e-4)

    def pictures(source: Any, index: np.ndarray) -> np.ndarray:
        batch = source.gather(index)
        return render_clouds(batch["points"], mask=batch.get("exists"))

    modality = Modality(
        views=views,
        eval_inputs={
            PROTOCOL_NAMES[rotation]: eval_inputs(rotation) for rotation in config.eval_rotations
        },
        raw=spectrum,
        raw_name="degree spectrum",
        pictures=pictures,
    )

    make = config.encoder_maker()

    def encoder(*, dtype: DTypeLike, **options: Any) -> CloudEncoder:
        del dtype
        return CloudEncoder(make(**options), normals=config.normals)

    return joint_embedding_task(config, modality, encoder, dtype=dtype, axis_name=axis_name)
