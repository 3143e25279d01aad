"""Depthwise convolution: the form of a CPU against XLA, its gradients and transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from lejepa_jax.nn.convolutions.depthwise import depthwise_conv


def arrays(shape=(5, 4, 6, 3), kernel=(3, 5), dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 3)
    x, g = (jax.random.normal(key, shape, dtype) for key in keys[:2])
    return x, jax.random.normal(keys[2], (*kernel, 1, shape[-1]), dtype), g


def value_and_gradients(x, kernel, g, **options):
    value, vjp = jax.vjp(lambda x, kernel: depthwise_conv(x, kernel, **options), x, kernel)
    return value, *vjp(g)


@pytest.mark.parametrize(
    ("shape", "kernel", "dtype", "tolerance"),
    [
        ((5, 4, 6, 3), (3, 5), jnp.float32, 1e-5),
        ((9, 2, 2, 1), (7, 7), jnp.float32, 1e-5),  # wider than the map, a block and one more
        ((2, 64, 64, 5), (1, 3), jnp.float32, 1e-4),  # blocks of one image, long sums
        ((5, 4, 6, 3), (3, 3), jnp.bfloat16, 2e-2),
    ],
)
def test_both_forms_agree_in_value_and_gradients(shape, kernel, dtype, tolerance):
    inputs = arrays(shape, kernel, dtype)
    fast = jax.jit(value_and_gradients)(*inputs)
    plain = jax.jit(lambda *a: value_and_gradients(*a, derivatives="all"))(
        *(array.astype(jnp.float32) for array in inputs)
    )
    for ours, theirs, like in zip(fast, plain, (inputs[0], *inputs[:2]), strict=True):
        assert ours.dtype == like.dtype
        difference = np.abs(np.asarray(ours, np.float32) - np.asarray(theirs))
        assert difference.max() <= tolerance * np.abs(np.asarray(theirs)).max()


def test_under_vmap_and_on_eight_devices_it_is_the_same():
    x, kernel, g = arrays((16, 4, 4, 2), (3, 3))
    _, dx, dkernel = jax.jit(value_and_gradients)(x, kernel, g)
    mapped = jax.vmap(value_and_gradients, in_axes=(0, None, 0))
    _, dx_each, dkernel_each = mapped(x.reshape(2, 8, 4, 4, 2), kernel, g.reshape(2, 8, 4, 4, 2))
    np.testing.assert_allclose(dx_each.reshape(dx.shape), dx, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dkernel_each.sum(0), dkernel, rtol=1e-4, atol=1e-4)

    def on_device(x, kernel, g):
        _, dx, dkernel = value_and_gradients(x, kernel, g)
        return dx, dkernel

    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.shard_map(
        on_device, mesh=mesh, in_specs=(P("data"), P(), P("data")), out_specs=(P("data"), P())
    )
    dx_sharded, dkernel_sharded = jax.jit(sharded)(x, kernel, g)
    np.testing.assert_allclose(dx_sharded, dx, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dkernel_sharded, dkernel, rtol=1e-4, atol=1e-4)


def test_forward_mode_wants_the_form_that_has_it():
    x, kernel, _ = arrays()
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: depthwise_conv(x, kernel), (x,), (x,))
    value, tangent = jax.jvp(lambda x: depthwise_conv(x, kernel, derivatives="all"), (x,), (x,))
    np.testing.assert_allclose(value, tangent, rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 1, 3), (3, 4, 1, 3)])
def test_another_kernel_is_refused(shape):
    x, _, _ = arrays()
    with pytest.raises(ValueError, match=r"kernel must be of shape \(odd, odd, 1, 3\)"):
        depthwise_conv(x, jnp.ones(shape))
