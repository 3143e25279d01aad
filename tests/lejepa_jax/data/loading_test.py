import numpy as np
import pytest

from lejepa_jax import data
from tests.lejepa_jax.data.pictures import folder, numbered


@pytest.mark.parametrize("options", [{"image_size": 0}, {"max_bad_records": -1}])
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must"):
        data.load("digits", **{"image_size": 8, **options})


@pytest.mark.parametrize(
    "options",
    [
        {"test_fraction": 1.0},
        {"test_fraction": float("nan")},
        {"num_threads": 0},
        {"memory_limit": -1},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must"):
        data.DataOptions(**options)


def blank(request: data.Request) -> data.Parts:
    images = np.full((10, 6, 6), len(request.path), np.uint8)
    return data.Parts(
        data.from_arrays(images, image_size=request.image_size), info={"from": request.path}
    )


def test_a_reader_of_ones_own_is_asked_like_any_other():
    splits = data.load("blank:abc", image_size=3, reader=blank)
    assert (len(splits.train), len(splits.test), splits.info["from"]) == (8, 2, "abc")
    assert splits.train[0]["image"].ravel().tolist() == [3] * 9
    with pytest.raises(ValueError, match="reader of 'numbers' must return Parts, got "):
        data.load("numbers", image_size=3, reader=lambda request: numbered(4))  # pyright: ignore


def test_a_reader_may_be_named_as_a_function_of_a_file(tmp_path):
    program = tmp_path / "my_reader.py"
    program.write_text(
        "from __future__ import annotations\n"
        "from lejepa_jax.data.readers.folder import read_folder\n"
        "import dataclasses\n"
        "@dataclasses.dataclass\n"
        "class Options:\n"
        "    depth: dataclasses.KW_ONLY = 3\n"
        "def shelf(request):\n"
        "    return read_folder(dataclasses.replace(request, name='folder:' + request.path))\n"
        "number = 3\n"
    )
    folder(tmp_path / "images", 5)
    splits = data.load(f"{program}:shelf:{tmp_path / 'images'}", image_size=4)
    assert (len(splits.train), splits.class_names) == (8, ("cat", "dog"))
    for name, message in (
        (f"{program}:missing", "my_reader.py' has no function missing"),
        (f"{program}:number", "has no function number"),
        (f"{tmp_path}/other.py:shelf", "other.py' is not a file"),
    ):
        with pytest.raises(ValueError, match=message):
            data.load(name, image_size=4)
