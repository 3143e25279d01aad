"""Sizes, encoder and views of a folder follow from its images."""

import numpy as np
import pytest
from PIL import Image

from lejepa_jax.tasks.small_folders import SIDES, SmallFolderConfig, suited_config, suited_side


def write(folder, side, mode):
    shape = (side, side + 3, 3) if mode == "RGB" else (side, side + 3)
    for index in range(10):
        pixels = np.random.default_rng(index).integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")


@pytest.mark.parametrize(
    ("side", "mode", "stored", "mirrored"), [(8, "L", 8, False), (20, "RGB", 32, True)]
)
def test_headers_decide(side, mode, stored, mirrored, tmp_path):
    write(tmp_path, side, mode)
    config = SmallFolderConfig(embedding_features=7)
    splits = config.load(f"folder:{tmp_path}")
    assert splits.train.image_size == stored
    assert splits.train.channels == (1 if mode == "L" else 3)
    suited = config._suited(splits)
    assert suited.embedding_features == 7
    assert (suited.view_specs[0].flip > 0) == mirrored
    assert config.draw_views(splits, seed=0, rows=2, tile=8).size[1] >= 16


def test_every_side_has_settings_and_the_smallest_that_holds_the_images_is_taken():
    assert [suited_side(side) for side in (1, 8, 9, 16, 28, 33, 4000)] == [8, 8, 16, 16, 32, 72, 72]
    for side in SIDES:
        assert suited_config(SmallFolderConfig(), side, gray=False).image_size == side
