import jax
import matplotlib
import numpy as np
import pytest

from lejepa_jax.report.examples import (
    examples_of_classes,
    plot_map,
    plot_neighbors,
    plot_patch_pca,
)

KEY = jax.random.key(0)
N, D, CLASSES = 48, 5, 3
RNG = np.random.default_rng(0)
LABELS = (np.arange(N) % CLASSES).astype(np.int32)
# Three tight groups far apart, in directions that the cosine tells apart.
FEATURES = (10 * np.eye(CLASSES, D)[LABELS] + 0.1 * RNG.normal(size=(N, D))).astype(np.float32)
IMAGES = RNG.integers(0, 256, (N, 6, 6, 3), dtype=np.uint8)


def test_the_map_keeps_classes_together_and_repeats_itself():
    first, second = (plot_map(KEY, FEATURES, LABELS) for _ in range(2))
    assert first.axes[0].get_title(loc="left") == f"t-SNE of {N} points"
    groups = [np.asarray(c.get_offsets()) for c in first.axes[0].collections]
    again = [np.asarray(c.get_offsets()) for c in second.axes[0].collections]
    for a, b in zip(groups, again, strict=True):
        np.testing.assert_array_equal(a, b)
    centers = np.array([group.mean(axis=0) for group in groups])
    for c, group in enumerate(groups):
        distances = np.linalg.norm(group[:, None] - centers[None], axis=-1)
        assert np.all(distances.argmin(axis=1) == c)


@pytest.mark.parametrize(("num_classes", "has_legend"), [(20, True), (21, False)])
def test_the_legend_is_there_for_up_to_twenty_classes(num_classes, has_legend):
    labels = np.arange(num_classes).astype(np.int32)
    x = RNG.normal(size=(num_classes, 2)).astype(np.float32)
    ax = plot_map(KEY, x, labels, max_points=5).axes[0]
    assert (ax.get_legend() is not None) == has_legend
    assert ax.get_title(loc="left") == "PCA of 5 points"


def test_identical_features_are_mapped_without_t_sne():
    ax = plot_map(KEY, np.ones((12, 3), np.float32)).axes[0]
    assert ax.get_title(loc="left") == "PCA of 12 points"


def test_frames_of_neighbors_tell_whether_the_class_agrees():
    # Two pairs of classes with the same features: some neighbors are of another class.
    features = FEATURES.copy()
    features[LABELS == 2] = FEATURES[LABELS == 1] + 0.01
    figure = plot_neighbors(
        KEY, features, IMAGES, LABELS, num_queries=3, num_neighbors=4, class_names=list("abc")
    )
    grid = np.array(figure.axes).reshape(3, 5)
    assert [ax.get_ylabel() for ax in grid[:, 0]] == list("abc")
    colors = set()
    for row in grid:
        shown = [ax.images[0].get_array() for ax in row]
        index = [next(i for i in range(N) if np.array_equal(IMAGES[i], image)) for image in shown]
        assert len(set(index)) == 5
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        cosine = unit @ unit[index[0]]
        assert index == list(np.argsort(-cosine)[:5])
        for i, ax in zip(index[1:], row[1:], strict=True):
            same = LABELS[i] == LABELS[index[0]]
            edge = matplotlib.colors.to_hex(ax.patches[0].get_edgecolor())
            assert edge == ("#1a8a3c" if same else "#cc2f2f")
            colors.add(edge)
    assert len(colors) == 2


def test_equal_patches_have_equal_colors_in_all_images():
    patches = RNG.normal(size=(2, 3, 3, D)).astype(np.float32)
    patches[1, 2, 2] = patches[0, 0, 0]
    figure = plot_patch_pca(patches, IMAGES[..., :1])
    first, second = (np.asarray(ax.images[0].get_array()) for ax in figure.axes[2:])
    assert first.shape == second.shape == (3, 3, 3)
    assert 0 <= first.min() < first.max() <= 1
    np.testing.assert_allclose(first[0, 0], second[2, 2], atol=1e-6)


def test_patches_of_two_features_have_no_blue():
    figure = plot_patch_pca(RNG.normal(size=(1, 3, 3, 2)).astype(np.float32), IMAGES)
    assert np.all(np.asarray(figure.axes[1].images[0].get_array())[..., 2] == 0)


def test_examples_of_a_set_sorted_by_class_are_of_different_classes():
    labels = np.repeat([0, 1, 2, 3], 50)
    shown = examples_of_classes(labels, len(labels), 8)
    assert list(labels[shown]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len(set(shown)) == 8
    assert list(examples_of_classes(labels, len(labels), 2)) == [0, 50]
    assert len(examples_of_classes(labels[:3], 3, 8)) == 3


def test_what_has_no_label_has_a_gray_frame_and_is_no_agreement():
    labels = LABELS.copy()
    labels[LABELS == 2] = -1
    figure = plot_neighbors(KEY, FEATURES, IMAGES, labels, num_queries=3, num_neighbors=4)
    grid = np.array(figure.axes).reshape(3, 5)
    assert [ax.get_ylabel() for ax in grid[:, 0]] == ["no label", "0", "1"]
    frames = [
        [matplotlib.colors.to_hex(ax.patches[0].get_edgecolor()) for ax in row] for row in grid
    ]
    assert set(frames[0][1:]) == {"#bbbbbb"}
    assert set(frames[1][1:]) == set(frames[2][1:]) == {"#1a8a3c"}
    assert "100 % of those shown" in grid[0, 1].texts[0].get_text()
    legend = plot_map(KEY, FEATURES, labels).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["no label", "0", "1"]


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_images_of_any_number_of_channels_are_shown(channels):
    images = RNG.integers(0, 256, (N, 6, 6, channels), dtype=np.uint8)
    figure = plot_neighbors(KEY, FEATURES, images, num_queries=1, num_neighbors=1)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert shown.shape == ((6, 6, 3) if channels >= 3 else (6, 6))
    wanted = images[..., :3] if channels >= 3 else images[..., 0]
    assert any(np.array_equal(shown, image) for image in wanted)
