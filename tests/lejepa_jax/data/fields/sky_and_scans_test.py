"""FITS and DICOM against what their own libraries read."""

from pathlib import Path

import numpy as np
import pytest

from lejepa_jax.data.fields import FieldOptions, FieldRequest, load_fields
from lejepa_jax.data.fields.readers.formats import read_file
from lejepa_jax.data.records import Ledger


def read(path, num_axes):
    ledger = Ledger("test", 0)
    options = FieldOptions()
    return read_file(
        Path(path),
        FieldRequest(name="", path=Path(), num_axes=num_axes, options=options, ledger=ledger),
    )


@pytest.mark.parametrize("kind", ["uint16", "int16", "float32"])
def test_images_of_fits_keep_their_type(tmp_path, kind):
    fits = pytest.importorskip("astropy.io.fits")
    image = (np.arange(3 * 4 * 5) * 500).reshape(3, 4, 5).astype(kind)
    fits.writeto(tmp_path / "a.fits", image)
    found = read(tmp_path / "a.fits", 2).values
    assert found.dtype == kind
    np.testing.assert_array_equal(found, np.moveaxis(fits.getdata(tmp_path / "a.fits"), 0, -1))
    assert read(tmp_path / "a.fits", 3).values.shape == (3, 4, 5, 1)


def test_healpix_maps_come_in_ring_order_with_unseen_pixels_missing(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    package = pytest.importorskip("astropy_healpix")
    values = np.arange(192, dtype=np.float32)
    values[7] = -1.6375e30
    nested = package.HEALPix(4, order="nested")
    columns = [fits.Column("T", "16E", array=values.reshape(-1, 16))]
    table = fits.BinTableHDU.from_columns(columns)
    table.header.update(PIXTYPE="HEALPIX", ORDERING="NESTED", NSIDE=4)
    table.writeto(tmp_path / "map.fits")
    found = read(tmp_path / "map.fits", 1).values[:, 0]
    expected = np.where(values < -1e30, np.nan, values)[nested.ring_to_nested(np.arange(192))]
    np.testing.assert_array_equal(found, expected)
    (tmp_path / "torn.fits").write_bytes((tmp_path / "map.fits").read_bytes()[:3000])
    with pytest.raises(Exception, match=r".+"):
        read(tmp_path / "torn.fits", 1)


def write_slice(path, pixels, place, series="1.2.3", **attributes):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    one = pydicom.Dataset()
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = generate_uid()
    one.SeriesInstanceUID = series
    one.Rows, one.Columns = pixels.shape
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation, one.SamplesPerPixel = 15, 1, 1
    one.PhotometricInterpretation = "MONOCHROME2"
    one.PixelSpacing, one.ImageOrientationPatient = [0.5, 0.75], [1, 0, 0, 0, 1, 0]
    one.ImagePositionPatient = [0, 0, place]
    for name, value in attributes.items():
        setattr(one, name, value)
    one.PixelData = pixels.astype("<i2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    one.save_as(path, enforce_file_format=True)


def test_slices_of_a_folder_are_a_volume_in_the_order_of_their_places(tmp_path):
    volume = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    for scan in ("train/a/one", "test/a/one"):
        for name, i in zip("wxyz", (2, 0, 3, 1), strict=True):
            write_slice(
                tmp_path / scan / f"{name}.dcm",
                volume[i],
                3.0 * i,
                RescaleSlope=1,
                RescaleIntercept=-1024,
            )
    found = read(tmp_path / "train" / "a" / "one" / "w.dcm", 3)
    np.testing.assert_array_equal(found.values[..., 0], volume.astype(np.int32) - 1024)
    assert found.spacing == (3.0, 0.5, 0.75)
    splits = load_fields(f"folder:{tmp_path}", num_axes=3)
    assert (len(splits.train), len(splits.test)) == (1, 1)
    plane = read(tmp_path / "train" / "a" / "one" / "x.dcm", 2)
    np.testing.assert_array_equal(plane.values[..., 0], volume[0].astype(np.int32) - 1024)
    (tmp_path / "train" / "a" / "one" / "z.dcm").unlink()  # number 1
    with pytest.raises(ValueError, match="3 to 6 mm apart: one is missing"):
        read(tmp_path / "train" / "a" / "one" / "w.dcm", 3)
    write_slice(tmp_path / "train" / "a" / "one" / "z.dcm", volume[1], 3.0, series="9.9")
    with pytest.raises(ValueError, match="slices of several series"):
        read(tmp_path / "train" / "a" / "one" / "w.dcm", 3)
