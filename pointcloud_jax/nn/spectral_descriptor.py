"""Any encoder with the spectrum of the whole cloud beside its descriptor."""

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from lejepa_jax.statistics.reductions import AxisName
from pointcloud_jax.nn.encoder import Description, PointEncoder
from pointcloud_jax.spectra.degrees import degree_spectrum
from pointcloud_jax.spectra.normalization import normalize_radius


def log_spectrum(
    points: Float[Array, "b n 3"],
    *,
    max_degree: int,
    num_radii: int,
    max_radius: float,
    mask: Bool[Array, "b n"] | None = None,
) -> Float[Array, "b s"]:
    """Describe clouds by the logarithms of their degree-resolved spectrum, as one row a cloud.

    Args:
        points: The clouds; they are moved to their centroid and scaled to radius 1.
        max_degree: Highest degree.
        num_radii: Frequencies from 0 to `max_radius`.
        max_radius: The largest.
        mask: True for points that exist.

    Returns:
        `(max_degree + 1) * num_radii` numbers, from -1 (no energy) to 1, invariant under rotation,
        reflection, translation and scale.

    Raises:
        ValueError: As `degree_spectrum`.

    Examples:
        >>> options = dict(max_degree=2, num_radii=4, max_radius=6.0)
        >>> log_spectrum(jnp.ones((1, 5, 3)), **options).shape
        (1, 12)
    """
    radii = np.linspace(0, max_radius, num_radii)
    points = normalize_radius(points, mask=mask)
    power = degree_spectrum(points, radii, max_degree=max_degree, mask=mask)
    # The floor is where the energy of a thousand points is the reciprocal of their number.
    return (1 + jnp.log(power + 1e-3) * (2 / math.log(1e3))).reshape(power.shape[0], -1)


class WithSpectrum(PointEncoder):
    """An encoder whose descriptor has the degree-resolved spectrum of the cloud appended.

    The spectrum has no parameters and discriminates shapes by itself: a head reads it from the
    first step on.

    Args:
        make: Makes the encoder from `axis_name` and `rngs`, such as `functools.partial(DGCNN)`.
        max_degree: Highest degree.
        num_radii: Frequencies from 0 to `max_radius`.
        max_radius: The largest.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.

    Attributes:
        features: Width of the descriptor of a cloud.
        point_features: Width of the description of a point, that of the encoder.

    Examples:
        >>> from pointcloud_jax.nn.dgcnn import VNDGCNN
        >>> encoder = nnx.eval_shape(lambda: WithSpectrum(VNDGCNN, rngs=nnx.Rngs(0)))
        >>> encoder.features
        4236
    """

    def __init__(
        self,
        make: Callable[..., PointEncoder],
        *,
        max_degree: int = 8,
        num_radii: int = 16,
        max_radius: float = 12.0,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        self.encoder = make(axis_name=axis_name, rngs=rngs)
        self.max_degree = max_degree
        self.num_radii = num_radii
        self.max_radius = max_radius
        self.features = self.encoder.features + (max_degree + 1) * num_radii
        self.point_features = self.encoder.point_features

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
        own = self.encoder.describe(points, normals=normals, mask=mask, train=train, keys=keys)
        spectrum = log_spectrum(
            points,
            max_degree=self.max_degree,
            num_radii=self.num_radii,
            max_radius=self.max_radius,
            mask=mask,
        )
        return Description(own.per_point, jnp.concatenate([own.per_cloud, spectrum], -1))
