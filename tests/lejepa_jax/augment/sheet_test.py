"""The table of views shows what training is given."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from lejepa_jax import augment, data
from tests.lejepa_jax.data.pictures import noise, png16, save

STILL = augment.ViewSpec(count=1, size=16, scale=(1.0, 1.0), flip=0.0)


def tile_of(path, row: int, column: int, tile: int) -> np.ndarray:
    step = tile + 4
    with Image.open(path) as table:
        left, top = 4 + column * step, 18 + row * step
        return np.asarray(table.crop((left, top, left + tile, top + tile)))


def test_the_command_draws_a_table_of_views(tmp_path, capsys):
    out = tmp_path / "digits.png"
    augment.main(["--rows", "2", "--tile", "20", "--out", str(out)])
    assert str(out) in capsys.readouterr().out
    with Image.open(out) as table:
        assert table.size == (5 * 24 + 4, 2 * 24 + 4 + 14)
        assert len(set(np.asarray(table).ravel().tolist())) > 20


def test_the_command_says_in_one_line_what_it_cannot_read(tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    out = tmp_path / "views.png"
    options = ["--data", f"folder:{folder}", "--preset", "cifar", "--out", str(out)]
    with pytest.raises(SystemExit, match="2"):
        augment.main(options)
    assert "has no images" in capsys.readouterr().err
    for i in range(3):
        save(folder / f"{i}.png", noise(20, 30))
    augment.main(options)
    assert out.exists()
    (folder / "b.png").write_text("no image")
    with pytest.raises(SystemExit, match="2"):
        augment.main(options)
    error = capsys.readouterr().err
    assert "b.png" in error
    assert error.count("\n") == 1


def test_the_table_shows_the_pixels_that_training_is_given(tmp_path):
    """Turned upright, with transparency over white: as `gather` gives them."""
    upright = Image.Exif()
    upright[0x0112] = 6
    for i in range(3):
        save(tmp_path / f"a{i}.png", noise(16, 16), exif=upright)
        save(tmp_path / f"b{i}.png", np.dstack([noise(16, 16), np.eye(16) * 255]))
    source = data.load(f"folder:{tmp_path}", image_size=16).train
    n = len(source)
    out = augment.preview(source, (STILL,), tmp_path / "t.png", rows=n, tile=16)
    shown = {tile_of(out, row, column, 16).tobytes() for row in range(n) for column in (0, 1)}
    assert shown == {image.tobytes() for image in source.gather(np.arange(n))["image"]}


def test_the_examples_are_random_ones_and_the_same_every_time(tmp_path):
    images = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None, None], (200, 8, 8))
    source = data.from_arrays(np.ascontiguousarray(images))

    def shown(seed):
        out = augment.preview(source, (STILL,), tmp_path / "t.png", rows=4, tile=8, seed=seed)
        return [int(tile_of(out, row, 0, 8)[0, 0, 0]) for row in range(4)]

    assert shown(0) == shown(0)
    assert shown(0) != shown(1)
    assert max(shown(0)) > 8


@pytest.mark.parametrize("options", [{"rows": 0}, {"tile": -1}, {"seed": -1}])
def test_numbers_of_the_table_out_of_range_are_refused(tmp_path, options):
    source = data.from_arrays(np.zeros((2, 8, 8), np.uint8))
    with pytest.raises(ValueError, match=next(iter(options))):
        augment.preview(source, (STILL,), tmp_path / "t.png", **options)


def test_views_that_do_not_fit_the_images_are_refused(tmp_path):
    source = data.from_arrays(np.zeros((2, 8, 8), np.uint8))
    colored = dataclasses.replace(STILL, mean=(0.5, 0.5), std=(1.0, 1.0))
    with pytest.raises(ValueError, match="mean and std must have 1 or 1 numbers"):
        augment.preview(source, (colored,), tmp_path / "t.png")


def test_the_command_scales_like_training(tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    values = np.linspace(0, 4095, 256).reshape(16, 16, 1).astype(np.uint16)
    for i in range(3):
        (folder / f"{i}.png").write_bytes(png16(values))
    out = tmp_path / "views.png"
    options = ["--data", f"folder:{folder}", "--preset", "digits", "--out", str(out)]
    with pytest.raises(SystemExit, match="2"):
        augment.main(options)
    assert "set data_range to '0,4095'" in capsys.readouterr().err
    augment.main([*options, "--data-range", "0,4095", "--tile", "16", "--image-size", "16"])
    np.testing.assert_array_equal(tile_of(out, 0, 0, 16)[..., 0].ravel(), np.arange(256))
