import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from lejepa_jax.nn.layers import drop_path_ramp, drop_path_scales, gelu, patchify


def test_a_drop_path_outside_zero_to_one_is_refused():
    with pytest.raises(ValueError, match=r"drop_path must be in \[0, 1\), got 1"):
        drop_path_ramp(1.0, 3)


_scales = jax.jit(lambda keys: drop_path_scales(keys, (0.0, 0.25, 0.5)))


@given(st.integers(0, 2**31 - 1))
def test_stochastic_depth_keeps_the_mean_and_depends_on_the_key_of_the_example_alone(seed):
    keys = jax.random.split(jax.random.key(seed), 4096)
    scales = np.asarray(_scales(keys))
    for column, survival in zip(scales.T, (1.0, 0.75, 0.5), strict=True):
        assert set(np.unique(column)) <= {np.float32(0), np.float32(1 / survival)}
        assert abs(column.mean() - 1) < 6 * np.sqrt((1 / survival - 1) / 4096) + 1e-6
    # Independent branches, and the same draws wherever the example stands.
    assert abs(np.corrcoef(scales[:, 1], scales[:, 2])[0, 1]) < 0.1
    np.testing.assert_array_equal(_scales(keys[::-1]), scales[::-1])


def test_gelu_and_its_derivative_are_those_of_the_normal_distribution():
    x = np.linspace(-8, 8, 65)
    value, derivative = jax.jit(jax.vmap(jax.value_and_grad(gelu)))(jnp.asarray(x, jnp.float32))
    normal = scipy.stats.norm
    # Far below zero the unit is a small difference: exact to a rounding of its largest part.
    np.testing.assert_allclose(value, x * normal.cdf(x), rtol=2e-5, atol=8 * 2**-24)
    np.testing.assert_allclose(derivative, normal.cdf(x) + x * normal.pdf(x), rtol=2e-5, atol=1e-6)
    assert gelu(jnp.ones(1, jnp.bfloat16)).dtype == jnp.bfloat16


def test_stochastic_depth_rises_linearly_to_its_rate():
    np.testing.assert_allclose(drop_path_ramp(0.3, 4), [0, 0.1, 0.2, 0.3])
    assert drop_path_ramp(0.3, 1) == (0.0,)


def test_a_linear_map_of_patches_is_the_convolution_with_stride_equal_to_its_kernel():
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(2, 7, 9, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 3, 5)), jnp.float32)
    expected = jax.lax.conv_general_dilated(
        images, kernel, (3, 3), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    got = patchify(images, 3) @ kernel.reshape(27, 5)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
