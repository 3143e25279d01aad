"""Dropout keyed by example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.nn import layers


def test_dropout_depends_on_the_examples_own_key():
    keys = jax.random.split(jax.random.key(0), 4)
    thin = jax.jit(lambda keys: layers.dropout(jnp.ones((4, 500)), keys, 3, 0.25))
    value = thin(keys)
    np.testing.assert_array_equal(thin(keys[::-1]), value[::-1])
    np.testing.assert_allclose(np.mean(value == 0), 0.25, atol=0.05)
    np.testing.assert_allclose(np.mean(value), 1, atol=0.05)


def test_missing_keys_are_named():
    with pytest.raises(ValueError, match="keys must hold one key an example"):
        layers.dropout(jnp.ones((1, 2)), None, 0, 0.5)


def test_dropout_and_the_views_of_an_example_draw_different_bits():
    """Both are keyed by the example; views fold their number into its key and split it."""
    keys = jax.random.split(jax.random.key(0), 4)
    for number in range(3):
        kept = np.asarray(layers.dropout(jnp.ones((4, 500)), keys, number, 0.5)) > 0
        for view in range(3):
            of_view = jax.vmap(lambda key, view=view: jax.random.fold_in(key, view))(keys)
            drawn = jax.vmap(lambda key: jax.random.bernoulli(key, 0.5, (500,)))(of_view)
            assert 0.4 < (kept == drawn).mean() < 0.6
