"""What every encoder of clouds here is: how it is called, what it returns, what it is given."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from pointcloud_jax.checks import check_points
from pointcloud_jax.reductions import masked_mean


class Description(NamedTuple):
    """Features of each point and of each cloud."""

    per_point: Float[Array, "b n p"]
    per_cloud: Float[Array, "b d"]


class PointEncoder(nnx.Module):
    """The contract of encoders: a subclass writes `describe`, and is called for clouds alone.

    Attributes:
        features: Width of the descriptor of a cloud.
        point_features: Width of the description of a point.
    """

    features: int
    point_features: int

    def describe(
        self,
        points: Float[Array, "b n 3"],
        *,
        normals: Float[Array, "b n 3"] | None = None,
        mask: Bool[Array, "b n"] | None = None,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Description:
        """Describe every point and every cloud; arguments as for calling the encoder."""
        raise NotImplementedError(f"{type(self).__name__} must define describe")

    def __call__(
        self,
        points: Float[Array, "b n 3"],
        *,
        normals: Float[Array, "b n 3"] | None = None,
        mask: Bool[Array, "b n"] | None = None,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b d"]:
        """Encode clouds.

        Args:
            points: The clouds.
            normals: Unit normals, if the encoder was made for them.
            mask: True for points that exist.
            train: Whether BatchNorm uses this batch, and dropout is on.
            keys: One key a cloud, from its index in the global batch; to train with dropout.

        Returns:
            One descriptor a cloud, float32.

        Raises:
            ValueError: For wrong shapes, NaN coordinates, fewer points than neighbors, normals
                that are missing or not wanted, missing `keys`.
        """
        description = self.describe(points, normals=normals, mask=mask, train=train, keys=keys)
        return description.per_cloud


def stack_vectors(
    points: Float[Array, "b n 3"],
    normals: Float[Array, "b n 3"] | None,
    mask: Bool[Array, "b n"] | None,
    *,
    wants_normals: bool,
    center: bool = True,
) -> Float[Array, "b n c 3"]:
    """Check clouds, and stack their points and normals as vector channels in float32.

    Args:
        points: The clouds.
        normals: Unit normals, if they are wanted.
        mask: True for points that exist.
        wants_normals: Whether the encoder was made for normals.
        center: Whether to move each cloud to its centroid.

    Returns:
        The points, and where there are normals a second channel; zero where no point exists (but
        for the shift to the centroid).

    Raises:
        ValueError: As `check_points`, and for normals that are missing or not wanted.

    Examples:
        >>> stack_vectors(jnp.ones((1, 5, 3)), None, None, wants_normals=False).shape
        (1, 5, 1, 3)
    """
    check_points("points", points, mask)
    if (normals is not None) != wants_normals:
        raise ValueError(
            f"normals must be {'given' if wants_normals else 'left out'} with "
            f"normals={wants_normals}, got {None if normals is None else normals.shape}"
        )

    def present(vectors: jax.Array) -> jax.Array:
        vectors = vectors.astype(jnp.float32)
        return vectors if mask is None else jnp.where(mask[..., None], vectors, 0)

    points = present(points)
    if center:
        points = points - masked_mean(points, mask)[:, None, :]
    vectors = [points]
    if normals is not None:
        check_points("normals", normals, mask)
        vectors.append(present(normals))
    return jnp.stack(vectors, axis=2)
