"""What is missing of a cloud: how much, and which part."""

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np

from pointcloud_jax.augment import damage

crop = jax.jit(damage.crop_mask)
cut = jax.jit(damage.cut_mask)
visible = jax.jit(damage.visible_mask)


def cloud(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(*shape, 3)).astype(np.float32)


def _separated(values, inside, exists):
    outside = exists & ~inside
    return not outside.any() or values[inside].max() <= values[outside].min()


@hypothesis.given(st.integers(0, 1000), st.sampled_from([0.1, 0.25, 0.5, 1.0]))
def test_crops_are_balls_and_cuts_are_half_spaces(seed, part):
    points, key = cloud(24, seed=seed), jax.random.key(seed)
    exists = np.arange(24) < 20
    stays = np.asarray(crop(key, points, part, mask=exists))
    assert stays.sum() == max(1, round(np.ceil(part * 20 - 1e-6)))
    assert not stays[20:].any()
    centers = [
        c for c in points[:20] if _separated(np.linalg.norm(points - c, axis=1), stays, exists)
    ]
    assert centers  # one of the points is the center of a ball that holds exactly those that stay
    left = np.asarray(cut(key, points, 0.25, mask=exists))
    assert left.sum() == 15
    direction = np.asarray(jax.random.normal(key, (3,)))
    assert _separated(points @ direction, left, exists)


def test_what_is_seen_is_in_front():
    rng = np.random.default_rng(0)
    sphere = rng.normal(size=(2000, 3)).astype(np.float32)
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    for direction in np.float32([[0, 0, 2], [1, -1, 0.5], [-1, 0, 0]]):
        seen = np.asarray(visible(sphere, direction))
        depth = sphere @ (direction / np.linalg.norm(direction))
        assert seen[depth > 0.2].mean() > 0.95
        assert seen[depth < -0.2].mean() < 0.05
    assert not visible(sphere, direction, mask=np.zeros(2000, bool)).any()
