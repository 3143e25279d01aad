"""Every format against its library's own reading of the same file."""

import subprocess
import sys

import numpy as np
import pytest

from lejepa_jax.data.fields import FieldOptions, load_fields
from lejepa_jax.data.fields.readers.formats import arrange_axes
from lejepa_jax.data.records import TooManyBadRecords

RNG = np.random.default_rng(0)


def read_one(folder, num_axes):
    """What is loaded of a folder of two files that hold the same."""
    splits = load_fields(f"folder:{folder}", num_axes=num_axes)
    return splits, splits.train.gather(np.array([0]))["values"][0]


def write_twice(folder, name, write):
    for i in range(2):
        write(str(folder / f"{i}{name}"))


@pytest.mark.parametrize(
    ("subtype", "ending", "kind"),
    [
        ("PCM_16", "wav", "int16"),
        ("PCM_24", "flac", "int32"),
        ("PCM_U8", "wav", "int16"),
        ("FLOAT", "wav", "float32"),
    ],
)
def test_sounds(tmp_path, subtype, ending, kind):
    soundfile = pytest.importorskip("soundfile")
    waves = RNG.uniform(-0.9, 0.9, (40, 2))
    write_twice(
        tmp_path,
        f".{ending}",
        lambda path: soundfile.write(path, waves, 8000, subtype=subtype),
    )
    splits, found = read_one(tmp_path, 1)
    expected, rate = soundfile.read(tmp_path / f"0.{ending}", dtype=kind, always_2d=True)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, expected)
    assert splits.train.layout.spacing == (1 / rate,)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "int16"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_planes_of_many_bands_and_pages(tmp_path, kind, compression):
    tifffile = pytest.importorskip("tifffile")
    bands = (RNG.normal(size=(5, 6, 7)) * 100).astype(kind)
    write_twice(
        tmp_path,
        ".tif",
        lambda path: tifffile.imwrite(
            path, bands, photometric="minisblack", compression=compression
        ),
    )
    _, found = read_one(tmp_path, 2)
    expected = tifffile.imread(tmp_path / "0.tif")
    assert found.dtype == kind
    np.testing.assert_array_equal(found, np.moveaxis(expected, 0, -1))
    # The same pages are the depth of a volume.
    _, volume = read_one(tmp_path, 3)
    np.testing.assert_array_equal(volume[..., 0], expected)


