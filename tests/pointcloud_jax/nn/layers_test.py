"""Dropout keyed by example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pointcloud_jax.nn import layers


def test_dropout_depends_on_the_examples_own_key():
    keys = jax.random.split(jax.random.key(0), 4)
    thin = jax.jit(lambda keys: layers.dropout(jnp.ones((4, 500)), keys, 3, 0.25))
    value = thin(keys)
    np.testing.assert_array_equal(thin(keys[::-1]), value[::-1])
    np.testing.assert_allclose(np.mean(value == 0), 0.25, atol=0.05)
    np.testing.assert_allclose(np.mean(value), 1, atol=0.05)


def test_missing_keys_are_named():
    with pytest.raises(ValueError, match="keys must hold one key a cloud"):
        layers.dropout(jnp.ones((1, 2)), None, 0, 0.5)
