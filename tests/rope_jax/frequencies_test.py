"""Spectra and directions."""

import numpy as np

from rope_jax import frequencies


def test_geometric_spectra_span_what_their_exponent_says():
    channels = frequencies.geometric(20, 100.0)
    blocks = frequencies.geometric(20, 100.0, exponent="blocks")
    np.testing.assert_allclose(channels[[0, -1]], [1.0, 100 ** (-19 / 20)], rtol=1e-6)
    np.testing.assert_allclose(blocks, frequencies.geometric(20, 10_000.0), rtol=1e-6)


def test_quasi_random_directions_are_unit_distinct_and_even():
    u = np.asarray(frequencies.quasi_random_directions(256, 3))
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1, atol=1e-6)
    # The second moment of a uniform direction is I / 3.
    np.testing.assert_allclose(u.T @ u / 256, np.eye(3) / 3, atol=0.03)
    rest = frequencies.quasi_random_directions(6, 3, offset=250)
    np.testing.assert_allclose(u[250:], rest, atol=1e-6)
