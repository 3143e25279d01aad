"""LieRE and ComRoPE against explicit exponentials."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import expm

import rope_jax
from rope_jax import analysis


def matrices(encoding, params, positions, heads):
    def run(params, positions):
        rotation = encoding.prepare(params, positions)
        return analysis.rotation_matrices(encoding, rotation, len(positions), 8, heads)

    return np.asarray(jax.jit(run)(params, positions))


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


def test_comrope_generators_commute_and_those_of_liere_do_not():

    def commutator(encoding):
        sizes = {"num_axes": 2, "head_dim": 8, "num_heads": 1}
        a = analysis.generators(encoding, encoding.init(jax.random.key(0)), **sizes)
        return float(analysis.commutator_norm(a[0], a[1])[0])

    for variant in ("axial", "linear"):
        encoding = rope_jax.comrope(8, 1, block_size=4, variant=variant)
        assert commutator(encoding) < 1e-4
    assert commutator(rope_jax.liere(8, 1)) > 0.05
