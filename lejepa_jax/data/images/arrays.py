"""Images that are in memory, as one array."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32, Int, Int32, Int64, UInt8

from lejepa_jax.data.images.decoding import read_image
from lejepa_jax.data.records import BadRecord, Ledger
from lejepa_jax.data.source import Batch, ImageSource, Origin, numbered_classes


class DecodedImages(ImageSource):
    """Images held as one array, all of one size.

    Args:
        images: The images, stored as they are.
        labels: Class of each, -1 where unknown.
        aspects: Width over height of each before it was squashed.
        class_names: One name a class.
        ledger: Where the bad records of the load are kept.
        origin: Where the images come from.
        records: The number of each in `origin`; by default its position.
    """

    labels: Int32[np.ndarray, " n"]
    records: Int64[np.ndarray, " n"]

    def __init__(
        self,
        images: UInt8[np.ndarray, "n s s c"],
        labels: Int32[np.ndarray, " n"],
        aspects: Float32[np.ndarray, " n"],
        class_names: Sequence[str],
        ledger: Ledger | None = None,
        *,
        origin: Origin | None = None,
        records: Int64[np.ndarray, " n"] | None = None,
    ):
        self._images, self.labels, self._aspects = images, labels, aspects
        self.image_size, self.channels = images.shape[1], images.shape[3]
        self.class_names = tuple(class_names)
        self._ledger = ledger
        self.origin = origin
        self.records = np.arange(len(images)) if records is None else records

    def __len__(self) -> int:
        return len(self._images)

    @property
    def bad_records(self) -> tuple[BadRecord, ...]:
        """Images that were left out, in all splits of the load."""
        return self._ledger.records() if self._ledger else ()

    @property
    def num_bytes(self) -> int:
        """Size of all images in memory."""
        return self._images.nbytes

    def digests(self) -> Iterator[bytes]:
        """Give a digest of each image, for finding equal ones."""
        for image in self._images:
            yield hashlib.blake2b(image.tobytes(), digest_size=16).digest()

    def gather(self, indices: Int[np.ndarray, " b"]) -> Batch:
        """Return the images at `indices`, stacked."""
        return {
            "image": self._images[indices],
            "label": self.labels[indices],
            "index": indices.astype(np.int32),
            "aspect": self._aspects[indices],
        }

    def subset(self, indices: Int[np.ndarray, " b"]) -> "DecodedImages":
        """Return a source of only the images at `indices`, in that order."""
        kept = self.gather(indices)
        return DecodedImages(
            kept["image"],
            kept["label"],
            kept["aspect"],
            self.class_names,
            self._ledger,
            origin=self.origin,
            records=self.records[indices],
        )

    def in_memory(self) -> "DecodedImages":
        """Return itself."""
        return self


def from_arrays(
    images: UInt8[np.ndarray, "n h w c"] | UInt8[np.ndarray, "n h w"],
    labels: Int[np.ndarray, "..."] | None = None,
    *,
    image_size: int | None = None,
    class_names: Sequence[str] | None = None,
    origin: Origin | None = None,
) -> ImageSource:
    """Serve images that are already in memory.

    Args:
        images: Gray (no channel axis, or 1 channel) or RGB images.
        labels: Class of each image, -1 where unknown; None when there are none.
        image_size: Images of another size are squashed to this one; None keeps square images as
            they are.
        class_names: One name a class; by default the numbers up to the largest label.
        origin: Where they come from, if that is known.

    Returns:
        A source that shares memory with `images` when no resizing was needed.

    Raises:
        ValueError: If there are no images, or shapes, labels and names do not fit together.

    Examples:
        >>> source = from_arrays(np.zeros((3, 4, 4), np.uint8), np.array([0, 1, 0]))
        >>> len(source), source.num_classes, source[1]["image"].shape
        (3, 2, (4, 4, 1))
    """
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError(
            "images must be uint8 of shape (n, h, w) or (n, h, w, c), scaled to 0 to 255, "
            f"got {images.dtype} of shape {images.shape}"
        )
    images = images[..., None] if images.ndim == 3 else images
    n, height, width, channels = images.shape
    size = height if image_size is None else image_size
    if not n:
        raise ValueError("images must hold at least one image, got 0")
    if channels not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels, last, got shape {images.shape}")
    if image_size is None and height != width:
        raise ValueError(
            f"image_size must be given for images that are not square, got {height}x{width}"
        )
    if (height, width) != (size, size):
        images = np.stack([read_image(image, size, channels)[0] for image in images])
    labels = np.full(n, -1) if labels is None else labels
    if labels.shape != (n,):
        raise ValueError(f"labels must have one entry an image ({n}), got shape {labels.shape}")
    if class_names is None:
        class_names = numbered_classes(labels)
    if labels.min() < -1 or labels.max() >= max(len(class_names), 1):
        raise ValueError(
            f"labels must lie in [-1, {len(class_names)}), got {labels.min()} to {labels.max()}"
        )
    aspects = np.full(n, width / height, np.float32)
    return DecodedImages(images, labels.astype(np.int32), aspects, class_names, origin=origin)
