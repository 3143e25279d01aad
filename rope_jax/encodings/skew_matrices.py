"""Exponentials of skew-symmetric matrices, which are rotations, and their derivatives."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from rope_jax.checks import check_choice, is_sharded

Derivatives = Literal["reverse", "all"]

# Matrices of up to this many rows are multiplied as vectors over the batch, which lies in the last
# axes: there is next to nothing for a matrix unit to do, and each would be a call of its own.
_SMALL = 8

# Of loops of fixed length: norms up to 10^7, where an angle in float32 is off by a radian.
_MAX_SQUARINGS = 24

# Taylor polynomial of degree 8: below this norm its remainder is under float32 rounding.
_TAYLOR_RADIUS = 0.6


def skew(upper: Float[Array, "*b k"], size: int) -> Float[Array, "*b {size} {size}"]:
    """Skew-symmetric matrices from their strict upper triangles, row by row.

    Args:
        upper: ``size * (size - 1) / 2`` entries.
        size: Rows of the matrix.

    Returns:
        ``A`` with ``A.mT == -A``.

    Raises:
        ValueError: If the number of entries does not fit the size.

    Examples:
        >>> skew(jnp.array([1.0, 2.0, 3.0]), 3)
        Array([[ 0.,  1.,  2.],
               [-1.,  0.,  3.],
               [-2., -3.,  0.]], dtype=float32)
    """
    if upper.shape[-1] != size * (size - 1) // 2:
        raise ValueError(
            f"upper must have {size * (size - 1) // 2} entries for size {size}, "
            f"got {upper.shape[-1]}"
        )
    # A gather from the entries and a zero behind them: unlike a scatter into zeros it is defined on
    # sharded entries, in both directions.
    index = np.full((size, size), upper.shape[-1])
    index[np.triu_indices(size, 1)] = np.arange(upper.shape[-1])
    full = jnp.pad(upper, [(0, 0)] * (upper.ndim - 1) + [(0, 1)])[..., index]
    return full - full.mT


def _num_squarings(matrix: Float[Array, "*b s s"]) -> Array:
    """Halvings that bring the largest matrix of the batch inside the radius of the polynomial."""
    # A piecewise constant; without this the square root would have a NaN for a tangent at zero.
    matrix = lax.stop_gradient(matrix)
    # The spectral norm of a skew matrix is at most its Frobenius norm over sqrt 2: eigenvalues
    # pair.
    norm = jnp.sqrt(jnp.max(jnp.sum(jnp.square(matrix), axis=(-1, -2)), initial=0.0) / 2)
    halvings = jnp.ceil(jnp.log2(jnp.maximum(norm, 1e-30) / _TAYLOR_RADIUS))
    return jnp.clip(halvings, 0, 60).astype(jnp.int32)


def _repeat(step: Callable[[Any], Any], count: Array, start: Any, *, static: bool) -> Any:
    """Apply `step` `count` times; with `static` as a loop of fixed length, of any derivative."""
    if not static:
        return lax.fori_loop(0, count, lambda _, x: step(x), start)

    def masked(i: Array, x: Any) -> Any:
        return jax.tree.map(lambda new, old: jnp.where(i < count, new, old), step(x), x)

    return lax.fori_loop(0, _MAX_SQUARINGS, masked, start)


def _in_front(matrix: Float[Array, "*b s s"]) -> Float[Array, "..."]:
    """Small matrices by component, `(s, s, batch)`; others as they are."""
    size = matrix.shape[-1]
    if size > _SMALL:
        return matrix
    if is_sharded(matrix):
        return jnp.moveaxis(matrix, (-2, -1), (0, 1))  # sharded axes do not go into one
    return matrix.reshape(-1, size * size).T.reshape(size, size, -1)


def _behind(matrix: Float[Array, "..."], shape: tuple[int, ...]) -> Float[Array, "*b s s"]:
    size = shape[-1]
    if size > _SMALL:
        return matrix
    if matrix.ndim != 3:
        return jnp.moveaxis(matrix, (0, 1), (-2, -1))
    return matrix.reshape(size * size, -1).T.reshape(shape)


def _product(a: Array, b: Array, size: int) -> Array:
    """Multiply matrices that `_in_front` gave."""
    if size > _SMALL:
        return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)  # TF32 would cost four digits
    terms = [a[:, j, None] * b[None, j] for j in range(size)]
    return sum(terms[1:], start=terms[0])


def _transpose(a: Array, size: int) -> Array:
    return jnp.swapaxes(a, 0, 1) if size <= _SMALL else a.mT


def _identity(a: Array, size: int) -> Array:
    eye = jnp.eye(size, dtype=a.dtype)
    if size <= _SMALL:
        eye = eye.reshape(size, size, *(1,) * (a.ndim - 2))
    return jnp.broadcast_to(eye, a.shape)


def _exp_minus_one(a: Array, size: int) -> Array:
    """Degree 8 of exp(a) - I by Horner's rule: y_k = (a + a y_{k+1}) / k, from 8 down to 1."""
    # In a loop, here and below, so that every product is kept: as one expression the compiler would
    # compute a product anew for each of the numbers it goes into.
    return lax.fori_loop(
        0, 7, lambda i, y: (a + _product(a, y, size)) / (7 - i).astype(a.dtype), a / 8
    )


