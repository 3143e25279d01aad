r"""Moments of neighborhoods: how a surface lies around a point, smoothly and without a sign.

A normal is an eigenvector of the covariance of a neighborhood: it has no sign of its own, and no
derivative where two eigenvalues meet. The covariance itself has neither fault, and what dot
products with normals tell is in its quadratic forms.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pointcloud_jax.reductions import safe_norm

# Below these a length, or a variance relative to the size of the neighborhood, is rounding: what is
# divided by it fades out.
_SHORT = 0.02
_FLAT = 1e-2


class LocalMoments(NamedTuple):
    """Moments of neighborhoods, relative to their centers.

    Attributes:
        size: Root mean square distance of the neighbors.
        mean: Mean offset, in units of the size.
        covariance: Covariance of the offsets, in units of the squared size.
    """

    size: Float[Array, "*batch"]
    mean: Float[Array, "*batch 3"]
    covariance: Float[Array, "*batch 3 3"]


def local_moments(
    offsets: Float[Array, "*batch k 3"], *, mask: Bool[Array, "*batch k"] | None = None
) -> LocalMoments:
    r"""Take the size, mean and covariance of neighborhoods.

    .. math:: s^2 = \frac1k \sum_j |d_j|^2, \qquad w_j \propto e^{-|d_j|^2 / 2 s^2}, \qquad
        \mu = \frac1s \sum_j w_j d_j, \qquad
        C = \frac1{s^2} \sum_j w_j d_j d_j^\top - \mu \mu^\top

    with weights of sum 1, so that a neighbor that comes or goes at the border changes them little.
    They rotate with the cloud; mean and covariance do not change when it is scaled.

    Args:
        offsets: From the center to its neighbors.
        mask: True for neighbors that exist.

    Returns:
        The moments, float32; zero where all neighbors are in the center, or none exist.

    Examples:
        >>> moments = local_moments(jnp.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
        >>> print(moments.size, moments.mean, moments.covariance[0])
        1.0 [0. 0. 0.] [1. 0. 0.]
    """
    offsets = offsets.astype(jnp.float32)
    exists = jnp.ones(offsets.shape[:-1], bool) if mask is None else mask
    offsets = jnp.where(exists[..., None], offsets, 0)
    square = jnp.square(offsets).sum(-1)
    count = jnp.maximum(exists.sum(-1, dtype=jnp.float32), 1)
    variance = square.sum(-1) / count
    spread = variance > 1e-12
    variance = jnp.where(spread, variance, 1)
    size = jnp.sqrt(variance)
    weights = jnp.where(exists, jnp.exp(-0.5 * square / variance[..., None]), 0)
    weights = weights / jnp.maximum(weights.sum(-1, keepdims=True), 1e-6)
    offsets = offsets / size[..., None, None]
    weighted = weights[..., None] * offsets
    mean = weighted.sum(-2)
    # By elements, not by a matrix product: that would be rounded to fewer digits on some chips.
    rows = [
        (weighted * offsets[..., i : i + 1]).sum(-2) - mean * mean[..., i, None] for i in range(3)
    ]
    covariance = jnp.stack(rows, axis=-2)
    return LocalMoments(jnp.where(spread, size, 0), mean, covariance)


def surface_tensor(covariance: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 3 3"]:
    r"""Divide covariances by their trace: of points on a plane, half the projection onto it.

    .. math:: T = C / (\operatorname{tr} C + 10^{-2}), \qquad
        T \approx \tfrac12 (I - n n^\top) \text{ on a surface with normal } n

    Args:
        covariance: From `local_moments`.

    Returns:
        The tensors.

    Examples:
        >>> print(surface_tensor(jnp.diag(jnp.array([2.0, 2.0, 0.0]))).round(2)[0])
        [0.5 0.  0. ]
    """
    covariance = covariance.astype(jnp.float32)
    trace = jnp.trace(covariance, axis1=-2, axis2=-1)
    return covariance / (jnp.abs(trace) + _FLAT)[..., None, None]


def quadratic_form(
    tensor: Float[Array, "*#batch 3 3"], vector: Float[Array, "*#batch 3"]
) -> Float[Array, "..."]:
    """Return `v^T T v`: twice the tensor of a surface gives the squared sine to its normal.

    Args:
        tensor: Symmetric tensors.
        vector: Vectors.

    Returns:
        One number each.

    Examples:
        >>> print(quadratic_form(jnp.eye(3), jnp.array([1.0, 2.0, 0.0])))
        5.0
    """
    tensor, vector = tensor.astype(jnp.float32), vector.astype(jnp.float32)
    return (tensor * vector[..., :, None] * vector[..., None, :]).sum((-2, -1))


def moment_invariants(
    points: Float[Array, "*batch 3"], moments: LocalMoments
) -> Float[Array, "*batch 7"]:
    r"""Describe neighborhoods by what no rotation changes in their moments.

    .. math:: s,\; |\mu|,\; |T|^2,\; 27 \det T,\; \langle \hat x, \mu \rangle,\;
        \hat x^\top T \hat x,\; \mu^\top T \mu

    How large the neighborhood is; how far it lies to one side; how flat and how long it is; and how
    it lies to the direction :math:`\hat x` from the origin, where the centroid should be.

    Args:
        points: The centers.
        moments: From `local_moments`.

    Returns:
        Seven numbers a point, of order 1.

    Examples:
        >>> moments = local_moments(jnp.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
        >>> print(moment_invariants(jnp.array([0.0, 1.0, 0.0]), moments).round(1))
        [1. 0. 1. 0. 0. 0. 0.]
    """
    size, mean, covariance = moments
    points = points.astype(jnp.float32)
    tensor = surface_tensor(covariance)
    unit = _fading_unit(points)
    first, second, third = (tensor[..., i, :] for i in range(3))
    determinant = (first * jnp.cross(second, third)).sum(-1)
    terms = [
        size,
        safe_norm(mean),
        jnp.square(tensor).sum((-2, -1)),
        27 * determinant,
        (unit * mean).sum(-1),
        quadratic_form(tensor, unit),
        quadratic_form(tensor, mean),
    ]
    return jnp.stack(terms, axis=-1)


def tensor_invariants(
    offsets: Float[Array, "*#batch 3"],
    here: Float[Array, "*#batch 3 3"],
    there: Float[Array, "*#batch 3 3"],
) -> Float[Array, "... 3"]:
    r"""Describe edges by how the surfaces at their ends lie to them and to each other.

    .. math:: \hat d^\top T_i \hat d, \qquad \hat d^\top T_j \hat d, \qquad
        \langle T_i, T_j \rangle

    On a surface these are what the angles of a point pair feature tell, but for the sign of the
    normals: :math:`\tfrac12 \sin^2` of the two angles to the edge, and
    :math:`\tfrac14 (1 + \cos^2)` of the angle between the normals.

    Args:
        offsets: From one end to the other.
        here: Surface tensor of the first end.
        there: Surface tensor of the other.

    Returns:
        Three numbers an edge.

    Examples:
        >>> plane = surface_tensor(jnp.diag(jnp.array([1.0, 1.0, 0.0])))
        >>> print(tensor_invariants(jnp.array([9.0, 0.0, 0.0]), plane, plane).round(2))
        [0.5 0.5 0.5]

    References:
        B. Drost, M. Ulrich, N. Navab, S. Ilic, "Model globally, match locally: Efficient and robust
        3D object recognition", CVPR 2010 (point pair features).
    """
    unit = _fading_unit(offsets)
    contraction = (here.astype(jnp.float32) * there.astype(jnp.float32)).sum((-2, -1))
    terms = [quadratic_form(here, unit), quadratic_form(there, unit), contraction]
    return jnp.stack(jnp.broadcast_arrays(*terms), axis=-1)


def _fading_unit(vectors: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    vectors = vectors.astype(jnp.float32)
    square = jnp.square(vectors).sum(-1)
    return vectors / jnp.sqrt(square + _SHORT**2)[..., None]
