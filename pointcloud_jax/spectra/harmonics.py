"""Solid harmonics and spherical Bessel functions, by recursions that are stable in float32."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float


def solid_harmonics(vectors: Float[Array, "*batch 3"], max_degree: int) -> Float[Array, "*batch c"]:
    r"""Evaluate the real solid harmonics :math:`|v|^l\, Y_{lm}(v / |v|)` as polynomials.

    On the unit sphere they are the real spherical harmonics, orthonormal under the area of the
    sphere. Upward recursion in the degree, with normalized coefficients; no angle is formed, so
    that poles and zero vectors are nothing special.

    Args:
        vectors: Where to evaluate.
        max_degree: Highest degree.

    Returns:
        The `(max_degree + 1)**2` values ordered by degree, then by order -l, ..., l; float32.

    Examples:
        >>> print(solid_harmonics(jnp.array([0.0, 0.0, 1.0]), 1).round(4))
        [0.2821 0.     0.4886 0.    ]
    """
    x, y, z = jnp.moveaxis(vectors.astype(jnp.float32), -1, 0)
    square = x * x + y * y + z * z
    orders = np.arange(max_degree + 1)

    def raise_order(power, _):
        """Real and imaginary part of (x + i y)^m."""
        real, imaginary = power
        return (x * real - y * imaginary, x * imaginary + y * real), power

    _, (real, imaginary) = lax.scan(
        raise_order, (jnp.ones_like(x), jnp.zeros_like(x)), length=len(orders)
    )

    # What remains is a polynomial in z and |v|^2, for all orders at once:
    # q_l^m = a (z q_{l-1}^m - b |v|^2 q_{l-2}^m), from the constant q_m^m on.
    a, b, start = (np.zeros((max_degree + 1, max_degree + 1)) for _ in range(3))
    for degree in orders:
        lower = orders[:degree]
        a[degree, :degree] = np.sqrt((4 * degree**2 - 1) / (degree**2 - lower**2))
        b[degree, :degree] = np.sqrt(
            ((degree - 1) ** 2 - lower**2).clip(0) / (4 * (degree - 1) ** 2 - 1)
        )
        start[degree, degree] = math.sqrt(
            math.prod((2 * m + 1) / (2 * m) for m in range(1, degree + 1)) / (4 * math.pi)
        )
    tables = [jnp.asarray(t, jnp.float32).reshape(*t.shape, *(1,) * x.ndim) for t in (a, b, start)]

    def raise_degree(carry, rows):
        before, value = carry
        a, b, start = rows
        raised = a * (z[None] * value - b * square[None] * before) + start
        return (value, raised), raised

    nothing = jnp.broadcast_to(jnp.zeros_like(z)[None], real.shape)
    _, values = lax.scan(raise_degree, (nothing, nothing), tuple(tables))

    angular = jnp.concatenate([imaginary[:0:-1], real])  # orders -L, ..., L
    pairs = [(degree, m) for degree in orders for m in range(-degree, degree + 1)]
    scales = jnp.asarray([math.sqrt(2) if m else 1.0 for _, m in pairs], jnp.float32)
    rows = values.reshape(-1, *z.shape)[np.array([l * len(orders) + abs(m) for l, m in pairs])]
    columns = rows * angular[np.array([max_degree + m for _, m in pairs])]
    return jnp.moveaxis(columns, 0, -1) * scales.reshape((1,) * z.ndim + scales.shape)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def spherical_bessel(
    x: Float[Array, "*batch"], max_degree: int
) -> Float[Array, "{max_degree}+1 *batch"]:
    r"""Evaluate the spherical Bessel functions :math:`j_0, \dots, j_L` of the first kind.

    Upward recursion where it is stable, :math:`x \ge l`, and the power series elsewhere, where its
    terms barely cancel. Absolute errors stay below 1e-6 up to degree 8 and below 6e-6 up to 20, and
    the gradient is finite at zero.

    Args:
        x: Arguments, at least zero.
        max_degree: Highest degree.

    Returns:
        One row a degree, float32.

    Examples:
        >>> print(spherical_bessel(jnp.array([0.0, 1.0]), 1).round(4))
        [[1.     0.8415]
         [0.     0.3012]]

    References:
        M. Abramowitz, I. A. Stegun, "Handbook of Mathematical Functions", 1964, 10.1.2 (series),
        10.1.19 (recursion), 10.1.20 (derivative).
    """
    x = x.astype(jnp.float32)
    degrees = np.arange(max_degree + 1)
    edge = np.maximum(degrees, 1)
    # In units of the edge, where upward recursion takes over, all factors are at most 1 or
    # e^(degree / 4): nothing overflows. Every degree has the same number of terms, one array.
    coefficients = [
        np.array([math.prod(l / (2 * i + 1) for i in range(1, l + 1)) for l in degrees])
    ]
    while (np.abs(coefficients[-1]) > 1e-9 * coefficients[0]).any():
        k = len(coefficients)
        coefficients.append(-coefficients[-1] * edge**2 / (2 * k * (2 * degrees + 2 * k + 1)))

    def by_degree(values: np.ndarray) -> jax.Array:
        return jnp.asarray(values, jnp.float32).reshape(-1, *(1,) * x.ndim)

    part = jnp.minimum(x[None] / by_degree(edge), 1)
    square, series = part * part, by_degree(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        series = series * square + by_degree(coefficient)
    power = part
    for bit in range(max_degree.bit_length()):
        odd = jnp.asarray(degrees >> bit & 1 == 1).reshape(-1, *(1,) * x.ndim)
        series = series * jnp.where(odd, power, 1)
        power = power * power

    large = jnp.maximum(x, 1)
    first = jnp.sin(large) / large
    before = jnp.cos(large) / large  # j_{-1}

    def raise_degree(carry, odd):
        before, value = carry
        return (value, odd / large * value - before), value

    odds = jnp.asarray(2 * degrees + 1, jnp.float32)
    _, upward = lax.scan(raise_degree, (before, first), odds)
    return jnp.where(x[None] < by_degree(edge), series, upward)


@spherical_bessel.defjvp
def _spherical_bessel_jvp(max_degree, primals, tangents):
    r""":math:`(2 l + 1) j_l' = l j_{l-1} - (l + 1) j_{l+1}`: nothing divides by the argument."""
    (x,), (x_dot,) = primals, tangents
    values = spherical_bessel(x, max_degree + 1)
    below = jnp.concatenate([values[:1], values[:-2]])  # times zero at degree 0
    degrees = jnp.arange(max_degree + 1, dtype=jnp.float32).reshape(-1, *(1,) * x.ndim)
    derivatives = (degrees * below - (degrees + 1) * values[1:]) / (2 * degrees + 1)
    return values[:-1], derivatives * x_dot.astype(jnp.float32)[None]
