"""Neighbors, twins, outliers, clusters and maps of features whose answers are known."""

import numpy as np
import pytest

from lejepa_jax.evaluation import exploration
from lejepa_jax.evaluation.exploration import (
    cluster,
    distances_to_neighbors,
    draw_map,
    near_duplicates,
    nearest_neighbors,
)

RNG = np.random.default_rng(0)
CENTERS = 6 * np.eye(3, 8)
GROUPS = np.repeat(np.arange(3), [20, 15, 10])
FEATURES = (CENTERS[GROUPS] + RNG.normal(size=(45, 8)) * 0.3 + 5).astype(np.float32)


@pytest.mark.parametrize("held", [2**24, 45 * 7])
def test_neighbors_are_those_of_all_pairs_in_any_blocks(held, monkeypatch):
    monkeypatch.setattr(exploration, "_MAX_SIMILARITIES", held)
    found = nearest_neighbors(FEATURES, 4)
    rows = FEATURES - FEATURES.mean(0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = rows @ rows.T
    np.fill_diagonal(cosine, -2)
    np.testing.assert_array_equal(found.index, np.argsort(-cosine, axis=1)[:, :4])
    np.testing.assert_allclose(found.cosine, -np.sort(-cosine, axis=1)[:, :4], atol=1e-6)


def test_no_more_neighbors_than_others():
    assert nearest_neighbors(FEATURES[:3], 9).index.shape == (3, 2)
    with pytest.raises(ValueError, match="features must have at least 2 rows, got 1"):
        nearest_neighbors(FEATURES[:1], 1)
    with pytest.raises(ValueError, match="k must be positive, got 0"):
        nearest_neighbors(FEATURES, 0)


def test_a_copy_is_a_near_duplicate_and_named_once():
    rows = np.concatenate([FEATURES, FEATURES[[3, 7]]])
    pairs = near_duplicates(nearest_neighbors(rows, 3), least=0.999999)
    assert {pair[:2] for pair in pairs} == {(3, 45), (7, 46)}
    assert len(near_duplicates(nearest_neighbors(rows, 3), least=-1, limit=5)) == 5


def test_the_example_that_is_like_no_other_is_the_farthest():
    rows = np.concatenate([FEATURES, -20 * np.eye(1, 8, 7).astype(np.float32)])
    assert distances_to_neighbors(nearest_neighbors(rows, 5)).argmax() == 45


def test_clusters_are_the_groups_the_largest_first():
    np.testing.assert_array_equal(cluster(FEATURES, 3), GROUPS)
    assert cluster(FEATURES[:2], 9).max() == 1


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_map_keeps_groups_together_inside_the_unit_square(method):
    places = draw_map(FEATURES, method=method)
    assert places.min() == 0
    assert places.max() == 1
    found = nearest_neighbors(FEATURES, 5).index
    near = np.linalg.norm(places[:, None] - places[found], axis=-1).mean()
    assert near < 0.5 * np.linalg.norm(places[:, None] - places[None], axis=-1).mean()


def test_few_or_flat_examples_have_a_map_too():
    assert np.isfinite(draw_map(FEATURES[:2])).all()
    assert np.isfinite(draw_map(np.ones((9, 1), np.float32))).all()
