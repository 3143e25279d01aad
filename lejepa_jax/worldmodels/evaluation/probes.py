"""Linear probes of states: what of the world the latents hold."""

import numpy as np
from jaxtyping import Float


def ridge_predict(
    train_features: Float[np.ndarray, "n d"],
    train_targets: Float[np.ndarray, "n s"],
    test_features: Float[np.ndarray, "m d"],
    *,
    l2: float = 1e-3,
) -> Float[np.ndarray, "m s"]:
    """Fit a linear map by ridge regression, and apply it.

    Args:
        train_features: What it is fitted to; each column is standardized.
        train_targets: What it is to give.
        test_features: What it is applied to.
        l2: Penalty, relative to the number of rows.

    Returns:
        Its values.

    Examples:
        >>> x = np.arange(6.0)[:, None]
        >>> ridge_predict(x, 2 * x + 1, np.array([[10.0]]), l2=0.0).round(3)
        array([[21.]])
    """
    x, y = train_features.astype(np.float64), train_targets.astype(np.float64)
    mean, std, offset = x.mean(0), x.std(0), y.mean(0)
    std = np.where(std > 1e-8, std, np.inf)  # what never changes says nothing
    x = (x - mean) / std
    gram = x.T @ x / len(x) + l2 * np.eye(x.shape[1])
    weights = np.linalg.lstsq(gram, x.T @ (y - offset) / len(x), rcond=None)[0]
    return (test_features - mean) / std @ weights + offset


def r2_scores(
    true: Float[np.ndarray, "m s"], found: Float[np.ndarray, "m s"]
) -> Float[np.ndarray, " s"]:
    r"""Share of the variance of each column that is explained.

    .. math:: 1 - |y - \hat y|^2 / |y - \bar y|^2

    Args:
        true: What is known.
        found: What was said of it.

    Returns:
        One number a column: 1 at best, 0 for the mean, below 0 for worse.

    Examples:
        >>> r2_scores(np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]]))
        array([0.])
    """
    total = np.square(true - true.mean(0)).sum(0)
    return 1 - np.square(true - found).sum(0) / np.maximum(total, 1e-12)
