r"""Local dot products: what the edges of a neighborhood look like from its center, invariantly.

A dot product of two vectors that rotate together is both a filter for a direction and a number that
no rotation changes. `l2dp` takes those of each edge, and three functions gather them over a
neighborhood.

References:
    Hu, Li, Zhu, Hou, "Hierarchical Direction Perception via Atomic Dot-Product Operators for
    Rotation-Invariant Point Clouds Learning", arXiv 2511.08240, 2025.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_floating
from pointcloud_jax.reductions import masked_max


def l2dp(
    centers: Float[Array, "*batch n #k c 3"],
    offsets: Float[Array, "*batch n k c 3"],
    *,
    chirality: bool = False,
    mask: Bool[Array, "*batch n k"] | None = None,
) -> Float[Array, "*batch n k e"]:
    r"""Take the invariant products of center and offset on each edge.

    .. math:: \langle \Gamma_i, \Delta_{ij} \rangle, \qquad \langle \Gamma_i, \Gamma_i \rangle,
        \qquad \det(\Gamma_i, \Delta_{ij}, \bar\Delta_i)

    The second is the positional term; it wants centered clouds. The third, with the mean offset
    :math:`\bar\Delta_i` of the neighborhood, is offered because the others cannot tell a shape
    from its mirror image: it changes sign under a reflection and only then.

    Args:
        centers: Vectors of the center, one set a point (`k` axis of size 1) or one an edge.
        offsets: Vectors from the center to the neighbor.
        chirality: Whether to add the triple product.
        mask: True for neighbors that exist; used for the mean offset.

    Returns:
        `2 c` numbers an edge, or `3 c`, float32.

    Raises:
        ValueError: If the shapes do not fit, or for an integer dtype.

    Examples:
        >>> center, offset = jnp.ones((1, 1, 1, 3)), jnp.array([[[[1.0, 2.0, 3.0]]]])
        >>> print(l2dp(center, offset)[0, 0])
        [6. 3.]
    """
    check_floating("offsets", offsets)
    if offsets.ndim < 4 or offsets.shape[-1] != 3:
        raise ValueError(f"offsets must have shape (*batch, n, k, c, 3), got {offsets.shape}")
    if centers.ndim != offsets.ndim or centers.shape[-2:] != offsets.shape[-2:]:
        raise ValueError(
            f"centers must have the axes of the offsets {offsets.shape}, got {centers.shape}"
        )
    centers, offsets = centers.astype(jnp.float32), offsets.astype(jnp.float32)
    relative = (centers * offsets).sum(-1)
    position = jnp.broadcast_to(jnp.square(centers).sum(-1), relative.shape)
    terms = [relative, position]
    if chirality:
        weights = (
            jnp.ones(offsets.shape[:-2], jnp.float32) if mask is None else mask.astype(jnp.float32)
        )
        count = jnp.maximum(weights.sum(-1, keepdims=True), 1)[..., None, None]
        mean = (weights[..., None, None] * offsets).sum(-3, keepdims=True) / count
        normal = jnp.cross(offsets, jnp.broadcast_to(mean, offsets.shape))
        terms.append((centers * normal).sum(-1))
    return jnp.concatenate(terms, axis=-1)


def flatten_ordered(
    features: Float[Array, "*batch n k c"], *, mask: Bool[Array, "*batch n k"] | None = None
) -> Float[Array, "*batch n k*c"]:
    """Lay the neighbors side by side, nearest first, for a linear map that knows their rank.

    It wants a fixed `k`, and jumps where two neighbors swap ranks.

    Args:
        features: Features of the edges.
        mask: True for neighbors that exist; others give zeros.

    Returns:
        One row a point.

    Examples:
        >>> print(flatten_ordered(jnp.array([[[1.0], [2.0]]])))
        [[1. 2.]]
    """
    if mask is not None:
        features = jnp.where(mask[..., None], features, 0)
    return features.reshape(*features.shape[:-2], -1)


def edge_statistics(
    features: Float[Array, "*batch n k c"], *, mask: Bool[Array, "*batch n k"] | None = None
) -> Float[Array, "*batch n 3*c"]:
    """Summarize the neighbors by maximum, mean and variance, whatever their order.

    Args:
        features: Features of the edges.
        mask: True for neighbors that exist.

    Returns:
        Maximum, mean and biased variance a channel; zero where no neighbor exists.

    Examples:
        >>> print(edge_statistics(jnp.array([[[1.0], [3.0]]])))
        [[3. 2. 1.]]
    """
    features = features.astype(jnp.float32)
    exists = jnp.ones(features.shape[:-1], bool) if mask is None else mask
    count = jnp.maximum(exists.sum(-1, dtype=jnp.float32), 1)[..., None]
    mean = jnp.where(exists[..., None], features, 0).sum(-2) / count
    square = jnp.square(features - mean[..., None, :])
    variance = jnp.where(exists[..., None], square, 0).sum(-2) / count
    return jnp.concatenate([masked_max(features, exists), mean, variance], axis=-1)


def radial_pool(
    features: Float[Array, "*batch n k c"],
    distances: Float[Array, "*batch n k"],
    *,
    num_bins: int = 4,
    mask: Bool[Array, "*batch n k"] | None = None,
) -> Float[Array, "*batch n {num_bins}*c"]:
    r"""Average the neighbors in soft shells of distance.

    Shell b has weights :math:`\exp(-\tfrac12 (x_j / s - b)^2)` at the distance :math:`x_j = d_j /
    \bar d` relative to the neighborhood's mean, with shells :math:`s` apart from 0 to 2. It knows
    near from far like `flatten_ordered`, but it is smooth where neighbors swap ranks and takes any
    number of them; and it does not change when the cloud is scaled.

    Args:
        features: Features of the edges.
        distances: Lengths of the edges.
        num_bins: Number of shells, at least 2.
        mask: True for neighbors that exist.

    Returns:
        One mean a shell and channel; zero where no neighbor exists.

    Raises:
        ValueError: If `num_bins` is less than 2.

    Examples:
        >>> pooled = radial_pool(jnp.array([[[1.0], [3.0]]]), jnp.array([[0.1, 1.9]]), num_bins=2)
        >>> print(pooled.round(2))
        [[1.78 2.22]]
    """
    if num_bins < 2:
        raise ValueError(f"num_bins must be at least 2, got {num_bins}")
    exists = jnp.ones(distances.shape, bool) if mask is None else mask
    weights = exists.astype(jnp.float32)
    count = jnp.maximum(weights.sum(-1, keepdims=True), 1)
    distances = jnp.where(exists, distances.astype(jnp.float32), 0)
    mean = distances.sum(-1, keepdims=True) / count
    relative = distances / jnp.where(mean > 0, mean, 1)
    shells = jnp.arange(num_bins, dtype=jnp.float32)
    gap = relative[..., None] * ((num_bins - 1) / 2) - shells.reshape(*(1,) * relative.ndim, -1)
    # Far beyond the last shell every weight would round to zero; the nearest keep their order.
    shell = jnp.exp(-0.5 * jnp.square(jnp.clip(gap, -8, 8))) * weights[..., None]
    total = jnp.maximum(shell.sum(-2), 1e-20)
    features = jnp.where(exists[..., None], features.astype(jnp.float32), 0)
    pooled = jnp.einsum("...kb,...kc->...bc", shell, features) / total[..., None]
    return pooled.reshape(*pooled.shape[:-2], -1)
