"""Matrix exponentials, and the encodings made of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import circulant, expm, expm_frechet

import rope_jax
from rope_jax import analysis

exponential = jax.jit(rope_jax.exp_skew)


def matrices(encoding, params, positions, heads):
    def run(params, positions):
        rotation = encoding.prepare(params, positions)
        return analysis.rotation_matrices(encoding, rotation, len(positions), 8, heads)

    return np.asarray(jax.jit(run)(params, positions))


@pytest.mark.parametrize(("size", "scale"), [(3, 1e-3), (8, 6.3), (8, 60.0)])
def test_exponential_agrees_with_scipy_and_is_orthogonal(size, scale):
    rng = np.random.default_rng(0)
    a = rope_jax.skew(
        jnp.asarray(rng.uniform(0, scale, (3, size * (size - 1) // 2)), jnp.float32), size
    )
    r = np.asarray(exponential(a), np.float64)
    want = np.stack([expm(np.asarray(one, np.float64)) for one in a])
    np.testing.assert_allclose(r, want, atol=1e-6 * max(1, scale))
    np.testing.assert_allclose(
        np.swapaxes(r, 1, 2) @ r, np.tile(np.eye(size), (3, 1, 1)), atol=1e-6
    )


def test_small_rotations_keep_their_digits():
    # Squaring I + A/2^s would round the angle to 1e-7 absolute; here it is relative.
    r = exponential(jnp.array([[[0.0, -3e-6], [3e-6, 0.0]], [[0.0, -40.0], [40.0, 0.0]]]))
    np.testing.assert_allclose(r[0, 1, 0], 3e-6, rtol=1e-5)


def test_exponential_stays_orthogonal_over_thousands_of_turns():
    a = rope_jax.skew(jnp.full((2, 28), 3e3), 8)
    r = np.asarray(exponential(a), np.float64)
    np.testing.assert_allclose(np.swapaxes(r, 1, 2) @ r, np.tile(np.eye(8), (2, 1, 1)), atol=1e-5)


def test_gradient_of_the_exponential_is_the_derivative_of_scipy():
    rng = np.random.default_rng(0)
    upper, weight = rng.normal(size=(2, 6)) * 2, rng.normal(size=(2, 4, 4))

    @jax.jit
    def gradient(upper):
        return jax.grad(lambda u: jnp.sum(rope_jax.exp_skew(rope_jax.skew(u, 4)) * weight))(upper)

    weight = jnp.asarray(weight, jnp.float32)
    rows, columns = np.triu_indices(4, 1)
    for at in (upper, np.zeros_like(upper)):
        got = gradient(jnp.asarray(at, jnp.float32))
        for batch in range(2):
            a, moves = np.zeros((4, 4)), np.zeros((6, 4, 4))
            a[rows, columns], a[columns, rows] = at[batch], -at[batch]
            moves[np.arange(6), rows, columns], moves[np.arange(6), columns, rows] = 1, -1
            slopes = [expm_frechet(a, move, compute_expm=False) for move in moves]
            want = np.einsum("kij,ij->k", slopes, np.asarray(weight[batch], np.float64))
            np.testing.assert_allclose(got[batch], want, atol=1e-5)


def test_liere_is_the_exponential_of_the_sum_in_every_block():
    encoding = rope_jax.liere(8, 2, block_size=4, layout="adjacent")
    params = encoding.init(jax.random.key(0))
    p = jnp.array([[0.7, -1.3], [2.0, 0.4]])
    r = matrices(encoding, params, p, 2)
    generators = np.asarray(rope_jax.skew(params["generators"], 4), np.float64)
    for n in range(2):
        for head in range(2):
            for block in range(2):
                want = expm(np.einsum("m,mij->ij", np.asarray(p[n]), generators[:, head, block]))
                at = slice(4 * block, 4 * block + 4)
                np.testing.assert_allclose(r[n, head, at, at], want, atol=1e-5)


def test_liere_with_blocks_of_two_is_mixed():
    liere, mixed = rope_jax.liere(8, 2, block_size=2), rope_jax.mixed(8, 2)
    params = liere.init(jax.random.key(0))
    # The entry above the diagonal is -sin: the sense of rotation is the other one.
    same = {"frequencies": -params["generators"][..., 0]}
    p, x = jnp.array([[0.7, -1.3], [2.0, 0.4]]), jax.random.normal(jax.random.key(1), (2, 2, 8))
    one, two = jax.jit(
        lambda: (
            liere.rotate(liere.prepare(params, p), x),
            mixed.rotate(mixed.prepare(same, p), x),
        )
    )()
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_liere_of_one_coordinate_is_relative():
    encoding = rope_jax.liere(8, 1, num_axes=1)
    params = encoding.init(jax.random.key(0))
    r = matrices(encoding, params, jnp.array([[0.4], [-1.7], [2.1]]), 1)[:, 0]
    np.testing.assert_allclose(r[1].T @ r[0], r[2], atol=1e-5)


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


def test_comrope_generators_commute_and_those_of_liere_do_not():

    def commutator(encoding):
        sizes = {"num_axes": 2, "head_dim": 8, "num_heads": 1}
        a = analysis.generators(encoding, encoding.init(jax.random.key(0)), **sizes)
        return float(analysis.commutator_norm(a[0], a[1])[0])

    for variant in ("axial", "linear"):
        encoding = rope_jax.comrope(8, 1, block_size=4, variant=variant)
        assert commutator(encoding) < 1e-4
    assert commutator(rope_jax.liere(8, 1)) > 0.05
