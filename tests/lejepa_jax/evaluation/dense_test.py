"""Linear segmentation of patch features: its scores, and what they may not depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from lejepa_jax.data.images.shapes import SHAPE_NAMES, textured_shapes
from lejepa_jax.evaluation.dense import dense_probe, mean_iou, patch_labels


def test_the_mean_iou_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 4, (2, 3, 16, 16))
    expected = jaccard_score(true.ravel(), predicted.ravel(), average="macro")
    assert mean_iou(predicted, true, num_classes=4) == pytest.approx(expected)
    # A class that occurs nowhere changes nothing.
    assert mean_iou(predicted, true, num_classes=9) == pytest.approx(expected)


def test_a_patch_has_the_class_of_most_of_its_pixels():
    masks = np.random.default_rng(0).integers(0, 3, (2, 12, 18))
    found = patch_labels(masks, (4, 6), num_classes=3)
    for image, row, column in np.ndindex(*found.shape):
        patch = masks[image, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
        assert found[image, row, column] == np.bincount(patch.ravel(), minlength=3).argmax()
    with pytest.raises(ValueError, match="masks must hold classes from 0 to 1, got 0 to 2"):
        patch_labels(masks, (4, 6), num_classes=2)


def test_features_that_know_the_class_segment_up_to_the_patches_and_noise_does_not():
    images, masks = textured_shapes(40, size=32)
    assert images.dtype == np.uint8
    labels = patch_labels(masks, (8, 8), num_classes=6)
    known = np.asarray(jax.nn.one_hot(labels, 6))
    noise = np.random.default_rng(0).normal(size=(40, 8, 8, 6)).astype(np.float32)
    scores = [
        dense_probe(x[:30], masks[:30], jnp.asarray(x[30:]), masks[30:], num_classes=6).mean_iou
        for x in (known, noise)
    ]
    # What 8 x 8 patches can know of outlines is about 0.75; background alone is 0.11.
    assert scores[0] > 0.65
    assert scores[1] < 0.2


def test_shapes_are_the_same_at_every_call_and_all_of_them_occur():
    images, masks = textured_shapes(60, size=24, channels=1)
    again, _ = textured_shapes(8, size=24, channels=1)
    assert (images[:8] == again).all()
    assert set(np.unique(masks)) == set(range(len(SHAPE_NAMES)))
    # Brightness tells no shape from the background.
    inside, outside = images[masks > 0].mean(), images[masks == 0].mean()
    assert abs(inside - outside) < 0.2 * images.std()
