import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lejepa_jax import data
from lejepa_jax.data.images.encoded import ByteBudget
from tests.lejepa_jax.data.pictures import folder, noise, numbered, save


def test_every_kind_of_image_becomes_rgb(tmp_path):
    pixels = noise()
    gray = pixels[..., 0]
    save(tmp_path / "a.png", pixels)
    save(tmp_path / "b.png", gray)
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "c.tif")
    Image.fromarray(pixels).quantize(16).save(tmp_path / "d.gif")
    Image.fromarray((gray.astype(np.uint16) << 8) + 77).save(tmp_path / "e.png")
    alpha = np.where(np.arange(4)[:, None] < 2, 255, 0) * np.ones((1, 4), int)
    save(tmp_path / "f.webp", np.dstack([pixels, alpha]), lossless=True, exact=True)
    palette = Image.fromarray(pixels).quantize(16)
    palette.save(tmp_path / "g.png", transparency=bytes(16))
    Image.fromarray(gray > 127).save(tmp_path / "h.bmp")
    source = data.load(f"folder:{tmp_path}", image_size=4, options=data.DataOptions(memory_limit=0))
    images = dict(zip("abcdefgh", every_image(source), strict=True))
    np.testing.assert_array_equal(images["a"], pixels)
    np.testing.assert_array_equal(images["b"], np.dstack([gray] * 3))
    np.testing.assert_allclose(images["c"], pixels.astype(int), atol=2)
    np.testing.assert_array_equal(images["d"], np.asarray(palette.convert("RGB")))
    rounded = np.round(((gray.astype(int) << 8) + 77) / 257)
    np.testing.assert_array_equal(images["e"], np.dstack([rounded] * 3))
    np.testing.assert_array_equal(images["f"][:2], pixels[:2])
    assert np.all(images["f"][2:] == 255)
    assert np.all(images["g"] == 255)
    np.testing.assert_array_equal(images["h"], np.dstack([np.where(gray > 127, 255, 0)] * 3))


def every_image(splits: data.Splits) -> np.ndarray:
    """All images of unlabeled splits, in the order of the files."""
    n = len(splits.train) + len(splits.test)
    train, test = data.stratified_split(np.full(n, -1), len(splits.test))
    images = [s.gather(np.arange(len(s)))["image"] for s in (splits.train, splits.test)]
    return np.concatenate(images)[np.argsort(np.concatenate([train, test]))]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    shown = noise(3, 6)
    # How the camera must have stored what is to be shown, by the standard's eight cases.
    stored = [
        shown,
        shown[:, ::-1],
        shown[::-1, ::-1],
        shown[::-1],
        shown.transpose(1, 0, 2),
        np.rot90(shown, 1),
        np.rot90(shown, 2).transpose(1, 0, 2),
        np.rot90(shown, -1),
    ][orientation - 1]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for i in range(2):
        save(tmp_path / f"{i}.png", stored, exif=exif)
    record = data.load(f"folder:{tmp_path}", image_size=6).train[0]
    assert record["aspect"] == 2
    plain = data.from_arrays(shown[None], image_size=6)[0]
    np.testing.assert_array_equal(record["image"], plain["image"])


def test_a_large_jpeg_is_shrunk_as_a_whole(tmp_path):
    ramp = np.broadcast_to(np.linspace(0, 255, 640)[None, :, None], (480, 640, 3))
    for i in range(2):
        save(tmp_path / f"{i}.jpg", ramp, quality=95)
    record = data.load(f"folder:{tmp_path}", image_size=16).train[0]
    expected = ramp.reshape(480, 16, 40, 3).mean((0, 2))[None]
    difference = record["image"].astype(float) - expected
    assert np.abs(difference[:, 1:-1]).max() < 3
    np.testing.assert_allclose(record["aspect"], 4 / 3, rtol=1e-6)


