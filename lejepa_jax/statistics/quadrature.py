"""Rules for the integral of the Epps-Pulley statistic over frequencies.

The integrand is even in t, so that all rules are folded: knots at t >= 0, weights for both signs.
The window :math:`e^{-t^2/2}` is part of the weights.
"""

from typing import Literal, NamedTuple

import numpy as np

from lejepa_jax.checks import check_choice, check_positive

Quadrature = Literal["trapezoid", "simpson", "legendre", "hermite"]


class Rule(NamedTuple):
    """Knots and weights, float64; known while tracing."""

    t: np.ndarray
    weights: np.ndarray


def window_rule(quadrature: Quadrature, t_max: float, num_knots: int) -> Rule:
    r"""Make a rule for :math:`\int f(t)\, e^{-t^2/2}\, dt` of an even f.

    Args:
        quadrature: `trapezoid` and `simpson`: equally spaced knots on `[0, t_max]`, both ends
            included. `legendre`: Gauss-Legendre on `[0, t_max]`. `hermite`: the upper half of the
            Gauss-Hermite rule on the whole line, for which `t_max` means nothing. The integrand is
            smooth, even and has decayed at a `t_max` of 5: there the trapezoid rule converges
            faster than any power of the step, and no rule here reaches its accuracy with fewer
            knots. Its knots are also the cheapest, a multiplication a sample, where the Gauss rules
            need a sine and a cosine. Hermite pays where no `t_max` is to be chosen, Legendre where
            `t_max` cuts the integrand off.
        t_max: Largest frequency.
        num_knots: Knots at t >= 0.

    Returns:
        The folded rule.

    Raises:
        ValueError: For an unknown quadrature, a `t_max` that is not positive, too few knots, or
            an even number of knots where Simpson's rule needs an odd one.

    Examples:
        >>> t, weights = window_rule("hermite", 3.0, 8)
        >>> bool(np.isclose(weights.sum(), np.sqrt(2 * np.pi)))
        True
    """
    check_choice("quadrature", quadrature, ("trapezoid", "simpson", "legendre", "hermite"))
    check_positive("t_max", t_max)
    fewest = {"trapezoid": 2, "simpson": 3, "legendre": 1, "hermite": 1}[quadrature]
    if num_knots < fewest:
        raise ValueError(f"num_knots must be at least {fewest} ({quadrature}), got {num_knots}")
    if quadrature == "hermite":
        t, weights = np.polynomial.hermite_e.hermegauss(2 * num_knots)
        return Rule(t[num_knots:], 2 * weights[num_knots:])
    if quadrature == "legendre":
        t, weights = np.polynomial.legendre.leggauss(num_knots)
        t, weights = t_max * (t + 1) / 2, t_max * weights
    else:
        t = np.linspace(0, t_max, num_knots)
        # The outer end has half the weight of an inner knot; the one at 0 is not mirrored.
        weights = np.full(num_knots, 2 * t[1])
        weights[[0, -1]] = t[1]
    if quadrature == "simpson":
        if num_knots % 2 == 0:
            raise ValueError(f"num_knots must be odd (simpson), got {num_knots}")
        weights[1::2] *= 4 / 3
        weights[::2] *= 2 / 3
    return Rule(t, weights * np.exp(-np.square(t) / 2))
