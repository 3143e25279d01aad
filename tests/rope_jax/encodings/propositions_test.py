"""Propositions 1 to 3 of arXiv 2511.08368 as theorems, with negative controls."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import schur

import rope_jax
from rope_jax import analysis

SIZE = 8
sizes = {"head_dim": SIZE, "num_heads": 1}


def pair_basis(a: np.ndarray) -> np.ndarray:
    """Rows in which a skew matrix is made of 2 x 2 blocks, components first."""
    _, q = schur(a, output="real")
    return q.T[rope_jax.layout_permutation(len(a), source="adjacent", target="half_split")]


def block_frequencies(a: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Frequencies of a skew matrix in such a basis, and how far it is from made of blocks."""
    inside, half = basis @ a @ basis.T, len(a) // 2
    w = np.diagonal(inside, -half).copy()
    rest = inside.copy()
    rest[np.arange(half) + half, np.arange(half)] = 0
    rest[np.arange(half), np.arange(half) + half] = 0
    assert np.abs(rest).max() < 1e-5
    return w


@jax.jit
def both_scores(generators, frequencies, basis, q, k, positions):
    """Scores of LieRE, and of frequencies with queries and keys in another basis."""
    dense = rope_jax.liere(SIZE, 1, num_axes=positions.shape[1], block_size=SIZE)
    rows, columns = np.triu_indices(SIZE, 1)
    params = {"generators": generators[:, rows, columns][:, None, None, :]}
    pairs = rope_jax.from_frequencies(SIZE, 1, frequencies[:, None, :])
    in_basis = [jnp.einsum("ij,nhj->nhi", basis, x) for x in (q, k)]  # one basis for both
    return (
        analysis.scores(dense, params, positions, q, k),
        analysis.scores(pairs, {}, positions, *in_basis),
    )


def test_liere_of_one_coordinate_is_learned_rope_in_another_basis():
    a = np.asarray(rope_jax.skew(jax.random.normal(jax.random.key(0), (28,)), SIZE), np.float64)
    basis = pair_basis(a)
    w = block_frequencies(a, basis)
    q, k = jax.random.normal(jax.random.key(1), (2, 5, 1, SIZE))
    p = jnp.array([[0.0], [0.5], [-1.2], [2.0], [0.1]])
    arguments = (jnp.asarray(x, jnp.float32) for x in (a[None], w[None], basis))
    one, two = both_scores(*arguments, q, k, p)
    np.testing.assert_allclose(one, two, atol=2e-5)


def commuting_generators(key: jax.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two generators with one random basis, the frequencies, and the basis."""
    basis = np.asarray(jax.random.orthogonal(key, SIZE), np.float64)
    w = np.asarray(jax.random.normal(key, (2, SIZE // 2)), np.float64)
    blocks = np.zeros((2, SIZE, SIZE))
    low, high = np.arange(4) + 4, np.arange(4)
    blocks[:, low, high], blocks[:, high, low] = w, -w
    return np.einsum("ji,mjk,kl->mil", basis, blocks, basis), w, basis


def test_commuting_liere_is_mixed_in_another_basis():
    a, *_ = commuting_generators(jax.random.key(2))
    # What the theorem promises is found from the generators alone: the basis of a generic sum.
    basis = pair_basis(a[0] + np.sqrt(2) * a[1])
    w = np.stack([block_frequencies(one, basis) for one in a])
    q, k = jax.random.normal(jax.random.key(1), (2, 5, 1, SIZE))
    p = jax.random.normal(jax.random.key(3), (5, 2))
    arguments = (jnp.asarray(x, jnp.float32) for x in (a, w, basis))
    one, two = both_scores(*arguments, q, k, p)
    np.testing.assert_allclose(one, two, atol=2e-5)


def test_axial_scores_are_a_sum_over_the_axes_and_oblique_ones_are_not():
    key, p = jax.random.key(0), jax.random.normal(jax.random.key(1), (6, 2))

    def difference(encoding):
        run = jax.jit(lambda params: analysis.mixed_difference(key, encoding, params, p, **sizes))
        return float(run(encoding.init(key)))

    assert difference(rope_jax.axial(SIZE, 1)) < 1e-5
    assert difference(rope_jax.mixed(SIZE, 1)) > 0.05
    six = jax.jit(
        lambda: analysis.mixed_difference(
            key, rope_jax.spherical(6, 1), {}, p, head_dim=6, num_heads=1
        )
    )
    assert float(six()) > 0.05


def test_leaving_the_commuting_generators_breaks_relativity_in_proportion():
    a, *_ = commuting_generators(jax.random.key(2))
    push = np.asarray(rope_jax.skew(jax.random.normal(jax.random.key(4), (28,)), SIZE))
    dense = rope_jax.liere(SIZE, 1, block_size=SIZE)
    rows, columns = np.triu_indices(SIZE, 1)
    positions = rope_jax.patch_grid((2, 3), extent=1.0).positions

    @jax.jit
    def measure(epsilon):
        generators = jnp.asarray(a, jnp.float32).at[0].add(epsilon * push)
        params = {"generators": generators[:, rows, columns][:, None, None, :]}
        error = analysis.shift_error(
            jax.random.key(0), dense, params, positions, jnp.array([0.3, 0.2]), **sizes
        )
        return error, analysis.commutator_norm(generators[0], generators[1])

    (e0, c0), (e1, c1), (e2, c2) = (measure(epsilon) for epsilon in (0.0, 1e-2, 2e-2))
    assert float(e0) < 1e-5
    assert float(c0) < 1e-5
    assert 1.6 < float(e2 / e1) < 2.4
    assert 1.6 < float(c2 / c1) < 2.4


def test_spherical_generators_have_the_commutator_of_the_text():
    encoding = rope_jax.spherical(3, 1)
    a = analysis.generators(encoding, {}, num_axes=2, head_dim=3, num_heads=1)
    np.testing.assert_allclose(analysis.commutator_norm(a[0], a[1]), [2**-0.5], atol=1e-4)
    np.testing.assert_allclose(jnp.linalg.norm(a[0, 0] @ a[1, 0] - a[1, 0] @ a[0, 0]), 2**0.5, 1e-3)
