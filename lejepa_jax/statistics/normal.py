r"""The normal distribution function, its logarithm, and their derivatives in closed form.

JAX 0.12 differentiates `erf` by a polynomial that `jax.shard_map` with `check_vma=True` refuses,
and every version differentiates `log_ndtr` as :math:`e^{-x^2/2 - \log\Phi}`, where two numbers near
:math:`x^2/2` cancel: in float32 it is off by 1e-5 at -20, and by a factor far out.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
# Below it a continued fraction of this many terms is right to a rounding.
_TAIL, _NUM_TERMS = -3.5, 12


@jax.custom_jvp
def normal_cdf(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Distribution function :math:`\Phi(x)` of N(0, 1), right to a rounding of 1.

    By `erf`, one rational function. `erfc`, right to a rounding of itself, is three, and with them
    and what they leave in memory a transformer's step on CPU a tenth longer.

    Args:
        x: Any numbers.

    Returns:
        Probabilities, in the dtype of `x`.

    Examples:
        >>> f"{normal_cdf(jnp.array(1.96)):.3f}"
        '0.975'
    """
    return 0.5 + 0.5 * lax.erf(x * math.sqrt(0.5))


@normal_cdf.defjvp
def _normal_cdf_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    return normal_cdf(x), normal_density(x) * tangent


def normal_density(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Density :math:`e^{-x^2/2} / \sqrt{2\pi}` of N(0, 1).

    Args:
        x: Any numbers.

    Returns:
        Densities, in the dtype of `x`.

    Examples:
        >>> f"{normal_density(jnp.array(0.0)):.4f}"
        '0.3989'
    """
    return jnp.exp(-0.5 * x * x) * math.sqrt(0.5 / math.pi)


@jax.custom_jvp
def log_normal_cdf(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Logarithm :math:`\log\Phi(x)`, right to a few roundings of itself in both tails.

    Args:
        x: Any numbers.

    Returns:
        Logarithms, in the dtype of `x`; the derivative is :func:`inverse_mills`.

    Examples:
        >>> print([f"{value:.6g}" for value in log_normal_cdf(jnp.array([-100.0, 0.0, 10.0]))])
        ['-5005.52', '-0.693147', '-7.61985e-24']

    References:
        Abramowitz, Stegun, Handbook of Mathematical Functions, 1964, 26.2.14 (the continued
        fraction).
    """
    tail = jnp.maximum(-x, -_TAIL)
    far = -(0.5 * x * x + _HALF_LOG_2PI + jnp.log(tail + _fraction(tail)))
    # By the nearer end: close to 1 a logarithm knows only what is missing.
    outside = 0.5 * lax.erfc(jnp.abs(x) * math.sqrt(0.5))
    near = jnp.where(x > 0, jnp.log1p(-outside), jnp.log(jnp.where(x > _TAIL, outside, 0.5)))
    return jnp.where(x > _TAIL, near, far)


@log_normal_cdf.defjvp
def _log_normal_cdf_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    return log_normal_cdf(x), inverse_mills(x) * tangent


@jax.custom_jvp
def inverse_mills(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Ratio :math:`r(x) = \varphi(x) / \Phi(x)`, the derivative of :math:`\log\Phi`.

    .. math:: r(-z) = z + \cfrac{1}{z + \cfrac{2}{z + \cfrac{3}{z + \cdots}}}, \qquad
        r'(x) = -r(x)\,(r(x) + x)

    Args:
        x: Any numbers.

    Returns:
        Ratios, in the dtype of `x`.

    Examples:
        >>> print([f"{value:.4f}" for value in inverse_mills(jnp.array([-1000.0, 0.0]))])
        ['1000.0010', '0.7979']

    References:
        Abramowitz, Stegun, Handbook of Mathematical Functions, 1964, 26.2.14.
    """
    tail = jnp.maximum(-x, -_TAIL)
    near = jnp.maximum(x, _TAIL)
    ratio = normal_density(near) / (0.5 * lax.erfc(-near * math.sqrt(0.5)))
    return jnp.where(x > _TAIL, ratio, tail + _fraction(tail))


@inverse_mills.defjvp
def _inverse_mills_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    ratio = inverse_mills(x)
    # r(x) + x is the fraction itself, of which rounding would leave nothing far out.
    excess = jnp.where(x > _TAIL, ratio + x, _fraction(jnp.maximum(-x, -_TAIL)))
    return ratio, -ratio * excess * tangent


def _fraction(z: Array) -> Array:
    value = jnp.zeros_like(z)
    for j in range(_NUM_TERMS, 0, -1):
        value = j / (z + value)
    return value
