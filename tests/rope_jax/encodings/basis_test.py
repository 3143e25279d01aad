"""STRING against explicit exponentials and in scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import circulant, expm

import rope_jax
from rope_jax import analysis


def matrices(encoding, params, positions, heads):
    def run(params, positions):
        rotation = encoding.prepare(params, positions)
        return analysis.rotation_matrices(encoding, rotation, len(positions), 8, heads)

    return np.asarray(jax.jit(run)(params, positions))


def test_circulant_is_the_exponential_of_circulant_generators():
    encoding = rope_jax.string_circulant(8, 1, init_scale=0.5)
    params = encoding.init(jax.random.key(0))
    p = np.array([[0.7, -1.3], [2.0, 0.4]])
    r = matrices(encoding, params, jnp.asarray(p, jnp.float32), 1)
    c = np.stack([circulant(row) for row in np.asarray(params["circulants"][:, 0], np.float64)])
    generators = c - np.swapaxes(c, 1, 2)
    for n in range(2):
        np.testing.assert_allclose(
            r[n, 0], expm(np.einsum("m,mij->ij", p[n], generators)), atol=1e-5
        )


@pytest.mark.parametrize("constructor", [rope_jax.string_cayley, rope_jax.string_circulant])
def test_leaving_out_the_basis_on_the_left_changes_no_score(constructor):
    whole, short = constructor(8, 2), constructor(8, 2, restore_basis=False)
    params = jax.tree.map(lambda p: p + 0.1, whole.init(jax.random.key(0)))
    p = jnp.array([[0.7, -1.3], [2.0, 0.4], [-0.1, 0.9]])
    q, k = jax.random.normal(jax.random.key(1), (2, 3, 2, 8))
    one, two = (jax.jit(lambda e=e: analysis.scores(e, params, p, q, k))() for e in (whole, short))
    np.testing.assert_allclose(one, two, atol=1e-5)