def _exponential(a: Float[Array, "*b s s"], *, static: bool = False) -> Float[Array, "*b s s"]:
    size, squarings = a.shape[-1], _num_squarings(a)
    squarings = jnp.minimum(squarings, _MAX_SQUARINGS) if static else squarings
    x = _exp_minus_one(_in_front(a * jnp.exp2(-squarings.astype(a.dtype))), size)
    x = _repeat(lambda x: 2 * x + _product(x, x, size), squarings, x, static=static)
    # First R^T R - I = X + X^T + X^T X, again without the identity; then R less half of R times it.
    transposed, r = _transpose(x, size), x + _identity(x, size)
    factor = jnp.array([1.0, -0.5], a.dtype)
    _, r, _ = lax.fori_loop(
        0,
        2,
        lambda i, c: (r, c[2] + factor[i] * _product(c[0], c[1], size), r),
        (transposed, x, x + transposed),
    )
    return _behind(r, a.shape)


def _frechet(
    a: Float[Array, "*b s s"], g: Float[Array, "*b s s"], *, static: bool = False
) -> Float[Array, "*b s s"]:
    """Cotangent of `a` among skew matrices, for the cotangent `g` of its exponential."""
    size, squarings = a.shape[-1], _num_squarings(a)
    squarings = jnp.minimum(squarings, _MAX_SQUARINGS) if static else squarings
    factor = jnp.exp2(-squarings.astype(a.dtype))
    point, direction = _in_front(a.mT * factor), _in_front(g * factor)
    x, e = jax.jvp(partial(_exp_minus_one, size=size), (point,), (direction,))

    def double(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        x, e = carry
        return (
            2 * x + _product(x, x, size),
            2 * e + _product(x, e, size) + _product(e, x, size),
        )

    _, e = _repeat(double, squarings, (x, e), static=static)
    # The derivative among skew matrices: what is symmetric cannot be moved along.
    e = _behind(e, a.shape)
    return 0.5 * (e - e.mT)


def _any_derivative(function: Callable[..., Array]) -> Callable[..., Array]:
    """Derive the form with loops of fixed length, evaluate the one with as many as are needed."""
    value = jax.custom_jvp(function)

    @value.defjvp
    def jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        return jax.jvp(partial(function, static=True), primals, tangents)

    return value


_exponential_all = _any_derivative(_exponential)
_frechet_all = _any_derivative(_frechet)

# The first derivative, in reverse mode, is one call of `_frechet` and keeps nothing but `a`. Both
# are differentiable in either mode after that.
_exponential_reverse = jax.custom_vjp(_exponential)
_exponential_reverse.defvjp(lambda a: (_exponential_all(a), a), lambda a, g: (_frechet_all(a, g),))


def exp_skew(
    a: Float[Array, "*b s s"], *, derivatives: Derivatives = "reverse"
) -> Float[Array, "*b s s"]:
    r"""Exponential of skew-symmetric matrices, orthogonal to float32 rounding.

    Scaling and squaring of :math:`X = e^{A/2^s} - I` by :math:`X \mapsto 2X + X^2`: without the
    identity inside, small rotations keep their digits through all squarings. One Newton step
    :math:`R \leftarrow R\,(3I - R^\top R)/2` then removes the drift off the orthogonal group.
    The number of squarings follows the largest norm of the batch (``jax.scipy.linalg.expm`` returns
    NaN beyond its limit). The derivative is Fréchet's,

    .. math:: \bar A = L_{\exp}(A^\top, \bar R),\qquad
       L(2A, 2E) = e^A L(A, E) + L(A, E)\, e^A,

    by the same squarings: nothing but :math:`A` is kept for the backward pass, it is smooth at
    zero and does not depend on a gap in the spectrum (that of an eigendecomposition does).

    Args:
        a: Skew-symmetric matrices; the arithmetic is in float32.
        derivatives: ``"reverse"``: the derivative above, in reverse mode, and any derivative of it
            (``jax.hessian``). ``"all"``: forward mode too (``jax.jvp``, ``jax.jacfwd``), by
            differentiating 24 squarings, whatever the norm; reverse mode then keeps each of them.

    Returns:
        Rotation matrices.

    Raises:
        ValueError: If ``derivatives`` is unknown.
        TypeError: If forward mode meets ``derivatives="reverse"``.

    Examples:
        >>> exp_skew(jnp.array([[0.0, -jnp.pi / 2], [jnp.pi / 2, 0.0]])).round(3) + 0.0
        Array([[ 0., -1.],
               [ 1.,  0.]], dtype=float32)

    References:
        A. Al-Mohy and N. Higham, "Computing the Fréchet derivative of the matrix exponential",
        2009.
    """
    check_choice("derivatives", derivatives, get_args(Derivatives))
    a = a.astype(jnp.float32)
    if derivatives == "all":
        return _exponential_all(a)
    try:
        return _exponential_reverse(a)
    except TypeError as error:
        if "custom_vjp" not in str(error):
            raise
        raise TypeError(
            "exp_skew (liere, comrope) with derivatives='reverse' has no forward mode; "
            "pass derivatives='all'"
        ) from error


def rodrigues(vectors: Float[Array, "*b 3 f"]) -> Float[Array, "*b 3 3 f"]:
    r"""Rotation matrices of rotation vectors, smooth at zero.

    .. math:: R = I + \frac{\sin t}{t} [u]_\times + \frac{1-\cos t}{t^2} [u]_\times^2,\; t = |u|

    Near zero the two quotients come from their series in :math:`t^2`: the direction of a zero
    vector does not exist, and the textbook form has a NaN for a gradient there.

    Args:
        vectors: Axis times angle, component-major.

    Returns:
        ``out[..., i, j, f]``.

    Examples:
        >>> rodrigues(jnp.array([0.0, 0.0, jnp.pi / 2])[:, None])[..., 0].round(3) + 0.0
        Array([[ 0., -1.,  0.],
               [ 1.,  0.,  0.],
               [ 0.,  0.,  1.]], dtype=float32)
    """
    vectors = vectors.astype(jnp.float32)
    x, y, z = vectors[..., 0, :], vectors[..., 1, :], vectors[..., 2, :]
    square = x * x + y * y + z * z
    near = square < 0.25
    # Both branches are evaluated and differentiated, so each gets an argument that suits it.
    t = jnp.sqrt(jnp.where(near, 1.0, square))
    small = jnp.where(near, square, 0.0)
    # Remainders below 1e-9 at t = 1/2.
    sinc = 1 - small / 6 * (1 - small / 20 * (1 - small / 42 * (1 - small / 72)))
    cosc = 0.5 * (1 - small / 12 * (1 - small / 30 * (1 - small / 56 * (1 - small / 90))))
    a = jnp.where(near, sinc, jnp.sin(t) / t)
    # 2 sin^2(t/2) instead of 1 - cos t: no cancellation.
    b = jnp.where(near, cosc, 2 * jnp.square(jnp.sin(t / 2) / t))
    rows = (
        (1 - b * (y * y + z * z), b * x * y - a * z, b * x * z + a * y),
        (b * x * y + a * z, 1 - b * (x * x + z * z), b * y * z - a * x),
        (b * x * z - a * y, b * y * z + a * x, 1 - b * (x * x + y * y)),
    )
    return jnp.stack([jnp.stack(row, axis=-2) for row in rows], axis=-3)
