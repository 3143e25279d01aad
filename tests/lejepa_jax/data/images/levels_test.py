"""Images of more than 8 bits, of several bands and pages: read whole, or refused."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from lejepa_jax import data
from lejepa_jax.data.images.levels import _tiff_tags, parse_data_range
from tests.lejepa_jax.data.pictures import noise, png16, save, tiff

RNG = np.random.default_rng(1)


def ramp(low: int, high: int, dtype: type = np.uint16, bands: int = 1) -> np.ndarray:
    """Values from low to high, both among them, in no order."""
    values = np.linspace(low, high, 16 * 16 * bands).round().astype(dtype)
    return RNG.permutation(values).reshape(16, 16, bands)


def shelf(root, contents, suffix: str, copies: int = 4):
    root.mkdir(exist_ok=True)
    for i in range(copies):
        (root / f"{i}{suffix}").write_bytes(contents)
    return root


def read(root, **options) -> np.ndarray:
    """The first image of a folder of equal ones."""
    splits = data.load(f"folder:{root}", image_size=16, options=data.DataOptions(**options))
    return splits.train[0]["image"]


def scaled(values, low, high) -> np.ndarray:
    return np.round(np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255)


WHOLE = {
    "16-bit gray TIFF": (lambda v: tiff([v]), ".tif", ramp(0, 65535), (0, 65535)),
    "signed 16-bit TIFF": (
        lambda v: tiff([v]), ".tif", ramp(-32768, 32767, np.int16), (-32768, 32767),
    ),
    "32-bit TIFF": (lambda v: tiff([v]), ".tif", ramp(0, 2**32 - 1, np.uint32), (0, 2**32 - 1)),
    "16-bit gray PNG": (png16, ".png", ramp(0, 65535), (0, 65535)),
    "16-bit RGB PNG": (png16, ".png", ramp(0, 65535, bands=3), (0, 65535)),
    "16-bit RGB TIFF": (
        lambda v: tiff([v], photometric=2), ".tif", ramp(0, 65535, bands=3), (0, 65535),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WHOLE)
def test_values_of_more_than_eight_bits_are_scaled_and_rounded(tmp_path, kind):
    write, suffix, values, limits = WHOLE[kind]
    shelf(tmp_path, write(values), suffix)
    np.testing.assert_array_equal(read(tmp_path), scaled(values, *limits))


def test_transparency_of_sixteen_bits_is_laid_over_white(tmp_path):
    values = ramp(0, 65535, bands=4)
    shelf(tmp_path, png16(values), ".png")
    color, alpha = values[..., :3] / 65535, values[..., 3:] / 65535
    wanted = 255 * (color * alpha + 1 - alpha)
    np.testing.assert_allclose(read(tmp_path), wanted, atol=0.51)


def test_white_may_be_zero(tmp_path):
    values = ramp(0, 65535)
    shelf(tmp_path, tiff([values], photometric=0), ".tif")
    np.testing.assert_array_equal(read(tmp_path), scaled(65535 - values.astype(int), 0, 65535))


def test_a_pgm_of_twelve_bits_has_a_range_of_its_own(tmp_path):
    values = ramp(0, 4095)
    raster = values.astype(">u2").tobytes()
    shelf(tmp_path, b"P5 16 16 4095\n" + raster, ".pgm")
    np.testing.assert_array_equal(read(tmp_path), scaled(values, 0, 4095))


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("bands", [1, 3])
def test_sixteen_bits_are_turned_upright_like_eight(tmp_path, orientation, bands):
    values = RNG.integers(0, 256, (8, 16, bands)).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name, pixels in (("eight", values), ("sixteen", values * 257)):
        (tmp_path / name).mkdir()
        for i in range(2):
            path = tmp_path / name / f"{i}.png"
            if name == "eight":
                save(path, pixels.squeeze(), exif=exif)
            else:
                path.write_bytes(png16(pixels, eXIf=exif.tobytes()[6:]))
    eight, sixteen = (
        data.load(f"folder:{tmp_path / name}", image_size=16).train[0]
        for name in ("eight", "sixteen")
    )
    assert eight["aspect"] == sixteen["aspect"]
    # Resizing rounds once for 16 bits, and twice for 8.
    np.testing.assert_allclose(sixteen["image"], eight["image"].astype(int), atol=2)


def test_an_oriented_tiff_is_turned_once(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = noise(8, 16)
    for i in range(2):
        save(tmp_path / "tif" / f"{i}.tif", pixels, exif=exif)
        save(tmp_path / "png" / f"{i}.png", np.rot90(pixels, -1))
    tif, png = (
        data.load(f"folder:{tmp_path / name}", image_size=16).train[0] for name in ("tif", "png")
    )
    assert tif["aspect"] == png["aspect"] == 0.5
    np.testing.assert_array_equal(tif["image"], png["image"])


FEW_LEVELS = {
    "12 bits in a 16-bit TIFF": (lambda v: tiff([v]), ".tif", ramp(0, 4095), "0,4095", "16-bit"),
    "12 bits in a 16-bit PNG": (png16, ".png", ramp(3, 4095), "3,4095", "16-bit"),
    "12 bits in an RGB PNG": (png16, ".png", ramp(0, 4095, bands=3), "0,4095", "16-bit"),
    "a scan in Hounsfield units": (
        lambda v: tiff([v]), ".tif", ramp(-1024, 3071, np.int16), "-1024,3071", "signed 16-bit",
    ),
}  # fmt: skip


@pytest.mark.parametrize("memory_limit", [0, 2**30])
@pytest.mark.parametrize("kind", FEW_LEVELS)
def test_values_that_would_be_left_few_levels_are_refused(tmp_path, kind, memory_limit):
    write, suffix, values, limits, bits = FEW_LEVELS[kind]
    shelf(tmp_path, write(values), suffix)
    message = f"holds {bits} images with values from .* 16 of 256 .*set data_range to '{limits}'"
    with pytest.raises(ValueError, match=message):
        read(tmp_path, memory_limit=memory_limit)
    low, high = map(float, limits.split(","))
    image = read(tmp_path, memory_limit=memory_limit, data_range=limits)
    np.testing.assert_array_equal(image, scaled(values, low, high))
    assert len(np.unique(image)) == 256


def test_percentiles_are_those_of_all_images_to_train_on(tmp_path):
    for i in range(8):
        values = RNG.normal(1000 + 100 * i, 50, (16, 16, 1)).astype(np.uint16)
        (tmp_path / f"{i}.png").write_bytes(png16(values))
    options = data.DataOptions(data_range="percentiles")
    splits = data.load(f"folder:{tmp_path}", image_size=16, options=options)
    every = [np.asarray(Image.open(tmp_path / f"{i}.png")) for i in range(8)]
    low, high = np.percentile(every, [0.1, 99.9])
    images = [s.gather(np.arange(len(s)))["image"][..., 0] for s in (splits.train, splits.test)]
    train, test = data.stratified_split(np.zeros(8, int), 2)
    order = np.concatenate([train, test])
    wanted = np.stack([scaled(every[i], low, high) for i in order])
    np.testing.assert_array_equal(np.concatenate(images), wanted)
    assert splits.info["data_range"] == f"values from {low:g} to {high:g} become 0 to 255"


def test_floating_point_needs_a_range(tmp_path):
    values = RNG.normal(size=(16, 16, 1)).astype(np.float32)
    shelf(tmp_path, tiff([values]), ".tif")
    with pytest.raises(ValueError, match=r"floating-point values.*set data_range to 'LOW,HIGH' or"):
        read(tmp_path)
    np.testing.assert_array_equal(read(tmp_path, data_range="-2,2"), scaled(values, -2, 2))
    values[0, 0] = np.nan
    shelf(tmp_path, tiff([values]), ".tif")
    with pytest.raises(ValueError, match="values that are NaN or infinite"):
        read(tmp_path, data_range="-2,2")


def test_eight_bits_have_a_range_too(tmp_path):
    pixels = noise(16, 16)
    for i in range(4):
        save(tmp_path / f"{i}.png", pixels)
    np.testing.assert_array_equal(read(tmp_path, data_range="0,100"), scaled(pixels, 0, 100))


def test_percentiles_of_several_types_are_refused(tmp_path):
    save(tmp_path / "a.png", noise()[..., 0])
    (tmp_path / "b.png").write_bytes(png16(ramp(0, 65535)))
    with pytest.raises(ValueError, match=r"of several types: .* has 16-bit, 8-bit"):
        read(tmp_path, data_range="percentiles")


def test_a_range_of_anything_but_image_files_is_refused():
    with pytest.raises(ValueError, match="data_range is for image files, which digits has none"):
        data.load("digits", image_size=8, options=data.DataOptions(data_range="0,16"))


@pytest.mark.parametrize("text", ["12", "a,b", "5,5", "2,1", "nan,1", "0,inf", "1,2,3", "LOW,HIGH"])
def test_ranges_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match="data_range must be"):
        parse_data_range(text)


GRAY8, GRAY16 = (RNG.integers(0, 256, (16, 16)).astype(t) for t in (np.uint8, np.uint16))
FIVE = RNG.integers(0, 256, (16, 16, 5)).astype(np.uint8)
REFUSED = {
    "pages": (tiff([GRAY16] * 3), r"holds 3 pages \(.*\) of 16 x 16 pixels of 16 bits.*save each"),
    "an ImageJ stack": (
        tiff([GRAY16], description="ImageJ=1.53\nimages=40\nslices=40\n"), "holds 40 pages",
    ),
    "five gray bands": (tiff([FIVE]), "holds 5 bands of 16 x 16 pixels of 8 bits, where 1"),
    "bands behind RGB": (tiff([FIVE], photometric=2, extra=(0, 0)), "holds 5 bands of"),
    "infrared behind RGB": (
        tiff([FIVE[..., :4]], photometric=2), "holds 4 bands .* not say that the last is alpha",
    ),
    "a second gray band": (tiff([FIVE[..., :2]], extra=(0,)), "holds 2 bands of"),
    "16-bit planes": (
        tiff([FIVE[..., :3].astype(np.uint16)], photometric=2, planar=2), "holds 3 planes of",
    ),
    "signed bytes": (tiff([GRAY8.view(np.int8)]), "holds 16 x 16 pixels of signed 8 bits"),
    "doubles": (tiff([GRAY8.astype(np.float64)]), "a TIFF of a kind that is not read"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_read_in_part_is_refused_in_one_line(tmp_path, kind):
    contents, message = REFUSED[kind]
    shelf(tmp_path, contents, ".tif")
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


def test_alpha_that_says_so_is_alpha(tmp_path):
    pixels = np.dstack([noise(16, 16), np.where(np.eye(16) > 0, 0, 255)]).astype(np.uint8)
    shelf(tmp_path, tiff([pixels], photometric=2, extra=(2,)), ".tif")
    wanted = np.where(pixels[..., 3:] > 0, pixels[..., :3], 255)
    np.testing.assert_array_equal(read(tmp_path), wanted)


def test_thumbnails_are_no_pages(tmp_path):
    plain = bytearray(tiff([GRAY8, GRAY8]))
    with pytest.raises(ValueError, match="holds 2 pages"):
        read(shelf(tmp_path / "pages", bytes(plain), ".tif"))
    # The second page calls itself a reduced one: its first tag becomes 254, of value 1.
    second = plain.rindex((256).to_bytes(2, "little") + (4).to_bytes(2, "little"))
    plain[second : second + 12] = b"\xfe\0\4\0\1\0\0\0\1\0\0\0"
    np.testing.assert_array_equal(
        read(shelf(tmp_path / "one", bytes(plain), ".tif"))[..., 0], GRAY8
    )


@pytest.mark.parametrize(("bands", "chunks"), [(2, {}), (3, {"tRNS": b"\0\1\0\2\0\3"})])
def test_png_that_would_be_narrowed_is_refused(tmp_path, bands, chunks):
    shelf(tmp_path, png16(ramp(0, 65535, bands=bands), **chunks), ".png")
    with pytest.raises(ValueError, match=r"16-bit .* not read in full"):
        read(tmp_path)


def test_color_of_sixteen_bits_in_a_ppm_is_refused(tmp_path):
    raster = ramp(0, 65535, bands=3).astype(">u2").tobytes()
    shelf(tmp_path, b"P6 16 16 65535\n" + raster, ".ppm")
    with pytest.raises(ValueError, match=r"16-bit color .* not read in full"):
        read(tmp_path)


@pytest.mark.parametrize("memory_limit", [0, 2**30])
def test_a_set_of_which_most_are_refused_is_refused_whatever_is_tolerated(tmp_path, memory_limit):
    shelf(tmp_path, tiff([GRAY16] * 3), ".tif", copies=9)
    save(tmp_path / "x.png", noise())
    with pytest.raises(data.TooManyBadRecords) as error:
        data.load(
            f"folder:{tmp_path}",
            image_size=16,
            max_bad_records=100,
            options=data.DataOptions(memory_limit=memory_limit),
        )
    text = str(error.value)
    assert "9 of the 10 tried" in text
    assert "holds 3 pages" in text
    assert "and 8 more like it" in text


# Pillow knows no large ones in big-endian order.
@pytest.mark.parametrize(("order", "is_big"), [("<", False), (">", False), ("<", True)])
def test_pages_are_counted_in_every_kind_of_tiff(order, is_big):
    def number(layout, *values):
        return struct.pack(order + layout, *values)

    def chain(kinds, link_back=False):
        """Pages of one tag each: its kind, 254 of a short or long number; nothing else."""
        head = (b"II" if order == "<" else b"MM") + number("H", 43 if is_big else 42)
        head += number("HH", 8, 0) if is_big else b""
        offset = "Q" if is_big else "L"
        out = head + number(offset, len(head) + struct.calcsize(order + offset))
        start = len(out)
        for i, (tag, short, value) in enumerate(kinds):
            inline = number("H", value) if short else number("L", value)
            count = number("Q" if is_big else "H", 1)
            page = count + number("HH", tag, 3 if short else 4) + number(offset, 1)
            page += inline.ljust(8 if is_big else 4, b"\0")
            last = i == len(kinds) - 1
            there = start if link_back else 0
            out += page
            out += number(offset, there if last else len(out) + struct.calcsize(order + offset))
        return io.BytesIO(out)

    whole, thumbnail, mask = (256, True, 7), (254, False, 1), (254, True, 4)
    assert _tiff_tags(chain([whole, thumbnail, mask, whole]))[1] == 2
    assert _tiff_tags(chain([whole, thumbnail], link_back=True))[1] == 1
    assert _tiff_tags(chain([whole] * 3000))[1] == 1001
