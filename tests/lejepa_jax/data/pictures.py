"""Sources and folders of images to read, for the tests of this folder."""

import numpy as np
from PIL import Image

from lejepa_jax import data

RNG = np.random.default_rng(0)


def numbered(n: int, size: int = 2) -> data.ImageSource:
    """A source whose every pixel is the number of its image."""
    images = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, size, size, 1))
    return data.from_arrays(np.ascontiguousarray(images), np.arange(n) % 3)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)


def noise(height: int = 4, width: int = 4) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3)).astype(np.uint8)


def folder(root, per_class: int = 5, classes=("cat", "dog")):
    for name in classes:
        for i in range(per_class):
            save(root / name / f"{i}.png", noise())
    return root