def test_colors_of_16_bits_stay_so(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    colors = RNG.integers(0, 2**16, (6, 7, 3), np.uint16)
    write_twice(tmp_path, ".tif", lambda p: tifffile.imwrite(p, colors, photometric="rgb"))
    np.testing.assert_array_equal(read_one(tmp_path, 2)[1], colors)


def test_named_axes_are_put_in_order():
    stack = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(arrange_axes(stack, "ZCYX", 3), np.moveaxis(stack, 1, -1))
    assert arrange_axes(stack, "ZCYX", 2).shape == (4, 5, 6)
    with pytest.raises(ValueError, match="a volume has one axis of pages"):
        arrange_axes(np.zeros((2, 2, 3, 3)), "TZYX", 3)


def test_scans_with_the_size_of_their_voxels(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    voxels = RNG.integers(-99, 99, (4, 5, 6)).astype(np.int16)
    affine = np.diag([0.5, 0.75, 3.0, 1.0])
    write_twice(
        tmp_path, ".nii.gz", lambda path: nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    )
    splits, found = read_one(tmp_path, 3)
    expected = np.asarray(nibabel.load(tmp_path / "0.nii.gz").dataobj)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found[..., 0], expected.transpose(2, 1, 0))
    np.testing.assert_allclose(splits.train.layout.spacing, (3.0, 0.75, 0.5))


def test_a_scan_that_scales_its_integers_is_what_it_says(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(RNG.normal(size=(4, 5, 6)).astype(np.float32), np.eye(4))
    image.set_data_dtype(np.int16)
    write_twice(tmp_path, ".nii", lambda path: nibabel.save(image, path))
    expected = np.asarray(nibabel.load(tmp_path / "0.nii").dataobj).astype(np.float32)
    np.testing.assert_array_equal(read_one(tmp_path, 3)[1][..., 0], expected.transpose(2, 1, 0))


def test_pictures_of_8_and_16_bits_but_no_colors_of_16(tmp_path):
    from PIL import Image

    gray = RNG.integers(0, 2**16, (4, 5), np.uint16)
    write_twice(tmp_path, ".png", lambda path: Image.fromarray(gray).save(path))
    _, found = read_one(tmp_path, 2)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[..., 0], gray)


def test_damaged_other_and_huge_files_are_bad_records(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    for i in range(6):
        soundfile.write(tmp_path / f"{i}.wav", RNG.uniform(-1, 1, 50), 8000)
    soundfile.write(tmp_path / "7.wav", RNG.uniform(-1, 1, 50), 16000)
    soundfile.write(tmp_path / "8.wav", RNG.uniform(-1, 1, (50, 2)), 8000)
    soundfile.write(tmp_path / "9.wav", RNG.uniform(-1, 1, 9000), 8000)
    whole = (tmp_path / "0.wav").read_bytes()
    (tmp_path / "5.wav").write_bytes(whole[:30])
    (tmp_path / "6.wav").write_bytes(b"not a sound")
    options = FieldOptions(file_limit=5000, test_fraction=0.3)
    splits = load_fields(f"folder:{tmp_path}", num_axes=1, max_bad_records=5, options=options)
    assert len(splits.train) + len(splits.test) == 5
    reasons = {bad.name: bad.reason for bad in splits.train.bad_records}
    assert set(reasons) == {f"'{i}.wav'" for i in (5, 6, 7, 8, 9)}
    assert "apart" in reasons["'7.wav'"]
    assert "2 channels" in reasons["'8.wav'"]
    assert "more than file_limit=5000" in reasons["'9.wav'"]
    with pytest.raises(TooManyBadRecords, match="has unreadable fields"):
        load_fields(f"folder:{tmp_path}", num_axes=1, max_bad_records=4, options=options)


def test_on_demand_a_bad_file_is_replaced_by_the_next(tmp_path):
    for i in range(8):
        np.save(tmp_path / f"{i}.npy", np.full(4, i, np.float32))
    options = FieldOptions(memory_limit=8)
    splits = load_fields(f"folder:{tmp_path}", num_axes=1, max_bad_records=1, options=options)
    broken = int(splits.train.records[2])
    (tmp_path / f"{broken}.npy").write_bytes(b"no")
    batch = splits.train.gather(np.arange(4))
    assert batch["index"].tolist() == [0, 1, 3, 3]
    assert batch["values"][2, 0, 0] == splits.train.records[3]


def test_truncated_files_of_every_format_are_one_line(tmp_path):
    tifffile, nibabel = pytest.importorskip("tifffile"), pytest.importorskip("nibabel")
    writers = {
        "tif": lambda path: tifffile.imwrite(path, np.zeros((9, 9), np.uint16), compression="zlib"),
        "nii.gz": lambda path: nibabel.save(
            nibabel.Nifti1Image(RNG.normal(size=(4, 5, 6)).astype(np.float32), np.eye(4)), path
        ),
        "npy": lambda path: np.save(path, np.zeros((4, 4, 4))),
    }
    for ending, write in writers.items():
        folder = tmp_path / ending
        folder.mkdir()
        write(folder / f"a.{ending}")
        whole = (folder / f"a.{ending}").read_bytes()
        (folder / f"a.{ending}").write_bytes(whole[: len(whole) - 20])
        rank = 2 if ending == "tif" else 3
        with pytest.raises(ValueError, match=r"has no fields of . axes, the first: 'a") as caught:
            load_fields(f"folder:{folder}", num_axes=rank)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("library", "extra", "ending"),
    [("soundfile", "sound", "wav"), ("tifffile", "tiff", "tif"), ("nibabel", "nifti", "nii")],
)
def test_a_missing_library_is_named_with_its_extra(tmp_path, library, extra, ending):
    (tmp_path / f"a.{ending}").write_bytes(b"x")
    program = f"""
import sys
sys.modules[{library!r}] = None
from lejepa_jax.data.fields import load_fields
load_fields("folder:{tmp_path}", num_axes={1 if ending == "wav" else 3})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert f"{library} is not installed: pip install 'lejepa-jax[{extra}]'" in done.stderr
