"""A model takes what people have, and says what it does not take."""

import jax
import numpy as np
import pytest
from PIL import Image

from lejepa_jax.models import Model
from lejepa_jax.models.tensors import name_arrays

RNG = np.random.default_rng(0)
BATCH = RNG.integers(0, 256, (3, 8, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def expected(model):
    return model(BATCH)


def test_arrays_of_all_kinds_give_the_same_features(model, expected):
    assert expected.shape == (3, 8)
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(model(list(BATCH)), expected)
    np.testing.assert_array_equal(model(BATCH.astype(np.float32) / 255), expected)
    np.testing.assert_array_equal(model(jax.numpy.asarray(BATCH)), expected)
    np.testing.assert_allclose(model(BATCH[1]), expected[1:2], rtol=1e-5, atol=1e-6)


def test_pictures_and_paths_give_the_same_features(model, expected, tmp_path):
    pictures = [Image.fromarray(image) for image in BATCH]
    np.testing.assert_array_equal(model(pictures), expected)
    for index, picture in enumerate(pictures):
        picture.save(tmp_path / f"{index}.png")
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    np.testing.assert_array_equal(model(paths), expected)
    np.testing.assert_array_equal(model([BATCH[0], str(paths[1]), pictures[2]]), expected)
    # A mode that no PNG holds, and one that is held upright by its EXIF tag alone.
    rotated = pictures[0].transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    rotated.save(tmp_path / "rotated.png", exif=exif)
    with Image.open(tmp_path / "rotated.png") as held:
        np.testing.assert_array_equal(model([held, *pictures[1:]]), expected)
    assert model(pictures[0].convert("CMYK")).shape == (1, 8)
    assert model(pictures[0].convert("L")).shape == (1, 8)


def test_more_examples_than_a_batch_and_images_of_different_sizes(model):
    images = [RNG.integers(0, 256, (5 + i, 9, 3), np.uint8) for i in range(9)]
    found = model(images)
    assert found.shape == (9, 8)
    np.testing.assert_allclose(model(images[5]), found[5:6], rtol=1e-5, atol=1e-6)


def test_the_pure_function_is_what_a_call_computes(model, expected):
    inputs = model.preprocess(BATCH)
    found = jax.jit(model.apply)(model.params, inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda params: model.apply(params, inputs).sum())(model.params)
    assert jax.tree.structure(gradient) == jax.tree.structure(model.params)


def test_tokens_embeddings_and_layers(model, expected):
    assert model.tokens(BATCH).shape == (3, 4, 8)
    assert model.embeddings(BATCH).shape == (3, 6)
    both = model(BATCH, num_layers=2)
    np.testing.assert_allclose(both[:, 8:], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            BATCH[..., :1],
            r"images must be RGB: \(h, w, 3\) or \(n, h, w, 3\), got .*\(3, 8, 8, 1\)",
        ),
        (BATCH[0, ..., 0], r"images must be RGB"),
        (BATCH[None], "images must be RGB"),
        (BATCH.astype(np.int32), "images must be uint8, or of floating point in .0, 1., got int32"),
        (BATCH.astype(np.float32), "must lie in .0, 1., got values from 0 to 255"),
        (np.full((8, 8, 3), np.nan), "must lie in"),
        ([], "at least one image"),
        ("nowhere.png", "image 'nowhere.png' is not a file"),
        ([None], "must be arrays, PIL images or paths, or a list of them, got NoneType"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(model, images, message):
    with pytest.raises(ValueError, match=message) as caught:
        model(images)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(model, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"broken\.png.*not an image"):
        model([tmp_path / "broken.png"])


def test_clouds(cloud_model):
    clouds = RNG.normal(size=(5, 12, 3)).astype(np.float32)
    found = cloud_model(clouds)
    assert found.shape == (5, cloud_model.features)
    # Moved and scaled clouds are the same ones, and so are padded ones.
    np.testing.assert_allclose(cloud_model(3 * clouds + 1), found, rtol=1e-4, atol=1e-5)
    several = cloud_model([clouds[0], clouds[1][:7]])
    np.testing.assert_allclose(several[:1], found[:1], rtol=1e-4, atol=1e-5)
    inputs = cloud_model.preprocess(clouds)
    applied = cloud_model.apply(cloud_model.params, inputs)
    np.testing.assert_allclose(applied, found, rtol=1e-4, atol=1e-5)
    assert cloud_model.tokens(clouds).shape[:2] == (5, 12)
    for wrong in (clouds[..., :2], np.full((4, 3), np.nan), []):
        with pytest.raises(ValueError, match="cloud"):
            cloud_model(wrong)


def test_every_mismatch_is_in_one_error(model):
    arrays = {
        name: np.asarray(x) for part in model.variables for name, x in name_arrays(part).items()
    }
    del arrays["encoder.norm.scale"]
    arrays["encoder.norm.gain"] = np.ones(8, np.float32)
    arrays["encoder.cls_token"] = np.ones((1, 9), np.float32)
    with pytest.raises(ValueError, match="fit the network") as caught:
        Model(model.makers, arrays, model.preprocessing)
    said = str(caught.value)
    assert "encoder.norm.scale is missing" in said
    assert "encoder.norm.gain is no part of the network" in said
    assert "encoder.cls_token is (1, 9) there and (1, 8) in the network" in said
