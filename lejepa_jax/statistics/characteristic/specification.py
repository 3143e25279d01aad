"""The empirical characteristic function of one-dimensional projections.

The primitive under everything here: SIGReg asks it of embeddings along random directions, the
spherical Fourier transform of point clouds asks it of points along directions that cover the
sphere.
"""

from typing import Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_choice, check_samples
from lejepa_jax.statistics.characteristic.grid import equal_spacing, sums_on_grid
from lejepa_jax.statistics.characteristic.sincos import Complex
from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.reductions import AxisName, masked_rows, over_devices, row_count

#: Which derivatives a function has to have.
Derivatives = Literal["reverse", "all"]


class Ecf(NamedTuple):
    """Real and imaginary part of an empirical characteristic function."""

    real: Float[Array, "*batch k m"]
    imag: Float[Array, "*batch k m"]


def _plain_sums(x: jax.Array, weights: jax.Array | None, t: jax.Array) -> Complex:
    """Sum cosines and sines one frequency at a time, recomputing them for the gradient."""

    @jax.checkpoint
    def one(t_m: jax.Array) -> Complex:
        cos, sin = jnp.cos(t_m * x), jnp.sin(t_m * x)
        if weights is not None:
            cos, sin = cos * weights[..., None], sin * weights[..., None]
        return cos.sum(-2), sin.sum(-2)

    cos, sin = lax.map(one, t)
    return jnp.moveaxis(cos, 0, -1), jnp.moveaxis(sin, 0, -1)


@accept_explicit_axes
def ecf(
    projections: Float[Array, "*batch n k"],
    t: Float[Array | np.ndarray, " m"],
    *,
    derivatives: Derivatives = "reverse",
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Ecf:
    r"""Evaluate the empirical characteristic function over the global sample.

    .. math:: \hat\varphi_k(t_m) = \frac1n \sum_j e^{i t_m x_{jk}}

    No `(n, k, m)` tensor is ever formed. If `t` is known while tracing (a NumPy array, say) and
    equally spaced, one sine and cosine a sample serve every frequency: all terms are powers of
    :math:`e^{i \Delta t\, x}`, and the gradient is a polynomial in the same complex number
    (Horner's rule), whose coefficients are the cotangents. On TPU an angle beyond 8192 is off by a
    rounding of its own. Any other `t` is evaluated one frequency at a time and differentiates in
    every mode, with respect to `t` too.

    Args:
        projections: Samples on the last axis but one, one slice a column.
        t: Frequencies, in inverse units of the projections.
        derivatives: `reverse`: the fast path where it applies, for `jax.grad` and all it is made of
            and `jax.hessian`; `jax.jvp` and `jax.jacfwd` refuse it ("can't apply forward-mode
            autodiff (jvp) to a custom_vjp function"). `all`: one frequency at a time, for every
            transform.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded. Sums and counts cross devices
            (`2 k m + 1` floats), so shards of unequal valid counts are exact.

    Returns:
        Means of cosine and sine, float32.

    Raises:
        ValueError: For unknown `derivatives`, a wrong rank, an empty axis, a mask of another
            shape, an integer dtype.

    Examples:
        >>> x = jnp.array([[0.0], [jnp.pi]])
        >>> ecf(x, np.array([0.0, 1.0, 2.0])).real.round(6) + 0.0
        Array([[1., 0., 1.]], dtype=float32)

    References:
        T. W. Epps, L. B. Pulley, A test for normality based on the empirical characteristic
        function, Biometrika 70, 1983. R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025,
        Section 4.2.3 and Algorithm 1.
    """
    check_choice("derivatives", derivatives, ("reverse", "all"))
    check_samples("projections", projections, mask)
    # Replaced, not multiplied by 0: NaN or Inf in masked rows would stay what it is.
    x = masked_rows(projections, mask)
    weights = None if mask is None else mask.astype(jnp.float32)
    grid = equal_spacing(t) if derivatives == "reverse" else None
    if grid is None:
        cos, sin = _plain_sums(x, weights, jnp.asarray(t, jnp.float32))
    else:
        # Cast, since functools.partial hides the types of the decorated function.
        cos, sin = cast(Complex, sums_on_grid(x, weights, grid, axis_name is None))
    cos, sin = over_devices((cos, sin), axis_name)
    count = row_count(x, mask=mask, axis_name=axis_name)[..., None]
    return Ecf(cos / count, sin / count)
