"""Spherical and GeoPE-like encodings against explicit 3 x 3 matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import rope_jax
from rope_jax import analysis

YAW = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]])
ROLL = np.array([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]])
PITCH = np.array([[0.0, 0, -1], [0, 0, 0], [1, 0, 0]])


def matrices(encoding, params, positions, head_dim):
    def run(params, positions):
        rotation = encoding.prepare(params, positions)
        return analysis.rotation_matrices(encoding, rotation, len(positions), head_dim, 1)

    return np.asarray(jax.jit(run)(params, positions))


@pytest.mark.parametrize(("order", "outer_first"), [((0, 1), "xy"), ((1, 0), "yx")])
@pytest.mark.parametrize("layout", ["adjacent", "half_split"])
def test_spherical_is_the_product_of_a_yaw_and_a_roll(order, outer_first, layout):
    encoding = rope_jax.spherical(6, 1, order=order, layout=layout)
    p = np.array([[0.7, -1.3], [2.0, 0.4]])
    got = matrices(encoding, {}, jnp.asarray(p, jnp.float32), 6)[:, 0]
    for n, (x, y) in enumerate(p):
        for block, omega in enumerate((1.0, 0.1)):
            yaw, roll = expm(x * omega * YAW), expm(y * omega * ROLL)
            want = yaw @ roll if outer_first == "xy" else roll @ yaw
            at = slice(3 * block, 3 * block + 3) if layout == "adjacent" else slice(block, None, 2)
            np.testing.assert_allclose(got[n, at, at], want, atol=1e-6)


def test_spherical_in_three_dimensions_is_yaw_pitch_roll():
    x, y, z = 0.7, -1.3, 0.5
    got = matrices(rope_jax.spherical(3, 1, num_axes=3), {}, jnp.array([[x, y, z]]), 3)[0, 0]
    np.testing.assert_allclose(got, expm(x * YAW) @ expm(y * PITCH) @ expm(z * ROLL), atol=1e-6)


def test_the_remainder_of_the_channels_passes_or_is_refused():
    encoding = rope_jax.spherical(8, 1, remainder="pass")
    x = jax.random.normal(jax.random.key(0), (2, 1, 8))
    out = encoding.rotate(encoding.prepare({}, jnp.ones((2, 2))), x)
    np.testing.assert_array_equal(out[..., 6:], x[..., 6:])
    assert float(jnp.abs(out[..., :6] - x[..., :6]).max()) > 0.1
    with pytest.raises(ValueError, match="multiple of 3, got 8"):
        rope_jax.spherical(8, 1)


def test_geope_is_the_exponential_of_the_mean_rotation_vector():
    p = np.array([[1.4, -2.3], [0.0, 0.0], [1e-4, 0.0]])
    got = matrices(rope_jax.geope(3, 1), {}, jnp.asarray(p, jnp.float32), 3)[:, 0]
    for n, (x, y) in enumerate(p / 2):
        cross = np.array([[0, 0, y], [0, 0, -x], [-y, x, 0]])
        np.testing.assert_allclose(got[n], expm(cross), atol=1e-6)


def test_sum_in_the_exponent_is_not_the_product():
    # LieRE with fixed generators of size 3 against spherical RoPE: the same one-parameter groups.
    p = jnp.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    generators = jnp.stack([jnp.asarray(YAW, jnp.float32), jnp.asarray(ROLL, jnp.float32)])
    total = jax.jit(lambda: rope_jax.exp_skew(jnp.einsum("nm,mij->nij", p, generators)))()
    product = matrices(rope_jax.spherical(3, 1), {}, p, 3)[:, 0]
    difference = np.abs(np.asarray(total) - product).max(axis=(1, 2))
    assert difference[0] > 0.3
    np.testing.assert_allclose(difference[1:], 0, atol=1e-6)


def test_a_zero_frequency_frees_a_block_of_one_axis():
    encoding = rope_jax.spherical(3, 1, learned=True)
    params = {"frequencies": jnp.array([[[0.0]], [[1.0]]])}
    p = jnp.array([[0.3, 0.9], [1.2, -0.4]])
    r = matrices(encoding, params, jnp.concatenate([p, p[:1] - p[1:]]), 3)[:, 0]
    np.testing.assert_allclose(r[1].T @ r[0], r[2], atol=1e-6)
