"""Under `jax_enable_x64` the package computes what it computes without."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rope_jax
from tests.rope_jax.cases import CASES, CONSTANTS, RANDOM


def described(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, np.dtype(leaf.dtype).name), tree)


@pytest.mark.parametrize("name", CASES)
def test_dtypes_do_not_depend_on_the_default_precision(name):
    args = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in CASES[name].shapes]
    without = described(jax.eval_shape(CASES[name].call, *args))
    with jax.enable_x64(True):
        assert described(jax.eval_shape(CASES[name].call, *args)) == without


# What rotates queries and keys, or only moves numbers, returns the dtype it was given.
KEPT = {
    *rope_jax.ENCODINGS,
    *("over_heads", "over_channels", "partial_rotation", "with_prefix", "attention"),
    *("rotate_plane", "rotate_pairs", "rotate_spherical", "rotate_blocks", "rotate_in_basis"),
    *("skew", "convert_layout", "kernels.relative_bias"),
}


@pytest.mark.parametrize("name", CASES)
def test_everything_else_is_float32_whatever_comes_in(name):
    def dtypes(dtype):
        args = [jax.ShapeDtypeStruct(shape, dtype) for shape in CASES[name].shapes]
        return {
            leaf.dtype.name for leaf in jax.tree.leaves(jax.eval_shape(CASES[name].call, *args))
        }

    own = {"float32"} if name in ("learned_absolute", "sincos") else set()  # what is added
    for dtype in ("bfloat16", "float16"):
        assert dtypes(dtype) == ({dtype} if name in KEPT else {"float32"}) | own
    with jax.enable_x64(True):
        assert dtypes("float64") == ({"float64"} if name in KEPT else {"float32"}) | own


@pytest.mark.parametrize("name", CONSTANTS)
def test_tables_do_not_depend_on_the_default_precision(name):
    without = CONSTANTS[name]()
    with jax.enable_x64(True):
        ours = CONSTANTS[name]()
    jax.tree.map(np.testing.assert_array_equal, ours, without)
    assert described(ours) == described(without)


@pytest.mark.parametrize("name", RANDOM)
def test_the_same_key_draws_the_same_under_any_default_precision(name):
    without = jax.jit(RANDOM[name])(jax.random.key(0))
    with jax.enable_x64(True):
        ours = jax.jit(RANDOM[name])(jax.random.key(0))
    assert described(ours) == described(without)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-7), ours, without)


@pytest.mark.parametrize("name", ["axial", "spherical", "geope", "liere", "string_cayley"])
def test_queries_in_double_precision_are_rotated_in_it(name):
    with jax.enable_x64(True):
        encoding = rope_jax.ENCODINGS[name](24, 2)
        rotation = encoding.prepare(
            encoding.init(jax.random.key(0)), rope_jax.patch_grid((1, 2)).positions
        )
        x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, 24)))
        assert encoding.rotate(rotation, x).dtype == jnp.float64


def test_attention_in_double_precision():
    q, k, v, bias = np.random.default_rng(0).normal(size=(4, 3, 1, 3))
    s = np.einsum("nhd,shd->hns", q, k) / 3**0.5 + bias.reshape(3, 3)
    weights = np.exp(s) / np.exp(s).sum(-1, keepdims=True)
    with jax.enable_x64(True):
        out = rope_jax.attention(
            *map(jnp.asarray, (q, k, v)), bias=jnp.asarray(bias.reshape(3, 3), jnp.float32)
        )
        assert out.dtype == jnp.float64
    np.testing.assert_allclose(out, np.einsum("hns,shd->nhd", weights, v), rtol=1e-6)