@pytest.mark.parametrize("memory_limit", [0, 2**30])
def test_unreadable_images_are_named_and_counted(tmp_path, memory_limit):
    folder(tmp_path, 6)
    (tmp_path / "cat" / "2.png").write_bytes(b"not an image")
    whole = (tmp_path / "dog" / "1.png").read_bytes()
    (tmp_path / "dog" / "1.png").write_bytes(whole[: len(whole) // 2])
    options = {
        "image_size": 4,
        "options": data.DataOptions(memory_limit=memory_limit, test_fraction=0.1),
    }
    message = r"2 so far.*allows 1: 'cat/2.png' \(.*; 'dog/1.png' \("
    with pytest.raises(ValueError, match=message) as error:
        data.load(f"folder:{tmp_path}", max_bad_records=1, **options)
    assert "\n" not in str(error.value)
    splits = data.load(f"folder:{tmp_path}", max_bad_records=2, **options)
    assert [bad.name for bad in splits.train.bad_records] == ["'cat/2.png'", "'dog/1.png'"]


def test_a_batch_keeps_its_size_when_an_image_turns_out_unreadable(tmp_path):
    folder(tmp_path, 6, classes=("cat",))
    options = {"image_size": 4, "max_bad_records": 1}
    options["options"] = data.DataOptions(memory_limit=0, test_fraction=0.1)
    source = data.load(f"folder:{tmp_path}", **options).train
    good = source.gather(np.arange(5))["image"]
    held_out = data.stratified_split(np.zeros(6, int), 1)[1][0]
    victim = [i for i in range(6) if i != held_out][4]
    (tmp_path / "cat" / f"{victim}.png").write_bytes(b"")
    batch = source.gather(np.array([4, 2]))
    np.testing.assert_array_equal(batch["image"], good[[0, 2]])
    assert batch["index"].tolist() == [0, 2]
    masks = [b["mask"].tolist() for b in data.eval_batches(source, batch_size=3)]
    assert masks == [[True] * 3, [True, False, False]]
    (tmp_path / "cat" / f"{(victim + 1) % 6 if held_out != (victim + 1) % 6 else 1}.png").unlink()
    with pytest.raises(ValueError, match="2 so far, where max_bad_records allows 1"):
        source.gather(np.arange(5))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_large_images_are_not_decoded_all_at_once(tmp_path):
    """Eight images of 72 MB with their copies, in 16 threads: one or two of them at a time."""
    (tmp_path / "images").mkdir()
    save(tmp_path / "images" / "0.png", np.full((3000, 3000, 3), 7), compress_level=1)
    for i in range(1, 8):
        shutil.copy(tmp_path / "images" / "0.png", tmp_path / "images" / f"{i}.png")
    program = f"""
import pathlib
import PIL.Image
def peak():
    return int(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
from lejepa_jax import data
options = data.DataOptions(num_threads=16, decode_limit=120_000_000)
before = peak()
data.load("folder:{tmp_path / "images"}", image_size=8, options=options)
print(peak() - before)
"""
    kilobytes = int(subprocess.check_output([sys.executable, "-c", program], text=True))
    assert kilobytes < 160_000


def test_a_budget_of_bytes_holds_back_threads_and_lends_all_to_one():
    budget = ByteBudget(100)
    held, most = 0, 0

    def work(size):
        nonlocal held, most
        with budget.hold(size):
            held += size
            most = max(most, held)
            time.sleep(0.001)
            held -= size

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [40] * 30))
        assert most == 80
        list(pool.map(work, [30, 1000, 30]))
    assert most == 1000


def test_a_missing_library_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    folder(tmp_path, 3)
    known = data.load(f"folder:{tmp_path}", image_size=4, options=data.DataOptions(memory_limit=0))
    for library in ("PIL", "sklearn.datasets", "tensorflow_datasets", "grain"):
        monkeypatch.setitem(sys.modules, library, None)
    wanted = r"is not installed: pip install 'lejepa-jax\[train\]'"
    for name in (f"folder:{tmp_path}", "digits", "cifar10"):
        for kind in (ImportError, ValueError):
            with pytest.raises(kind, match=wanted):
                data.load(name, image_size=4)
    with pytest.raises(ImportError, match=wanted):  # not as unreadable images
        known.train.gather(np.arange(2))
    with pytest.raises(ImportError, match="grain " + wanted):
        data.eval_batches(numbered(3), batch_size=2)
