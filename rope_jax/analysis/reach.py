"""The kernel of an encoding over displacements, and how far it reaches."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rope_jax.analysis.matrices import exact_einsum, rotation_matrices
from rope_jax.encodings.encoding import Encoding, Params


def kernel_map(
    encoding: Encoding,
    params: Params,
    displacements: Float[Array, "n m"],
    *,
    head_dim: int,
    num_heads: int,
    origin: Float[Array, " m"] | None = None,
) -> Float[Array, "h n"]:
    r"""Mean score of a vector with itself, displaced.

    .. math:: s(\delta) = \mathrm{tr}\, R(o)^\top R(o + \delta) / N

    The average of :math:`\langle R(o) z, R(o + \delta) z\rangle` over all directions of :math:`z`:
    one at :math:`\delta = 0`, and for a relative encoding a mean of cosines
    :math:`\cos\omega_d\delta`, whatever the origin.

    Args:
        encoding: Any encoding that rotates.
        params: Its parameters.
        displacements: Displacements :math:`\delta`.
        head_dim: Channels of one head.
        num_heads: Heads.
        origin: Where the query is.

    Returns:
        The kernel of each head at each displacement.

    Examples:
        >>> import rope_jax
        >>> half_turn = jnp.array([[0.0], [jnp.pi]])
        >>> kernel_map(rope_jax.rope_1d(2, 1), {}, half_turn, head_dim=2, num_heads=1)
        Array([[ 1., -1.]], dtype=float32)
    """
    displacements = displacements.astype(jnp.float32)
    base = (
        jnp.zeros((displacements.shape[-1],), displacements.dtype)
        if origin is None
        else origin.astype(jnp.float32)
    )
    places = jnp.concatenate([base[None, :], base[None, :] + displacements])
    rotation = encoding.prepare(params, places)
    r = rotation_matrices(encoding, rotation, len(places), head_dim, num_heads)
    return exact_einsum("hij,nhij->hn", r[0], r[1:]) / head_dim


def locality(
    kernel: Float[Array, "*b n"],
    displacements: Float[Array, "n m"],
    *,
    sharpness: float = 1.0,
) -> Float[Array, "*b"]:
    r"""Root mean square displacement under the attention weights :math:`e^{\beta s(\delta)}`.

    Compare with the value for a kernel that is constant: that is the size of the window.

    Args:
        kernel: Scores at displacements, from :func:`kernel_map` or a model.
        displacements: The displacements.
        sharpness: :math:`\beta`; scores of unit-variance queries and keys have :math:`\sqrt N`.

    Returns:
        A distance.

    Examples:
        >>> round(float(locality(jnp.zeros(2), jnp.array([[3.0], [4.0]]))), 3)
        3.536
    """
    displacements = displacements.astype(jnp.float32)
    weights = jax.nn.softmax(sharpness * kernel.astype(jnp.float32), axis=-1)
    return jnp.sqrt(
        exact_einsum("...n,n->...", weights, jnp.sum(jnp.square(displacements), axis=-1))
    )
