"""Cosine and sine of many angles, and arithmetic of complex numbers as pairs of real arrays."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

T = TypeVar("T")
#: Real and imaginary part.
Complex = tuple[jax.Array, jax.Array]
#: A way to cosines and sines of angles.
UnitComplex = Callable[[jax.Array], Complex]


class Polynomials(NamedTuple):
    """Constants of :func:`polynomials`.

    Attributes:
        max_angle: Largest angle at which multiples of the parts of pi/2 are exact.
        half_pi: pi/2 in three parts, the first two so short that their multiples are exact (Cody
            and Waite).
        sine: Coefficients in the square of the rest, highest power first, fitted on [0, (pi/4)^2]
            to the least largest error (2e-9, below float32 rounding).
        cosine: The same for the cosine (1e-10).
    """

    max_angle: float = 8192.0
    half_pi: tuple[np.float32, ...] = tuple(
        map(np.float32, (1.5703125, 4.837512969970703125e-4, 7.549789948768648e-8))
    )
    sine: tuple[np.float32, ...] = tuple(
        map(np.float32, (-0.000194956, 0.0083319784, -0.1666665066))
    )
    cosine: tuple[np.float32, ...] = tuple(
        map(np.float32, (2.4438415531e-05, -1.3887367213e-03, 4.1666646861e-02))
    )


POLYNOMIALS = Polynomials()


def unit_complex(angle: jax.Array) -> Complex:
    r"""Evaluate :math:`e^{i a}` in the way that suits the platform."""
    return near_or_far(lambda way, angle: way(angle), angle, 1.0)


def near_or_far(function: Callable[[UnitComplex, jax.Array], T], x: jax.Array, scale: float) -> T:
    """Call `function(unit_complex, x)` with the way to cosines and sines that suits the platform.

    On a CPU and a TPU that is by polynomials, which they compute on whole vectors. On a CPU, angles
    as large as `scale * x` may want the function of the library.
    """

    def cpu(x: jax.Array) -> T:
        near = jnp.abs(x).max() * np.float32(scale) < POLYNOMIALS.max_angle
        return lax.cond(near, lambda x: function(polynomials, x), lambda x: function(native, x), x)

    return lax.platform_dependent(
        x,
        cpu=cpu,
        tpu=lambda x: function(polynomials, x),
        default=lambda x: function(native, x),
    )


def native(angle: jax.Array) -> Complex:
    """Cosine and sine as the compiler has them."""
    return jnp.cos(angle), jnp.sin(angle)


def polynomials(angle: jax.Array) -> Complex:
    """Cosine and sine to 1.2e-7, of angles below 8192.

    Beyond, they are those of an angle that is off by one rounding; beyond 2^21, where a rounding
    is an eighth, they are within [-1, 1] and no more can be said.
    """
    quarters = jnp.round(angle * np.float32(2 / np.pi))
    rest = angle
    for part in POLYNOMIALS.half_pi:
        rest = rest - quarters * part
    # Rounding alone takes it further than pi/4, where the polynomials end.
    rest = jnp.clip(rest, -1, 1)
    square = rest * rest
    sin = rest + rest * square * _polynomial(square, POLYNOMIALS.sine)
    cos = 1 - 0.5 * square + square * square * _polynomial(square, POLYNOMIALS.cosine)
    quadrant = quarters.astype(jnp.int32)
    odd = quadrant % 2 != 0
    cos, sin = jnp.where(odd, sin, cos), jnp.where(odd, cos, sin)
    # Which quarters are negative follows from the second bit of their number.
    return (
        jnp.where((quadrant + 1) & 2 != 0, -cos, cos),
        jnp.where(quadrant & 2 != 0, -sin, sin),
    )


def times(a: Complex, b: Complex) -> Complex:
    """Multiply two complex numbers."""
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def weigh(values: jax.Array, weights: jax.Array) -> jax.Array:
    """Multiply samples by weights, several samples being side by side on the last axis."""
    return (values.reshape(*weights.shape, -1) * weights[..., None]).reshape(values.shape)


def _polynomial(x: jax.Array, coefficients: tuple[np.float32, ...]) -> jax.Array:
    value = jnp.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value
