"""The handwritten digits that ship with scikit-learn."""

import numpy as np

from lejepa_jax.checks import needs_extra
from lejepa_jax.data.images.arrays import from_arrays
from lejepa_jax.data.reading import Request
from lejepa_jax.data.splits import Parts, stratified_split


def read_digits(request: Request) -> Parts:
    """Read ``digits``: 1,797 handwritten digits, gray, 8 x 8 pixels, 500 of them held out."""
    with needs_extra("train"):
        from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = np.round(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # 17 gray levels
    source = from_arrays(images, labels, image_size=request.image_size)
    train, test = stratified_split(labels, 500)
    info = {"test": "500 images held out of train, stratified by class"}
    return Parts(source.subset(train), source.subset(test), info=info)
