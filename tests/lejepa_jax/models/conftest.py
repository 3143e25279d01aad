"""A small model, and one of clouds, with random weights."""

import functools

import jax
import pytest

from lejepa_jax.models import CloudPreprocessing, ImagePreprocessing, random_model
from lejepa_jax.nn import Projector, ViT
from pointcloud_jax.nn import DGCNN

IMAGES = ImagePreprocessing(
    channels=3, image_size=8, eval_size=8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2), batch_size=4
)
MAKERS = {
    "encoder": functools.partial(
        ViT, width=8, depth=2, num_heads=2, patch_size=4, image_size=8, in_channels=3
    ),
    "projector": functools.partial(Projector, 8, 6, hidden_features=4, num_layers=2),
}


@pytest.fixture(scope="module")
def model():
    """An encoder with a projector."""
    return random_model(jax.random.key(0), MAKERS, IMAGES)


@pytest.fixture(scope="module")
def cloud_model():
    """An encoder of clouds."""
    make = functools.partial(DGCNN, (4,), embedding=4, k=3)
    preprocessing = CloudPreprocessing(num_points=12, batch_size=4)
    return random_model(jax.random.key(0), {"encoder": make}, preprocessing)
