"""Encoders that break one promise each: every check must see its own."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from lejepa_jax.testing import check_encoder

INPUTS = jax.random.normal(jax.random.key(0), (8, 6))


class Encoder(nnx.Module):
    """One linear map and a gain; `broken` says which promise it breaks."""

    def __init__(self, broken, *, dtype, axis_name):
        self.features = 4 + (broken == "width")
        self.broken, self.dtype, self.axis_name = broken, dtype, axis_name
        self.linear = nnx.Linear(6, 4, dtype=dtype, rngs=nnx.Rngs(0))
        kind = jnp.bfloat16 if broken == "parameter" else jnp.float32
        self.gain = nnx.Param(jnp.ones(4, kind))

    def __call__(self, x, *, train=False, keys=None):
        y = self.linear(x).astype(jnp.float32)
        gain = self.gain[...].astype(jnp.float32)
        gain = jax.lax.stop_gradient(gain) if self.broken == "gradient" else gain
        y = y * gain[None]
        if self.broken == "batch":
            y = y - y.mean(0, keepdims=True)
        if self.broken == "devices" and train:
            y = y * (y**2).mean()  # of this device alone
        if self.broken == "infinite":
            y = jnp.where(y > 1e9, y, jnp.sqrt(jnp.maximum(y, 0)) + y)
        if self.broken == "bfloat16" and self.dtype == jnp.bfloat16:
            y = 1.1 * y
        if self.broken == "random" and train and keys is not None:
            y = y + jax.vmap(lambda key: jax.random.normal(key, (4,)))(keys)
        if self.broken == "unnamed" and train and keys is None:
            raise ValueError("something is missing")
        return y.astype(jnp.bfloat16) if self.broken == "dtype" else y


def check(broken, **options):
    check_encoder(lambda **given: Encoder(broken, **given), INPUTS, **options)


def test_an_encoder_that_keeps_them_all_passes():
    check("")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("width", "shape"),
        ("parameter", "gain.* is bfloat16, not float32"),
        ("dtype", "dtype|type"),
        ("batch", "features depend on other examples"),
        ("bfloat16", "in bfloat16 features of size .* are off by"),
        ("random", "something is random in training, and no ValueError asks for keys"),
        ("unnamed", "something is missing, which does not name them"),
        ("gradient", "no gradient reaches .*gain"),
    ],
)
def test_a_broken_promise_is_named(broken, message):
    with pytest.raises(AssertionError, match=message):
        check(broken, ways=())


@pytest.mark.parametrize("way", ["shard_map", "pmap"])
def test_statistics_of_one_device_alone_are_seen(way):
    check("devices", ways=("jit",))  # there the mean is that of the whole batch
    with pytest.raises(AssertionError, match=f"one device and under {way} differ"):
        check("devices", ways=(way,))


def test_a_gradient_that_is_not_finite_is_seen():
    jax.config.update("jax_debug_nans", False)
    try:
        with pytest.raises(AssertionError, match=r"the gradient of .* is not finite"):
            check("infinite", ways=())
    finally:
        jax.config.update("jax_debug_nans", True)
