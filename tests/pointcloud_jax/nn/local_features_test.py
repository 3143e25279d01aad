"""L2DP as a layer: gradients where there are no neighbors, and arguments that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pointcloud_jax.nn.local_features import AGGREGATIONS, L2DP

FEW = np.arange(4)[None, None] < np.array([[4], [2], [1], [0], [3]])[None]


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_the_layer_has_finite_gradients_without_neighbors_and_at_zero(aggregation):
    module = L2DP(3, 6, 4, aggregation=aggregation, chirality=True, rngs=nnx.Rngs(0))
    graph, state = nnx.split(module)
    keys = jax.random.split(jax.random.key(0), 2)

    @jax.jit
    def gradient(centers, offsets, mask):
        def loss(both):
            layer = nnx.merge(graph, state, copy=True)
            value = layer(both[0], both[1], train=True, mask=mask, keys=keys)
            return jnp.square(value).sum()

        return jax.grad(loss)((centers, offsets))

    zeros = np.zeros((2, 5, 4, 3, 3), np.float32)
    mask = np.broadcast_to(FEW, (2, 5, 4))
    for args in ((zeros[:, :, :1], zeros, mask), (draw(2, 5, 1, 3, 3), draw(2, 5, 4, 3, 3), mask)):
        assert all(np.isfinite(leaf).all() for leaf in gradient(*args))


def test_an_unknown_aggregation_is_named(unchecked):
    with pytest.raises(ValueError, match=r"aggregation must be one of .* got 'sum'"):
        L2DP(3, 6, 4, aggregation="sum", rngs=nnx.Rngs(0))
