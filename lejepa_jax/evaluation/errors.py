"""Which classes are taken for which."""

import numpy as np
from jaxtyping import Float, Int


def confusion_matrix(
    labels: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], *, num_classes: int
) -> Int[np.ndarray, "{num_classes} {num_classes}"]:
    """Count how often each true class is called each class.

    Args:
        labels: True classes; examples of class -1 do not count.
        predicted: What they are called.
        num_classes: Number of classes.

    Returns:
        Counts, true classes by row.

    Examples:
        >>> confusion_matrix(np.array([0, 0, 1, -1]), np.array([0, 1, 1, 0]), num_classes=2)
        array([[1, 1],
               [0, 1]])
    """
    known = labels >= 0
    cells = labels[known].astype(np.int64) * num_classes + predicted[known].astype(np.int64)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_accuracies(confusion: Int[np.ndarray, "c c"]) -> Float[np.ndarray, " c"]:
    """Fraction of the examples of each class that are called by it; NaN for a class without any.

    Args:
        confusion: See :func:`confusion_matrix`.

    Returns:
        An accuracy a class.

    Examples:
        >>> class_accuracies(np.array([[1, 1], [0, 4]]))
        array([0.5, 1. ])
    """
    counts = confusion.sum(1)
    return np.where(counts > 0, np.diag(confusion) / np.maximum(counts, 1), np.nan)
