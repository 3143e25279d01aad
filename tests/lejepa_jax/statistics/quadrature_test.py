"""Quadrature rules against integrals that are known in closed form."""

import numpy as np
import pytest

from lejepa_jax.statistics.quadrature import window_rule

WHOLE_LINE = 12.0


def exact(frequency):
    """Integral of cos(a t) times the window over the line."""
    return np.sqrt(2 * np.pi) * np.exp(-(frequency**2) / 2)


@pytest.mark.parametrize(
    ("quadrature", "t_max", "num_knots"),
    [
        ("trapezoid", WHOLE_LINE, 65),
        ("simpson", WHOLE_LINE, 129),
        ("legendre", WHOLE_LINE, 40),
        ("hermite", 1.0, 20),
    ],
)
def test_cosines_are_integrated_exactly(quadrature, t_max, num_knots):
    t, weights = window_rule(quadrature, t_max, num_knots)
    assert t.shape == weights.shape == (num_knots,)
    assert (t >= 0).all()
    for frequency in (0.0, 0.7, 2.0):
        assert weights @ np.cos(frequency * t) == pytest.approx(exact(frequency), abs=1e-9)


def test_equal_spacing_wins_on_a_decaying_integrand_and_legendre_on_a_cut_one():
    """The statistic of a mixture of normals at -2 and 2, from many samples."""

    def integrand(t):
        phi = np.cos(2 * t) * np.exp(-(t**2) / 8)
        return (phi - np.exp(-(t**2) / 2)) ** 2

    def error(quadrature, t_max, num_knots):
        t, weights = window_rule(quadrature, t_max, num_knots)
        fine_t, fine_weights = window_rule(
            "legendre", t_max if quadrature != "hermite" else 12, 200
        )
        truth = fine_weights @ integrand(fine_t)
        return abs(weights @ integrand(t) / truth - 1)

    # Error on the whole interval at equal knots.
    assert error("trapezoid", 5.0, 9) < 1e-5 < error("legendre", 5.0, 9)
    assert error("trapezoid", 5.0, 9) < error("hermite", 5.0, 9) < 1e-3
    assert error("trapezoid", 5.0, 17) < error("simpson", 5.0, 17)
    # A t_max at which the integrand is not yet small leaves an end correction to the trapezoid.
    assert error("legendre", 1.5, 9) < 1e-6 < error("trapezoid", 1.5, 9)
