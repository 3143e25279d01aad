"""float32 out, whatever comes in and whatever the default precision is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax import critical_value
from lejepa_jax.statistics import null_table
from tests.lejepa_jax.cases import CASES, RANDOM


def described(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), tree)


@pytest.mark.parametrize("name", CASES)
def test_everything_is_float32_whatever_comes_in(name):
    call, x = CASES[name].call, CASES[name].input()

    def dtypes(dtype):
        result = jax.eval_shape(call, jax.ShapeDtypeStruct(x.shape, dtype))
        return {leaf.dtype.name for leaf in jax.tree.leaves(result)}

    for dtype in ("bfloat16", "float16", "float32"):
        assert dtypes(dtype) == {"float32"}
    with jax.enable_x64(True):
        for dtype in ("bfloat16", "float32", "float64"):
            assert dtypes(dtype) == {"float32"}


@pytest.mark.parametrize("name", RANDOM)
def test_the_same_key_draws_the_same_under_any_default_precision(name):
    without = jax.jit(RANDOM[name])(jax.random.key(0))
    with jax.enable_x64(True):
        ours = jax.jit(RANDOM[name])(jax.random.key(0))
    assert described(ours) == described(without)
    np.testing.assert_allclose(ours, without, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("name", ["sigreg", "watson", "bhep", "rankme", "lidar", "lejepa_loss"])
def test_values_and_gradients_do_not_depend_on_the_default_precision(name):
    x = np.asarray(CASES[name].input())

    def step(x):
        return jax.value_and_grad(lambda x: sum(v.sum() for v in jax.tree.leaves(f(x))))(x)

    f = CASES[name].call
    without = jax.jit(step)(jnp.asarray(x))
    with jax.enable_x64(True):
        ours = jax.jit(step)(jnp.asarray(x))
    assert described(ours) == described(without)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ours, without)


def test_tables_are_read_in_float32_under_double_precision():
    without = critical_value(null_table("watson"), 0.05, 100)
    with jax.enable_x64(True):
        ours = critical_value(null_table("watson"), 0.05, 100)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, without, rtol=1e-6)
