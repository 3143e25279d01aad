import numpy as np
import pytest
from sklearn.datasets import load_digits


@pytest.fixture(scope="package")
def digits():
    """600 scans, 300 of them to fit on, with the constant border pixels kept."""
    images, labels = load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(images))[:600]
    x, y = images[rows].astype(np.float32), labels[rows].astype(np.int32)
    return x[:300], y[:300], x[300:], y[300:]
