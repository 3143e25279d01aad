"""Error of the quadrature rules of Epps-Pulley, by law of the samples and number of knots.

    python -m benchmarks.quadrature

The integral over the whole line of |phi - exp(-t^2/2)|^2 exp(-t^2/2) for laws whose characteristic
function is known; relative errors.
"""

import numpy as np

from lejepa_jax.statistics.quadrature import window_rule
from lejepa_jax.statistics.targets import generalized_normal_target, laplace_target

LAWS = {
    "N(0.5, 1)": lambda t: np.exp(0.5j * t - t**2 / 2),
    "N(0, 0.25)": lambda t: np.exp(-(t**2) / 8),
    "Laplace": laplace_target,
    "uniform": lambda t: np.sinc(np.sqrt(3) * t / np.pi),
    "two peaks": lambda t: np.cos(2 * t) * np.exp(-(t**2) / 8),
    "rectified": lambda t: generalized_normal_target(t, power=2.0, rectified=True),
    "collapsed": np.ones_like,
}
RULES = (
    ("trapezoid", 3.0),
    ("trapezoid", 5.0),
    ("simpson", 5.0),
    ("legendre", 3.0),
    ("legendre", 5.0),
    ("hermite", 1.0),
)


def integral(law, rule):
    """Apply a rule to the integrand of a law."""
    t, weights = rule
    return weights @ np.abs(law(t) - np.exp(-(t**2) / 2)) ** 2


if __name__ == "__main__":
    print(f"{'rule':12}{'t_max':>6}{'knots':>6}" + "".join(f"{name:>12}" for name in LAWS))
    truth = {name: integral(law, window_rule("legendre", 12.0, 300)) for name, law in LAWS.items()}
    for quadrature, t_max in RULES:
        for num_knots in (5, 9, 17, 33):
            rule = window_rule(quadrature, t_max, num_knots)
            row = [abs(integral(law, rule) / truth[name] - 1) for name, law in LAWS.items()]
            print(f"{quadrature:12}{t_max:6.0f}{num_knots:6}" + "".join(f"{e:12.1e}" for e in row))
