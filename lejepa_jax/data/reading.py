"""What a reader is: a function that is asked for a data set and gives its parts."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Int32

from lejepa_jax.checks import check_positive
from lejepa_jax.data.images.decoding import return_memory_at_once
from lejepa_jax.data.images.encoded import Decoding, Encoded, EncodedImages
from lejepa_jax.data.images.levels import parse_data_range
from lejepa_jax.data.records import Ledger
from lejepa_jax.data.source import Origin
from lejepa_jax.data.splits import Parts

#: Names of the splits that are held out, the first one that exists before the others.
HELD_OUT = ("test", "validation", "val", "valid")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How a data set is read, where the default may not fit.

    Attributes:
        test_fraction: Share of the images held out when a split has to be made.
        train_split: TFDS split to train on, slices allowed (``train[:90%]``); by default ``train``.
        test_split: TFDS split to hold out; by default ``test`` if it has labels, else
            ``validation``.
        memory_limit: A data set of up to this many bytes, decoded, is decoded at once and kept in
            memory. An .npz must fit into it.
        decode_at_once: False decodes on demand whatever fits.
        num_threads: Threads that read and decode; by default two a core, at most 16.
        decode_limit: Bytes that decoding may take at a time, about; a larger image is decoded
            alone.
        channels: 1 reads image files as gray, 3 as RGB; by default a folder is gray if all of its
            images are, and a TFDS set if it says so.
        data_range: Which values of image files become 0 and 255: "type", the range of the type of
            each file; two numbers "LOW,HIGH"; or "percentiles" 0.1 and 99.9, of up to 256 images to
            train on, evenly spread.

    Raises:
        ValueError: For a value out of range.
    """

    test_fraction: float = 0.2
    train_split: str | None = None
    test_split: str | None = None
    memory_limit: int = 2**31
    decode_at_once: bool = True
    num_threads: int | None = None
    decode_limit: int = 2**29
    channels: Literal[1, 3] | None = None
    data_range: str = "type"

    def __post_init__(self):
        if not 0 < self.test_fraction < 1:
            raise ValueError(f"test_fraction must lie in (0, 1), got {self.test_fraction}")
        if not self.memory_limit >= 0:
            raise ValueError(f"memory_limit must not be negative, got {self.memory_limit}")
        if self.num_threads is not None and not self.num_threads > 0:
            raise ValueError(f"num_threads must be positive, got {self.num_threads}")
        check_positive("decode_limit", self.decode_limit)
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels must be 1, 3 or None, got {self.channels}")
        parse_data_range(self.data_range)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What a reader is asked for.

    Attributes:
        name: The whole name of the data set.
        path: What the name says after its first colon, such as a folder; empty without one.
        image_size: Height and width of the images to give out, in pixels.
        data_dir: The folder of the data, if one was named.
        options: How to read it.
        decoding: What the sources of the load share. Enter in its `ledger` what is known to be
            unreadable before anything is decoded.
    """

    name: str
    path: str
    image_size: int
    data_dir: str | None
    options: DataOptions
    decoding: Decoding

    @property
    def ledger(self) -> Ledger:
        """Where bad records are kept."""
        return self.decoding.ledger

    def encoded(
        self,
        fetch: Callable[[list[int]], list[Encoded]],
        describe: Callable[[int], str],
        count: int,
        *,
        labels: Int32[np.ndarray, " n"] | None,
        channels: int,
        class_names: Sequence[str],
        path: Callable[[int], str] | None = None,
        version: str = "",
    ) -> EncodedImages:
        """Serve images that are read and decoded when they are asked for.

        Args:
            fetch: Gives, for record numbers, a file (a path, or its bytes) or decoded pixels, and
                the label, -1 where unknown. Called by several threads at once.
            describe: What a record is called in messages; the same on every machine.
            count: Number of records.
            labels: Class of each; None where learning them means reading everything.
            channels: 1 (gray) or 3 (RGB).
            class_names: One name a class.
            path: The file of a record, where records are files.
            version: What else the images depend on, such as the version of a data set.

        Returns:
            The source.
        """
        return_memory_at_once()
        return EncodedImages(
            fetch,
            Origin(describe, path, version),
            np.arange(count),
            labels=labels,
            image_size=self.image_size,
            channels=channels,
            class_names=class_names,
            decoding=self.decoding,
        )


Reader = Callable[[Request], Parts]
"""Gives the parts of the data set that it is asked for, or a `ValueError` of one line."""


def choose_held_out(held: Sequence[str]) -> tuple[str | None, str | None]:
    """Which of the held-out splits to test on, and which to validate on."""
    return next(iter(held), None), next((key for key in held[1:] if key != "test"), None)
