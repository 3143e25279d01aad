import jax
import numpy as np

from lejepa_jax.report.embedding import embedding_pictures

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(12, 4)).astype(np.float32)
IMAGES = RNG.integers(0, 256, (12, 6, 6, 3), dtype=np.uint8)


def test_patches_stand_below_the_images_they_are_of():
    index = np.array([7, 2])
    patches = RNG.normal(size=(2, 3, 3, 4)).astype(np.float32)
    (*_, picture) = embedding_pictures(
        KEY, features=FEATURES, images=IMAGES, patch_features=patches, patch_index=index
    )
    shown = picture.draw().axes[:2]
    for ax, which in zip(shown, index, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), IMAGES[which])


def test_captions_have_the_null_mean_where_there_is_one():
    clouds = {"after": FEATURES}
    without, *_ = embedding_pictures(KEY, embeddings=clouds)
    with_it, *_ = embedding_pictures(KEY, embeddings=clouds, null_mean=1.0525)
    assert "1.05" in with_it.caption
    assert "mean" not in without.caption


def test_nothing_given_nothing_shown():
    assert embedding_pictures(KEY) == []
