"""Shares of a cloud: as many edges that reach as far, whatever the number of points."""

import jax.numpy as jnp
import numpy as np
import pytest

from pointcloud_jax.geometry.graph import Neighbors, knn_between
from pointcloud_jax.geometry.neighborhoods import share_of, spread_neighbors


def line(num):
    return jnp.arange(num, dtype=jnp.float32)[:, None] / num * jnp.ones((1, 3))


@pytest.mark.parametrize("num", [16, 32, 128])
def test_edges_reach_as_far_at_any_density(num):
    points = line(num)
    found = knn_between(points[:1], points, share_of(num, 1 / 4))
    spread = spread_neighbors(found, jnp.int32(num), 1 / 4, num_edges=4)
    reach = np.asarray(points[spread.indices[0], 0])
    # The middles of four equal pieces of a quarter, rounded down to a point.
    assert np.abs(reach - (np.arange(4) + 0.5) / 16).max() <= 1 / num
    assert spread.mask.all()


def test_only_points_that_exist_count():
    points = jnp.stack([line(16), line(16)])
    mask = jnp.arange(16)[None] < jnp.array([[8], [0]])
    found = knn_between(points[:, :1], points, share_of(16, 1 / 2), mask=mask)
    spread = spread_neighbors(found, mask.sum(1), 1 / 2, num_edges=8)
    np.testing.assert_array_equal(spread.indices[0, 0], np.arange(8) // 2)
    assert spread.mask[0].all()
    assert not spread.mask[1].any()


def test_bad_arguments_are_named():
    found = Neighbors(jnp.zeros((1, 4), jnp.int32), jnp.ones((1, 4), bool))
    with pytest.raises(ValueError, match=r"share must be in \(0, 1\], got 2"):
        spread_neighbors(found, jnp.int32(4), 2, num_edges=4)
    with pytest.raises(ValueError, match="num_edges must be positive, got 0"):
        spread_neighbors(found, jnp.int32(4), 0.5, num_edges=0)
