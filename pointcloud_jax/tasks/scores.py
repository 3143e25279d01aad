"""Scores of classified clouds and segmented points, on the host."""

import numpy as np
from jaxtyping import Bool, Float, Int


def confusion_matrix(
    true: Int[np.ndarray, " n"], called: Int[np.ndarray, " n"], num_classes: int
) -> Int[np.ndarray, "{num_classes} {num_classes}"]:
    """Count how often each class (row) was called each class (column).

    Args:
        true: True classes.
        called: What they were taken for.
        num_classes: Number of classes.

    Returns:
        The counts.

    Examples:
        >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2)
        array([[1, 0],
               [1, 1]])
    """
    counts = np.bincount(true * num_classes + called, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def accuracies(matrix: Int[np.ndarray, "c c"]) -> tuple[float, float]:
    """Return the accuracy over all examples, and its mean over the classes that occur.

    Args:
        matrix: Confusion matrix, true classes in rows.

    Returns:
        Both, in [0, 1].

    Examples:
        >>> accuracies(np.array([[3, 0], [1, 0]]))
        (0.75, 0.5)
    """
    total, right = matrix.sum(1), np.diag(matrix)
    return float(right.sum() / total.sum()), float((right / np.maximum(total, 1))[total > 0].mean())


def call_parts(
    logits: Float[np.ndarray, "b n q"],
    labels: Int[np.ndarray, " b"],
    part_class: Int[np.ndarray, " q"],
) -> Int[np.ndarray, "b n"]:
    """Give each point the likeliest of the parts that its cloud's category has.

    Args:
        logits: Scores (b, n, q).
        labels: Category of each cloud.
        part_class: The category that each part belongs to.

    Returns:
        Numbers of parts.

    Examples:
        >>> call_parts(np.array([[[9.0, 1.0, 2.0]]]), np.array([1]), np.array([0, 1, 1]))
        array([[2]])
    """
    allowed = labels[:, None] == part_class[None]
    return np.where(allowed[:, None, :], logits, -np.inf).argmax(-1)


def part_iou(
    called: Int[np.ndarray, " n"], true: Int[np.ndarray, " n"], parts: Int[np.ndarray, " p"]
) -> float:
    """Mean over parts of intersection over union; a part in neither counts as 1.

    Args:
        called: Part each point was given.
        true: Part it has.
        parts: Parts of the category.

    Returns:
        The mean, in [0, 1].

    Examples:
        >>> part_iou(np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([0, 1, 2]))
        0.6666666666666666

    References:
        L. Yi et al., "A Scalable Active Framework for Region Annotation in 3D Shape Collections",
        ACM Transactions on Graphics 35, 2016.
    """
    scores = []
    for part in parts:
        both, either = (called == part) & (true == part), (called == part) | (true == part)
        scores.append(both.sum() / either.sum() if either.any() else 1.0)
    return float(np.mean(scores))


def segmentation_scores(
    called: Int[np.ndarray, "b n"],
    true: Int[np.ndarray, "b n"],
    known: Bool[np.ndarray, "b n"],
    labels: Int[np.ndarray, " b"],
    part_class: Int[np.ndarray, " q"],
) -> tuple[float, float, float]:
    """Return the mean IoU over clouds, its mean over categories, and the accuracy of points.

    Args:
        called: Part each point was given.
        true: Part it has.
        known: Which points count.
        labels: Category of each cloud.
        part_class: The category that each part belongs to.

    Returns:
        The three scores, in [0, 1].

    Examples:
        >>> parts = np.array([[0, 1]])
        >>> segmentation_scores(parts, parts, parts >= 0, np.array([0]), np.array([0, 0]))
        (1.0, 1.0, 1.0)
    """
    every = np.array(
        [
            part_iou(one[kept], other[kept], np.flatnonzero(part_class == label))
            for one, other, kept, label in zip(called, true, known, labels, strict=True)
        ]
    )
    by_class = [every[labels == label].mean() for label in np.unique(labels)]
    right = (called == true)[known].mean()
    return float(every.mean()), float(np.mean(by_class)), float(right)
