"""The Epps-Pulley statistic, and what every statistic of one-dimensional samples has in common.

Every statistic maps samples `(*batch, n, k)` to `(*batch, k)`, is differentiable, and takes `mask`
and `axis_name`; each can be the `statistic` of `sigreg`. The others are in `edf`, `moments` and
`order_statistics`.
"""

import functools
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lejepa_jax.statistics.characteristic.specification import Derivatives, ecf
from lejepa_jax.statistics.quadrature import Quadrature, window_rule
from lejepa_jax.statistics.reductions import AxisName, row_count
from lejepa_jax.statistics.targets import CharacteristicFunction, normal_target


@runtime_checkable
class Statistic(Protocol):
    """What `sigreg` asks of a statistic; bind other arguments with `functools.partial`."""

    def __call__(
        self,
        projections: Float[Array, "*batch n k"],
        /,
        *,
        mask: Bool[Array, "*batch n"] | None = None,
        axis_name: AxisName | None = None,
    ) -> Float[Array, "*batch k"]:
        """Return one value a column, zero or small where the column looks normal."""
        ...


def epps_pulley(
    projections: Float[Array, "*batch n k"],
    *,
    t_max: float = 3.0,
    num_knots: int = 17,
    quadrature: Quadrature = "trapezoid",
    target: CharacteristicFunction = normal_target,
    debias: bool = False,
    derivatives: Derivatives = "reverse",
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch k"]:
    r"""Epps-Pulley distance of each column from N(0, 1), or from another law.

    .. math::
        T = n \int \left|\hat\varphi(t) - \varphi(t)\right|^2 e^{-t^2/2}\, dt,
        \qquad \varphi(t) = e^{-t^2/2}

    by the trapezoid rule on `[-t_max, t_max]`. Real samples make the integrand even, so the rule
    is folded: `num_knots` knots on `[0, t_max]` are those of a rule with `2 num_knots - 1` knots on
    the whole interval. Columns are not standardized: a shifted or rescaled normal sample is far
    from N(0, 1) and scores so.

    Off the null the value grows like n, the number of samples over all devices. Under the null its
    mean does not depend on n: 1.0525 with the defaults, which :func:`epps_pulley_null_mean` gives.
    Blind to nothing in theory; in practice to what shows only beyond `t_max` (structure finer than
    about one) and, little weight being there, slow to see rare outliers, whose pull is bounded.

    Args:
        projections: Samples on the last axis but one.
        t_max: Largest frequency.
        num_knots: Knots on `[0, t_max]`, both ends included.
        quadrature: Rule of the integral, see :func:`lejepa_jax.statistics.quadrature.window_rule`.
        target: Characteristic function of the law to compare with, in NumPy; see
            :mod:`lejepa_jax.statistics.targets`.
        debias: Replace the squared modulus by its unbiased estimate
            :math:`(n|\hat\varphi|^2 - 1)/(n - 1)`: the mean under the null is then 0, and single
            values may be negative. Needs two samples; with fewer the value is 0.
        derivatives: `reverse`, the fast path, for `jax.grad` and `jax.hessian`. `all` for
            `jax.jvp`, `jax.jacfwd` and every other transform, see :func:`ecf`.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        One value a column, float32.

    Raises:
        ValueError: If `t_max` is not positive, and for an unknown quadrature or a number of knots
            it does not take; also as :func:`ecf` does.

    Examples:
        >>> column = jnp.array([-1.5, -0.7, -0.2, 0.1, 0.4, 0.9, 1.3, 2.2])[:, None]
        >>> print(f"{epps_pulley(column)[0]:.4f}")
        0.3607

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Section 4.2.3, Algorithm 1 and
        Theorem 6. The text of the paper writes the window as exp(-t^2); its algorithm uses
        exp(-t^2/2), and so do we.
    """
    t, weights = window_rule(quadrature, t_max, num_knots)
    phi = ecf(projections, t, derivatives=derivatives, mask=mask, axis_name=axis_name)
    # A complex target is that of a law that is not even; an even one has no imaginary part.
    goal = np.asarray(target(t), np.complex128)
    goal_real, goal_imag = _row(goal.real, phi.real), _row(goal.imag, phi.real)
    count = row_count(projections, mask=mask, axis_name=axis_name)
    if debias:
        squared = jnp.square(phi.real) + jnp.square(phi.imag)
        pairs = jnp.maximum(count - 1, 1)[..., None]
        squared = (count[..., None] * squared - 1) / pairs
        # Expanded, not as a square: the cross term is unbiased already.
        cross = goal_real * phi.real + goal_imag * phi.imag
        error = squared - 2 * cross + _row(np.square(np.abs(goal)), phi.real)
        value = count * (error @ jnp.asarray(weights, jnp.float32))
        return jnp.where(count > 1, value, 0.0)
    error = jnp.square(phi.real - goal_real) + jnp.square(phi.imag - goal_imag)
    return count * (error @ jnp.asarray(weights, jnp.float32))


def epps_pulley_null_mean(
    *,
    t_max: float = 3.0,
    num_knots: int = 17,
    quadrature: Quadrature = "trapezoid",
    target: CharacteristicFunction = normal_target,
) -> float:
    r"""Mean of the biased :func:`epps_pulley` when the samples follow the target, for any n.

    .. math:: E\,T = \sum_m w_m \left(1 - |\varphi(t_m)|^2\right)

    since :math:`E|\hat\varphi - \varphi|^2 = (1 - |\varphi|^2)/n`.

    Args:
        t_max: As in :func:`epps_pulley`.
        num_knots: As in :func:`epps_pulley`.
        quadrature: As in :func:`epps_pulley`.
        target: As in :func:`epps_pulley`.

    Returns:
        The value below which a mean over slices does not fall in the long run.

    Examples:
        >>> round(epps_pulley_null_mean(), 4)
        1.0525

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Theorem 6.
    """
    t, weights = window_rule(quadrature, t_max, num_knots)
    return float(weights @ (1 - np.square(np.abs(target(t)))))


#: The statistic exactly as in Algorithm 1 of the paper: 17 knots on [-5, 5], that is 9 folded ones.
paper_epps_pulley = functools.partial(epps_pulley, t_max=5.0, num_knots=9)


def _row(values: np.ndarray, like: jax.Array) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray(values, jnp.float32), like.shape)
