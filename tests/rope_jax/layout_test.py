"""Layout converters on the weights of a projection."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import rope_jax
from rope_jax.layout import merge_blocks, split_blocks


@given(
    size=st.sampled_from([2, 3, 4]),
    num=st.integers(1, 4),
    rest=st.integers(0, 1),
    source=st.sampled_from(["adjacent", "half_split"]),
)
def test_permutation_there_and_back_is_nothing(size, num, rest, source):
    target = "adjacent" if source == "half_split" else "half_split"
    dim = size * num + rest
    there = rope_jax.layout_permutation(dim, source=source, target=target, block_size=size)
    back = rope_jax.layout_permutation(dim, source=target, target=source, block_size=size)
    np.testing.assert_array_equal(there[back], np.arange(dim))
    assert (there[size * num :] == np.arange(size * num, dim)).all()


@pytest.mark.parametrize("size", [2, 3])
def test_blocks_agree_with_the_permutation(size):
    x = np.arange(6)
    order = rope_jax.layout_permutation(6, source="adjacent", target="half_split", block_size=size)
    adjacent = split_blocks(jnp.asarray(x), size, "adjacent")
    split = split_blocks(jnp.asarray(x[order]), size, "half_split")
    np.testing.assert_array_equal(adjacent, split)
    np.testing.assert_array_equal(merge_blocks(adjacent, "adjacent"), x)


def test_converted_projections_give_the_same_scores():
    keys = jax.random.split(jax.random.key(0), 4)
    tokens = jax.random.normal(keys[0], (5, 7))
    kernels, biases = jax.random.normal(keys[1], (2, 7, 16)), jax.random.normal(keys[2], (2, 16))
    gains = 1 + 0.3 * jax.random.normal(keys[3], (2, 8))
    positions = rope_jax.patch_grid((1, 5)).positions

    @jax.jit
    def scores(kernels, biases, gains):
        out = {}
        for layout in ("adjacent", "half_split"):
            encoding = rope_jax.axial(8, 2, layout=layout)
            rotation = encoding.prepare({}, positions)

            def port(x, layout=layout):
                return rope_jax.convert_layout(x, 8, source="adjacent", target=layout)

            q, k = (
                encoding.rotate(
                    rotation,
                    (tokens @ port(kernel) + port(bias)[None, :]).reshape(5, 2, 8)
                    * port(gain)[None, None, :],
                )
                for kernel, bias, gain in zip(kernels, biases, gains, strict=True)
            )
            out[layout] = jnp.einsum("ihd,jhd->hij", q, k)
        return out

    both = scores(kernels, biases, gains)
    np.testing.assert_allclose(both["adjacent"], both["half_split"], atol=1e-4)


def test_a_width_that_is_no_number_of_heads_is_refused():
    with pytest.raises(ValueError, match="multiple of head_dim 8, got 12"):
        rope_jax.convert_layout(jnp.zeros(12), 8, source="adjacent", target="half_split")
    with pytest.raises(ValueError, match="multiple of 2 up to 8, got 3"):
        rope_jax.layout_permutation(8, source="adjacent", target="half_split", num_rotated=3)
