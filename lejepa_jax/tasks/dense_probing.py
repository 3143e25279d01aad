"""The dense probe of pretraining on images: patch features segment shapes on textures."""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, UInt8

from lejepa_jax.data.images.arrays import from_arrays
from lejepa_jax.data.images.shapes import SHAPE_NAMES, textured_shapes
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.dense import dense_probe
from lejepa_jax.evaluation.features import ShardBatch, map_examples
from lejepa_jax.evaluation.results import Evaluator, Picture, Results
from lejepa_jax.nn.encoder import HasPatches
from lejepa_jax.report.drawing import bare_axes, class_colors, new_figure, show_image, style_axes
from lejepa_jax.training.networks import Network, Variables
from lejepa_jax.training.task import Batch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Name of the score.
DENSE = "dense_miou"
_TRAIN, _TEST, _SHOWN = 200, 100, 6


class Segmented(NamedTuple):
    """Images with a class a pixel.

    Attributes:
        images: The images.
        masks: Class of each pixel.
        class_names: Names of the classes.
        fitted: Of how many, from the first on, the probe sees the classes.
    """

    images: UInt8[np.ndarray, "n s s c"]
    masks: Int[np.ndarray, "n s s"]
    class_names: tuple[str, ...]
    fitted: int


def segmented_shapes(size: int, channels: int) -> Segmented:
    """Draw the images of the dense probe: 200 to fit it, 100 to score it.

    Args:
        size: Side of the images in pixels.
        channels: Their channels.

    Returns:
        The same images at every call.
    """
    images, masks = textured_shapes(_TRAIN + _TEST, size=size, channels=channels)
    return Segmented(images, masks, SHAPE_NAMES, _TRAIN)


def dense_evaluator(
    make_data: Callable[[], Segmented],
    eval_inputs: Callable[[Batch], Any],
    net: Network,
    *,
    batch_size: int,
) -> Evaluator:
    """Make the evaluator of the dense probe.

    Patch features of every set of variables are compared with the pixels of the patches.

    Args:
        make_data: Makes images with a class a pixel.
        eval_inputs: What the encoder sees of a batch.
        net: A network with an `encoder` that has features of patches.
        batch_size: Images at a time.

    Returns:
        The evaluator: mean intersection over union as `dense_miou`.

    Raises:
        ValueError: If the encoder has no features of patches.
    """
    if not isinstance(net.shape.encoder, HasPatches):
        raise ValueError(
            "dense_probe must be off with an encoder that has no features of patches, "
            f"got one of {type(net.shape.encoder).__name__}"
        )

    @jax.jit
    def patches(variables: Variables, batch: Batch) -> Array:
        return net.merge(*variables).encoder.patch_features(eval_inputs(batch))

    def evaluate(
        key: PRNGKeyArray,
        variables: Mapping[str, Variables],
        splits: Splits,
        shard_batch: ShardBatch,
        /,
    ) -> Results:
        del key, splits
        data = make_data()
        source = from_arrays(data.images)
        found, predicted, grid = {}, np.zeros(0, np.int32), (1, 1)

        def probe(features: np.ndarray):
            fitted, n = data.fitted, len(data.class_names)
            masks = data.masks[:fitted], data.masks[fitted:]
            return dense_probe(
                features[:fitted], masks[0], features[fitted:], masks[1], num_classes=n
            )

        for name, own in variables.items():
            features = map_examples(
                lambda batch, own=own: patches(own, batch),
                source,
                shard_batch,
                batch_size=batch_size,
            ).outputs
            result, grid = probe(features), features.shape[1:3]
            found[name] = result.mean_iou
            if name == "encoder":
                predicted = result.predicted
        raw = patch_pixels(data.images, grid)
        if raw is not None:
            found["pixels"] = probe(raw).mean_iou
        shown = slice(data.fitted, data.fitted + _SHOWN)
        draw = functools.partial(
            plot_segmentation, data.images[shown], data.masks[shown], predicted[:_SHOWN]
        )
        caption = (
            "Images that the probe has not seen, the true class of each pixel, and that of a "
            f"linear probe of the patch features: {', '.join(data.class_names)}."
        )
        return Results({DENSE: found}, pictures=[Picture("Linear segmentation", draw, caption)])

    return evaluate


def patch_pixels(images: UInt8[np.ndarray, "n s s c"], grid: tuple[int, int]) -> np.ndarray | None:
    """Cut images into patches, one row of pixels each.

    Args:
        images: The images.
        grid: Patches down and across.

    Returns:
        Pixels (n, gh, gw, p) as float32; None where the patches do not divide an image.

    Examples:
        >>> patch_pixels(np.zeros((2, 8, 8, 3), np.uint8), (2, 4)).shape
        (2, 2, 4, 24)
    """
    n, height, width, channels = images.shape
    if height % grid[0] or width % grid[1]:
        return None
    down, across = height // grid[0], width // grid[1]
    cut = images.reshape(n, grid[0], down, grid[1], across, channels)
    return cut.swapaxes(2, 3).reshape(n, *grid, -1).astype(np.float32)


def plot_segmentation(
    images: UInt8[np.ndarray, "n s s c"],
    masks: Int[np.ndarray, "n s s"],
    predicted: Int[np.ndarray, "n s s"],
) -> "Figure":
    """Plot images, the true class of each pixel and the predicted one, a row each.

    Args:
        images: The images.
        masks: True classes.
        predicted: Predicted classes.

    Returns:
        The figure.
    """
    colors = np.array(class_colors(1 + int(max(masks.max(), predicted.max()))))[:, :3]
    figure = new_figure(1.5 * len(images) + 0.2, 4.9)
    axes = figure.subplots(3, len(images), squeeze=False)
    for column, image in enumerate(images):
        show_image(axes[0, column], image)
        for row, classes in ((1, masks), (2, predicted)):
            axes[row, column].imshow(colors[classes[column]], interpolation="nearest")
            bare_axes(axes[row, column])
    for ax, title in zip(axes[:, 0], ("image", "truth", "linear probe"), strict=True):
        style_axes(ax, title=title)
        bare_axes(ax)
    return figure
