"""Frequencies and generators, on encodings whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np

import rope_jax
from rope_jax import analysis


def test_spectrum_recovers_the_frequencies_of_an_encoding_in_any_basis():
    encoding = rope_jax.string_cayley(8, 2)
    params = jax.tree.map(lambda p: p + 0.15, encoding.init(jax.random.key(0)))
    found = analysis.spectrum(encoding, params, num_axes=2, head_dim=8, num_heads=2)
    assert float(found.commutator) < 1e-4
    for head in range(2):
        w = np.asarray(params["frequencies"][:, head]).T
        want = np.concatenate([w, -w])
        got = np.asarray(found.frequencies[head])
        gap = np.linalg.norm(want[:, None] - got[None], axis=-1)
        assert gap.min(0).max() < 1e-3
        assert gap.min(1).max() < 1e-3


def test_nyquist_coverage_counts_what_the_grid_can_carry():
    w = jnp.array([[0.0, 1.0], [3.0, 3.0], [7.0, 0.0], [0.0, 8.0]])
    assert float(analysis.nyquist_coverage(w, 2 * np.pi / 14)) == 0.75
    assert float(analysis.nyquist_coverage(w, (2 * np.pi / 14, np.pi / 9))) == 1.0
