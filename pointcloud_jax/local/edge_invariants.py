"""Lengths and angles of the vectors that meet at an edge."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from pointcloud_jax.reductions import safe_norm

# Below this length a vector has no direction to speak of: its angles fade out.
_SHORT = 0.05


def edge_angles(
    vectors: Float[Array, "*batch v 3"], *, chirality: bool = False
) -> Float[Array, "*batch e"]:
    r"""Describe a few vectors by all their lengths and angles, which no rotation changes.

    .. math:: |a_i|, \qquad \langle \hat a_i, \hat a_j \rangle \quad (i < j), \qquad
        \hat a = a / \sqrt{|a|^2 + 0.05^2}

    As numbers of order 1 they suit a perceptron better than dot products of any size, and the
    floor under the lengths keeps rounding errors of short vectors from becoming large angles. It
    fits clouds of radius 1 or so.

    Args:
        vectors: The vectors of an edge: its offset, and what distinguishes its two ends (normals,
            directions to the center or to the mean of a neighborhood).
        chirality: Whether to add :math:`\det(\hat a_1, \hat a_2, \hat a_3)`, which changes its sign
            under a reflection.

    Returns:
        `v + v (v - 1) / 2` numbers an edge, or one more, float32.

    Raises:
        ValueError: If `chirality` is asked of fewer than three vectors.

    Examples:
        >>> print(edge_angles(jnp.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])))
        [1. 2. 0.]
    """
    num = vectors.shape[-2]
    if chirality and num < 3:
        raise ValueError(f"vectors must be at least 3 with chirality, got {num}")
    vectors = vectors.astype(jnp.float32)
    length = safe_norm(vectors)
    unit = vectors / jnp.sqrt(jnp.square(length) + _SHORT**2)[..., None]
    terms = [length]
    for i in range(num - 1):
        # By elements, not by a matrix product: that would be rounded to fewer digits on some chips.
        terms.append((unit[..., i : i + 1, :] * unit[..., i + 1 :, :]).sum(-1))
    if chirality:
        first, second, third = (unit[..., i, :] for i in range(3))
        terms.append((first * jnp.cross(second, third)).sum(-1, keepdims=True))
    return jnp.concatenate(terms, axis=-1)
