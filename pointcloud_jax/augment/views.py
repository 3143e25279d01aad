"""Random views of point clouds, and the damage by which robustness is measured.

Everything random about a view is drawn from a key that depends on the seed, the cloud's global
index and the view's number alone (make the keys with `example_keys` of `lejepa_jax.augment`), so
that the same seed gives the same views however the batch is sharded over devices. Clouds may be
padded: what does not exist is never chosen, and views say by a mask which of their points exist.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from lejepa_jax.checks import check_choice, check_positive
from pointcloud_jax.augment.damage import crop_mask, cut_mask, visible_mask
from pointcloud_jax.checks import check_points
from pointcloud_jax.geometry import rotations

#: How a view is rotated: not, about one axis, or by any rotation.
Rotation = Literal["none", "axis", "so3"]


class PointViews(NamedTuple):
    """Views of clouds.

    Attributes:
        points: The points of the view.
        normals: None if the clouds have none.
        mask: True for points that exist.
        index: Which point of the cloud each one is.
    """

    points: Float[Array, "v b n 3"]
    normals: Float[Array, "v b n 3"] | None
    mask: Bool[Array, "v b n"]
    index: Int[Array, "v b n"]


@dataclasses.dataclass(frozen=True)
class PointViewSpec:
    """What to draw for one kind of view, in the order of the attributes.

    Attributes:
        count: How many views of this kind.
        num_points: Points of a view, chosen at random among those that are left.
        occlusion: Probability that only what is seen from a random side stays (`visible_mask`).
        crop: Range of the part of the points that stays, those nearest to a random one of them.
        cut: Range of the part of the points that a plane in a random direction cuts off.
        dropout: Range of the part of the points that is dropped at random, before `num_points` of
            the rest are chosen: of 1,024 points (0.75, 0.9375) leaves 64 to 256.
        density_gradient: Largest logarithm of the ratio of densities at the two ends of the cloud
            along a random direction; points are chosen by it.
        rotation: "none", "axis" (about `up`, any angle) or "so3" (any rotation).
        up: Axis of "axis".
        tilt: Largest angle in radians of a small rotation about a random axis, after the other.
        scale: Range of a factor.
        shift: Largest shift along each axis.
        jitter: Standard deviation of noise on every coordinate, cut off at three of them.

    Raises:
        ValueError: If a range is reversed or a value out of bounds.

    Examples:
        >>> PointViewSpec(count=2, num_points=256, rotation="so3", crop=(0.4, 1.0)).up
        (0.0, 0.0, 1.0)
    """

    count: int
    num_points: int
    occlusion: float = 0.0
    crop: tuple[float, float] = (1.0, 1.0)
    cut: tuple[float, float] = (0.0, 0.0)
    dropout: tuple[float, float] = (0.0, 0.0)
    density_gradient: float = 0.0
    rotation: Rotation = "none"
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    tilt: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    jitter: float = 0.0

    def __post_init__(self):
        check_positive("count", self.count)
        check_positive("num_points", self.num_points)
        check_choice("rotation", self.rotation, get_args(Rotation))
        for name in ("crop", "cut", "dropout", "scale"):
            low, high = getattr(self, name)
            least, most = {"crop": (1e-6, 1), "scale": (1e-6, 1e6)}.get(name, (0, 0.999))
            if not least <= low <= high <= most:
                raise ValueError(
                    f"{name} must be a range (low, high) within [{least}, {most}], got {low, high}"
                )
        limits = {"occlusion": 1, "density_gradient": 20, "tilt": 3.1415927}
        for name, most in (limits | {"shift": 1e6, "jitter": 1e6}).items():
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be in [0, {most}], got {getattr(self, name)}")


def make_point_views(
    keys: Key[Array, " b"],
    points: Float[Array, "b n 3"],
    specs: Sequence[PointViewSpec],
    *,
    normals: Float[Array, "b n 3"] | None = None,
    mask: Bool[Array, "b n"] | None = None,
) -> tuple[PointViews, ...]:
    """Draw random views of every cloud.

    View `v` of cloud `i` is keyed by `fold_in(keys[i], v)`, where views are numbered through all of
    `specs`: appending another specification changes none before it.

    Args:
        keys: One a cloud, from `lejepa_jax.augment.views.example_keys`.
        points: The clouds, about the origin.
        specs: What to draw; a tuple, if it is to be a static argument of `jit`.
        normals: Unit normals, which rotate with the points.
        mask: True for points that exist.

    Returns:
        For each specification its views. Where fewer points are left than asked for, the rest is
        masked and zero.

    Raises:
        ValueError: If `specs` is empty, `keys` has another length, and as `check_points`.

    Examples:
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> specs = (PointViewSpec(2, 8, rotation="so3"), PointViewSpec(4, 4, crop=(0.3, 0.6)))
        >>> draw = jax.jit(make_point_views, static_argnums=2)
        >>> [views.points.shape for views in draw(keys, jnp.ones((2, 10, 3)), specs)]
        [(2, 2, 8, 3), (4, 2, 4, 3)]
    """
    check_points("points", points, mask)
    if not specs:
        raise ValueError("specs must hold at least one PointViewSpec, got none")
    if keys.shape != points.shape[:1]:
        raise ValueError(f"keys must hold one key a cloud, {points.shape[:1]}, got {keys.shape}")
    exists = jnp.ones(points.shape[:-1], bool) if mask is None else mask
    outputs, first = [], 0
    for spec in specs:
        numbers = jnp.arange(first, first + spec.count)

        def of_cloud(key, points, normals, exists, spec=spec, numbers=numbers):
            def view(number):
                return _view(jax.random.fold_in(key, number), points, normals, exists, spec)

            return jax.vmap(view)(numbers)

        outputs.append(jax.vmap(of_cloud, out_axes=1)(keys, points, normals, exists))
        first += spec.count
    return tuple(outputs)


def _view(key, points, normals, exists, spec: PointViewSpec) -> PointViews:
    """One view of one cloud. Every key is always split: an option changes nothing but itself."""
    names: list[str] = ["seen", "side", "crop", "crop_part", "cut", "cut_part", "drop_part"]
    names += ["choice", "rotation", "tilt", "scale", "shift", "jitter"]
    keys = dict(zip(names, jax.random.split(key, len(names)), strict=True))
    # Folded in, so that the keys of older options stay what they were.
    keys["gradient"] = jax.random.fold_in(key, len(names))

    def between(name: str, limits: tuple[float, float]) -> jax.Array:
        low, high = limits
        return low + (high - low) * jax.random.uniform(keys[name], (), jnp.float32)

    points = jnp.where(exists[:, None], points.astype(jnp.float32), 0)
    left = exists
    if spec.occlusion > 0:
        seen = visible_mask(points, jax.random.normal(keys["side"], (3,), jnp.float32), mask=left)
        left = jnp.where(
            jax.random.uniform(keys["seen"], (), jnp.float32) < spec.occlusion, seen, left
        )
    if spec.crop != (1.0, 1.0):
        left = crop_mask(keys["crop"], points, between("crop_part", spec.crop), mask=left)
    if spec.cut != (0.0, 0.0):
        left = cut_mask(keys["cut"], points, between("cut_part", spec.cut), mask=left)
    # A random order of what is left; the first are the view, less those that are dropped.
    place_in_order = jax.random.uniform(keys["choice"], left.shape, jnp.float32)
    if spec.density_gradient > 0:
        place_in_order = _waiting_times(keys["gradient"], place_in_order, points, spec)
    order = jnp.argsort(jnp.where(left, place_in_order, jnp.inf))
    kept = left.sum(dtype=jnp.float32) * (1 - between("drop_part", spec.dropout))
    total = min(spec.num_points, points.shape[0])
    chosen = order[:total]
    rank = jnp.arange(total, dtype=jnp.float32)
    mask = left[chosen] & (rank < jnp.maximum(jnp.ceil(kept - 1e-4), 1))

    turn = jnp.eye(3, dtype=jnp.float32)
    if spec.rotation == "axis":
        turn = rotations.random_rotation_about(keys["rotation"], jnp.array(spec.up, jnp.float32))
    elif spec.rotation == "so3":
        turn = rotations.random_rotation(keys["rotation"])
    if spec.tilt > 0:
        small = rotations.random_small_rotation(keys["tilt"], spec.tilt)
        turn = jnp.matmul(small, turn, precision=jax.lax.Precision.HIGHEST)

    def place(vectors: jax.Array) -> jax.Array:
        vectors = jnp.where(mask[:, None], vectors, 0)
        return jnp.pad(vectors, [(0, spec.num_points - total), (0, 0)])

    view = rotations.rotate(points[chosen], turn) * between("scale", spec.scale)
    view = view + spec.shift * jax.random.uniform(keys["shift"], (1, 3), jnp.float32, -1, 1)
    if spec.jitter > 0:
        noise = jax.random.normal(keys["jitter"], view.shape, jnp.float32)
        view = view + spec.jitter * jnp.clip(noise, -3, 3)
    if normals is not None:
        normals = place(rotations.rotate(normals.astype(jnp.float32)[chosen], turn))
    padding = (0, spec.num_points - total)
    index = jnp.pad(jnp.where(mask, chosen, 0), padding).astype(jnp.int32)
    return PointViews(place(view), normals, jnp.pad(mask, padding), index)


def _waiting_times(key, uniform, points, spec: PointViewSpec) -> jax.Array:
    """Turn uniform numbers into exponential ones whose rate changes along a random direction.

    The points with the smallest are a sample without replacement, weighted by their rates.
    """
    direction_key, amount_key = jax.random.split(key)
    along = (points * jax.random.normal(direction_key, (1, 3), jnp.float32)).sum(-1)
    half = jnp.maximum(jnp.abs(along).max(), 1e-6)
    amount = 0.5 * spec.density_gradient * jax.random.uniform(amount_key, (), jnp.float32)
    return -jnp.log1p(-uniform) * jnp.exp(-amount * along / half)
