"""A table of views, to see what an encoder is trained on."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.augment.presets import (
    cifar_view,
    digits_view,
    global_view,
    local_view,
    minimal_view,
)
from lejepa_jax.augment.specs import ViewSpec
from lejepa_jax.augment.views import make_views
from lejepa_jax.checks import check_positive, needs_extra
from lejepa_jax.data.loading import load
from lejepa_jax.data.reading import DataOptions
from lejepa_jax.data.source import ImageSource

if TYPE_CHECKING:
    from PIL.Image import Image

_GAP, _HEADER = 4, 14  # pixels between the pictures, and for the line of text above them


def preview(
    source: ImageSource,
    views: Sequence[ViewSpec],
    path: str | Path,
    *,
    seed: int = 0,
    rows: int = 8,
    tile: int = 112,
) -> Path:
    """Draw a table of views: a row an image, first the image in true aspect, then its views.

    The images are drawn at random from the source, and are the very pixels that training is given:
    they come out of `ImageSource.gather`.

    Args:
        source: Where the images come from.
        views: What views to make.
        path: The PNG file to write.
        seed: Of the choice of images and of their views.
        rows: How many images at most.
        tile: Side of a picture in the table, in pixels.

    Returns:
        The path of the file.

    Raises:
        ValueError: If `rows` or `tile` is not positive, `seed` is negative, or the views do not fit
            the images.
    """
    view_table(source, views, seed=seed, rows=rows, tile=tile).save(path, "PNG")
    return Path(path)


def view_table(
    source: ImageSource,
    views: Sequence[ViewSpec],
    *,
    seed: int = 0,
    rows: int = 8,
    tile: int = 112,
) -> "Image":
    """Draw the table of :func:`preview`.

    Args:
        source: Where the images come from.
        views: What views to make.
        seed: Of the choice of images and of their views.
        rows: How many images at most.
        tile: Side of a picture in the table, in pixels.

    Returns:
        The table, a picture of Pillow.

    Raises:
        ValueError: As for `preview`.
    """
    with needs_extra("train"):
        from PIL import Image as pillow
        from PIL import ImageDraw

    for name, value in (("rows", rows), ("tile", tile)):
        check_positive(name, value)
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    drawn = np.random.default_rng(seed).permutation(len(source))[:rows]
    batch = source.gather(drawn)
    images, aspect = jnp.asarray(batch["image"]), jnp.asarray(batch["aspect"])
    keys = example_keys(jax.random.key(seed), jnp.asarray(batch["index"]))
    made = jax.jit(make_views, static_argnames="specs")(
        keys, images, specs=tuple(views), aspect=aspect
    )

    step = tile + _GAP
    columns = 1 + sum(spec.count for spec in views)
    size = columns * step + _GAP, len(drawn) * step + _GAP + _HEADER
    table = pillow.new("RGB", size, "white")
    pen = ImageDraw.Draw(table)

    def paste(pixels: np.ndarray, row: int, column: int, aspect: float = 1.0):
        pixels = np.broadcast_to(np.round(255 * pixels.clip(0, 1)), (*pixels.shape[:2], 3))
        shape = round(tile * min(aspect, 1)), round(tile / max(aspect, 1))
        smaller = max(shape) < len(pixels)
        picture = pillow.fromarray(pixels.astype(np.uint8)).resize(
            (max(shape[0], 1), max(shape[1], 1)),
            pillow.Resampling.BOX if smaller else pillow.Resampling.NEAREST,
        )
        table.paste(picture, (_GAP + column * step, _GAP + _HEADER + row * step))

    pen.text((_GAP, _GAP), "image", "black")
    for row, image in enumerate(batch["image"]):
        paste(image / 255, row, 0, float(batch["aspect"][row]))
    column = 1
    for spec, of_spec in zip(views, made, strict=True):
        mean, std = spec.statistics(source.channels)
        shown = np.asarray(of_spec) * np.asarray(std) + np.asarray(mean)
        for number in range(spec.count):
            pen.text((_GAP + column * step, _GAP), f"view {column - 1}: {spec.size} px", "black")
            for row in range(len(drawn)):
                paste(shown[number, row], row, column)
            column += 1
    return table


@dataclasses.dataclass(frozen=True)
class PreviewConfig:
    """Draw a table of views: a row an image, first the image, then its views.

    Attributes:
        data: Name of the data set, as for training: digits, folder:PATH, npz:PATH or a TFDS name.
        data_dir: The folder of images, or where TFDS data sets lie.
        preset: Which views; by default those for digits, or the published ones for other images.
        image_size: Side at which images are stored, in pixels; by default that of the largest view.
        seed: Of the choice of images and of their views.
        rows: How many images at most.
        tile: Side of a picture in the table, in pixels.
        max_bad_records: Unreadable images tolerated.
        data_range: Which values of image files become 0 and 255: type, percentiles or LOW,HIGH.
        out: The PNG file to write.
    """

    data: str = "digits"
    data_dir: str | None = None
    preset: Literal["published", "minimal", "cifar", "digits"] | None = None
    image_size: int | None = None
    seed: int = 0
    rows: int = 8
    tile: int = 112
    max_bad_records: int = 0
    data_range: str = "type"
    out: str = "views.png"


def main(args: Sequence[str] | None = None):
    """Run the command line.

    Args:
        args: The arguments; None takes those of the process.
    """
    try:
        with needs_extra("train"):
            import tyro

        path = _run(tyro.cli(PreviewConfig, prog="python -m lejepa_jax.augment", args=args))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error
    sys.stdout.write(f"wrote {path}\n")


def _run(config: PreviewConfig) -> Path:
    match config.preset or ("digits" if config.data == "digits" else "published"):
        case "published":
            views = (global_view(), local_view())
        case "minimal":
            views = (minimal_view(),)
        case "cifar":
            views = (cifar_view(),)
        case "digits":
            views = (digits_view(),)
    size = config.image_size
    splits = load(
        config.data,
        image_size=max(spec.size for spec in views) if size is None else size,
        data_dir=config.data_dir,
        max_bad_records=config.max_bad_records,
        # A few images are wanted, not all of them.
        options=DataOptions(decode_at_once=False, data_range=config.data_range),
    )
    return preview(
        splits.train, views, config.out, seed=config.seed, rows=config.rows, tile=config.tile
    )
