import numpy as np
import pytest

from lejepa_jax import data
from tests.lejepa_jax.data.pictures import RNG, numbered


def test_a_source_is_a_sequence_of_records():
    source = numbered(4)
    assert [int(record["index"]) for record in source] == [0, 1, 2, 3]
    with pytest.raises(IndexError, match=r"\[0, 4\), got 4"):
        source[4]
    part = source.subset(np.array([3, 1]))
    assert (part[0]["image"][0, 0, 0], int(part[0]["index"])) == (3, 0)
    assert source.in_memory() is source


def test_images_of_the_right_size_are_left_untouched():
    images = RNG.integers(0, 256, (3, 5, 5, 3)).astype(np.uint8)
    assert np.shares_memory(data.from_arrays(images)._images, images)  # pyright: ignore


def test_others_are_squashed_without_aliasing_and_keep_their_aspect():
    board = np.indices((24, 48)).sum(0) % 2 * 255
    record = data.from_arrays(board[None].astype(np.uint8), image_size=6)[0]
    assert record["aspect"] == 2
    assert record["label"] == -1
    np.testing.assert_allclose(record["image"], 127.5, atol=1)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ((0, 4, 4), {}, "at least one image"),
        ((2, 4, 4, 4), {}, "1 or 3 channels"),
        ((2, 4, 5), {}, "not square"),
        ((2, 4, 4), {"labels": np.array([0, 1, 2])}, r"one entry an image \(2\)"),
        ((2, 4, 4), {"labels": np.array([0, 2]), "class_names": ["a", "b"]}, "got 0 to 2"),
        ((2, 4, 4), {"labels": np.array([0, 2**40])}, "number the classes from 0"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(images, options, message):
    with pytest.raises(ValueError, match=message):
        data.from_arrays(np.zeros(images, np.uint8), **options)
