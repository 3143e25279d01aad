"""What frozen patch features are worth: linear segmentation, scored pixel by pixel."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lejepa_jax.evaluation.errors import confusion_matrix
from lejepa_jax.evaluation.linear import LinearProbe, linear_probe, probe_logits

# Patches the probe is fitted to, and pixels whose logits are held at a time.
_MAX_PATCHES, _MAX_PIXELS = 50_000, 2**20


class DenseProbe(NamedTuple):
    """What a linear segmentation found.

    Attributes:
        mean_iou: Intersection over union, its mean over the classes; in [0, 1].
        accuracy: Part of the pixels that are right.
        predicted: Class of each test pixel.
    """

    mean_iou: float
    accuracy: float
    predicted: Int[np.ndarray, "m h w"]


def dense_probe(
    train_features: Float[Array | np.ndarray, "n gh gw d"],
    train_masks: Int[np.ndarray, "n h w"],
    test_features: Float[Array | np.ndarray, "m gh gw d"],
    test_masks: Int[np.ndarray, "m h w"],
    *,
    num_classes: int,
    l2: float = 1e-4,
) -> DenseProbe:
    """Segment images by a linear probe of patch features.

    A multinomial logistic regression (:func:`linear_probe`) is fitted to the class that most pixels
    of each patch have. Its logits are interpolated bilinearly to the pixels, and each gets
    the class of its largest one, as is usual (DINOv2, Section 7.4).

    Args:
        train_features: Frozen features of patches, in their grid.
        train_masks: Class of each pixel of the images.
        test_features: Features of the images to segment.
        test_masks: True class of each pixel.
        num_classes: Number of classes.
        l2: Penalty of the probe.

    Returns:
        Scores over all test pixels, and what was predicted.

    Raises:
        ValueError: If the numbers of images differ, or a class is out of range.

    Examples:
        >>> masks = np.zeros((2, 8, 8), np.int32)
        >>> masks[:, :, 4:] = 1
        >>> features = np.repeat(patch_labels(masks, (2, 2), num_classes=2)[..., None], 3, -1)
        >>> probe = dense_probe(features * 1.0, masks, features * 1.0, masks, num_classes=2)
        >>> probe.mean_iou
        1.0

    References:
        M. Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision",
        arXiv 2304.07193, 2023, Section 7.4.
    """
    for name, features, masks in (
        ("train", train_features, train_masks),
        ("test", test_features, test_masks),
    ):
        if len(features) != len(masks) or np.ndim(features) != 4 or np.ndim(masks) != 3:
            raise ValueError(
                f"{name}_features must have shape (n, gh, gw, d) and {name}_masks (n, h, w) of as "
                f"many images, got {np.shape(features)} and {np.shape(masks)}"
            )
    grid = train_features.shape[1], train_features.shape[2]
    labels = patch_labels(train_masks, grid, num_classes=num_classes)
    rows = np.asarray(train_features, np.float32).reshape(-1, train_features.shape[-1])
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), _MAX_PATCHES)).astype(int)
    probe = linear_probe(rows[chosen], labels.reshape(-1)[chosen], num_classes=num_classes, l2=l2)
    size = test_masks.shape[1:]
    step = max(_MAX_PIXELS // (size[0] * size[1]), 1)
    parts = [
        np.asarray(_segment(probe, jnp.asarray(test_features[first : first + step]), size))
        for first in range(0, len(test_features), step)
    ]
    predicted = np.concatenate(parts)
    score = mean_iou(predicted, test_masks, num_classes=num_classes)
    return DenseProbe(score, float((predicted == test_masks).mean()), predicted)


def patch_labels(
    masks: Int[np.ndarray, "n h w"], grid: tuple[int, int], *, num_classes: int
) -> Int[np.ndarray, "n gh gw"]:
    """Give each patch the class that most of its pixels have, of equally many the first.

    Args:
        masks: Class of each pixel.
        grid: Patches down and across.
        num_classes: Number of classes.

    Returns:
        A class a patch.

    Raises:
        ValueError: If a class is out of range.

    Examples:
        >>> patch_labels(np.array([[[0, 1, 1, 1], [1, 1, 0, 0]]]), (1, 2), num_classes=2)
        array([[[1, 0]]])
    """
    masks = np.asarray(masks)
    if masks.size and not 0 <= masks.min() <= masks.max() < num_classes:
        raise ValueError(
            f"masks must hold classes from 0 to {num_classes - 1}, got {masks.min()} to "
            f"{masks.max()}"
        )
    count, (height, width) = len(masks), masks.shape[1:]
    down = np.arange(height) * grid[0] // height
    across = np.arange(width) * grid[1] // width
    image = np.arange(count)[:, None, None]
    patch = (image * grid[0] + down[None, :, None]) * grid[1] + across[None, None, :]
    size = count * grid[0] * grid[1] * num_classes
    counts = np.bincount((patch * num_classes + masks).reshape(-1), minlength=size)
    return counts.reshape(count, *grid, num_classes).argmax(-1)


def mean_iou(
    predicted: Int[np.ndarray, "*shape"], true: Int[np.ndarray, "*shape"], *, num_classes: int
) -> float:
    r"""Mean over classes of intersection over union, over all pixels together.

    .. math:: \frac1C \sum_c \frac{|\hat P_c \cap P_c|}{|\hat P_c \cup P_c|}

    A class that neither occurs nor is predicted does not count.

    Args:
        predicted: Predicted class of each pixel.
        true: True class of each pixel.
        num_classes: Number of classes.

    Returns:
        The mean, in [0, 1].

    Examples:
        >>> mean_iou(np.array([0, 0, 1]), np.array([0, 1, 1]), num_classes=3)
        0.5
    """
    matrix = confusion_matrix(true.reshape(-1), predicted.reshape(-1), num_classes=num_classes)
    both = np.diag(matrix)
    either = matrix.sum(0) + matrix.sum(1) - both
    return float((both[either > 0] / either[either > 0]).mean())


def _segment(
    probe: LinearProbe, features: Float[Array, "n gh gw d"], size: tuple[int, ...]
) -> Int[Array, "n h w"]:
    logits = probe_logits(probe, features.reshape(-1, features.shape[-1]))
    logits = logits.reshape(*features.shape[:3], -1)
    shape = (len(features), *size, logits.shape[-1])
    return jax.image.resize(logits, shape, "linear").argmax(-1).astype(jnp.int32)
