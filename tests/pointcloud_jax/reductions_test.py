"""Masked means, maxima and norms where nothing exists."""

import jax
import numpy as np

from pointcloud_jax import reductions


def test_pools_of_nothing_are_zero():
    nothing = np.zeros((2, 6), bool)

    @jax.jit
    def pools(x, mask):
        return reductions.masked_max(x, mask), reductions.masked_mean(x, mask)

    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    assert not any(leaf.any() for leaf in pools(x, nothing))
