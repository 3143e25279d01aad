import base64
import io
import json
from html.parser import HTMLParser

import jax
import jax.numpy as jnp
import matplotlib
import matplotlib.image
import numpy as np
import pytest
from rich.console import Console

from lejepa_jax.objectives.slicing import slice_statistics
from lejepa_jax.report import page as report

KEY = jax.random.key(0)
N, D, CLASSES = 48, 5, 3
RNG = np.random.default_rng(0)
LABELS = (np.arange(N) % CLASSES).astype(np.int32)
# Three tight groups far apart, in directions that the cosine tells apart.
FEATURES = (10 * np.eye(CLASSES, D)[LABELS] + 0.1 * RNG.normal(size=(N, D))).astype(np.float32)
IMAGES = RNG.integers(0, 256, (N, 6, 6, 3), dtype=np.uint8)
BEFORE = (0.2 * RNG.normal(size=(N, D))).astype(np.float32)
AFTER = RNG.normal(size=(N, D)).astype(np.float32)
METRICS = [
    {"step": 10 * i, "loss": 2.0 / (i + 1), "prediction": 1.0 / (i + 1), "sigreg": 5.0 / (i + 1)}
    | {"learning_rate": 1e-3, "images_per_second": 100.0 + i}
    for i in range(4)
]
RESULTS = report.assemble_results(
    {
        "encoder": {"knn": 0.98, "linear": 0.99, "few_shot_1": 0.7, "few_shot_1_std": 0.02},
        "untrained": {"knn": 0.9, "linear": 0.92, "few_shot_1": 0.5, "few_shot_1_std": 0.03},
        "pixels": {"knn": 0.97, "linear": 0.95},
    },
    diagnostics={"rankme": {"encoder": 4.9, "untrained": 2.0}, "sigreg_null": 1.0525},
)


class Page(HTMLParser):
    """What a browser would fetch, and the text it would show."""

    def __init__(self, source):
        super().__init__()
        self.sources, self.headings, self.tags, self.text, self.here = [], [], set(), "", None
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.here = tag
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_data(self, data):
        if self.here == "h2" and data.strip():
            self.headings.append(data)
        if self.here != "style":
            self.text += data


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    settings = dict(matplotlib.rcParams)
    returned = report.write_report(
        KEY,
        path,
        title="<script>alert(1)</script> & more",
        config={"recipe": "digits", "model": {"width": 64, "note": "<b>"}},
        metrics=METRICS,
        results=RESULTS,
        embeddings_before=BEFORE,
        embeddings_after=AFTER,
        features=FEATURES,
        labels=LABELS,
        images=IMAGES,
        class_names=["a<b", "$x", "c"],
        patch_features=RNG.normal(size=(2, 3, 3, D)).astype(np.float32),
    )
    assert returned == path
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    assert dict(matplotlib.rcParams) == settings
    return Page(path.read_text())


def test_the_report_has_every_part_and_fetches_nothing(page):
    assert page.headings == [
        "Results on held-out data",
        "Diagnostics",
        "Training",
        "Slices of the embedding",
        "Covariance spectrum of the embedding",
        "Map of the features",
        "Nearest neighbors",
        "Patch features",
        "Configuration",
        "Versions",
    ]
    assert len(page.sources) == 6
    assert all(source.startswith("data:image/") for source in page.sources)
    assert not page.tags & {"script", "link", "iframe", "object"}


def test_every_picture_of_the_report_can_be_read(page):
    for source in page.sources:
        data = base64.b64decode(source.split(",", 1)[1])
        if source.startswith("data:image/png"):
            image = matplotlib.image.imread(io.BytesIO(data))
            assert image.std() > 0.01
        else:
            assert data.startswith(b"<?xml")
            assert b"http://www.w3.org/2000/svg" in data
            assert b"<image" not in data


def test_text_is_escaped_and_shown_as_it_was_given(page):
    assert "<script>alert(1)</script> & more" in page.text
    assert "model.note" in page.text
    assert "<b>" in page.text
    assert "b" not in page.tags


def test_numbers_of_the_table_are_in_percent_with_their_spread_and_gain(page):
    for text in ("98.0", "70.0 ± 2.0", "50.0 ± 3.0", "+1.0", "+4.0", "4.9", "1.052"):
        assert text in page.text


def test_a_run_without_labels_or_curves_or_arrays_still_has_a_report(tmp_path):
    path = tmp_path / "bare.html"
    rows = [{"step": 0, "loss": float("nan")}, {"step": 1}]
    report.write_report(KEY, path, title="t", config={}, metrics=rows, results={})
    assert Page(path.read_text()).headings == ["Configuration", "Versions"]
    report.write_report(
        KEY, path, title="t", config={}, metrics=[], results={}, features=FEATURES, images=IMAGES
    )
    page = Page(path.read_text())
    assert page.headings[:2] == ["Map of the features", "Nearest neighbors"]
    assert "class" not in page.text


def test_results_have_a_probe_first_and_are_json():
    assert json.loads(json.dumps(RESULTS)) == RESULTS
    assert list(RESULTS) == ["knn", "linear", "few_shot_1", "few_shot_1_std", "diagnostics"]
    assert RESULTS["knn"] == {"encoder": 0.98, "untrained": 0.9, "pixels": 0.97}
    assert RESULTS["few_shot_1"] == {"encoder": 0.7, "untrained": 0.5}


def test_the_terminal_table_has_a_row_a_source_and_a_column_a_probe():
    console = Console(width=100, file=io.StringIO())
    console.print(report.results_table(RESULTS, title="digits"))
    lines = console.file.getvalue().splitlines()
    header = next(line for line in lines if "k-NN" in line)
    assert header.index("k-NN") < header.index("linear") < header.index("1-shot")
    pixels = next(line for line in lines if "pixels" in line)
    assert [cell.strip() for cell in pixels.strip("│").split("│")] == [
        "pixels",
        "97.0",
        "95.0",
        "–",
    ]


def test_curves_leave_out_what_is_missing_or_not_finite():
    rows = [*METRICS, {"step": 40, "loss": float("nan")}, {"step": 50, "loss": 0.25}, {"loss": 9.0}]
    axes = {ax.get_title(loc="left"): ax for ax in report.plot_curves(rows, sigreg_null=1.05).axes}
    assert list(axes) == ["Loss", "Prediction", "SIGReg", "Learning rate", "Throughput"]
    x, y = axes["Loss"].lines[0].get_data()
    np.testing.assert_array_equal(x, [0, 10, 20, 30, 50])
    np.testing.assert_allclose(y, [2, 1, 2 / 3, 0.5, 0.25])
    assert set(axes["SIGReg"].lines[1].get_ydata()) == {1.05}
    assert axes["SIGReg"].get_ylim()[0] < 1.05


def test_the_worst_slice_is_the_worst_and_histograms_are_densities():
    # Along the first axis two lumps, everywhere else normal.
    lumps = AFTER.copy()
    lumps[:, 0] = 5.0 * np.sign(lumps[:, 0])
    figure = report.plot_slices(KEY, {"before": BEFORE, "after": lumps}, num_slices=64)
    assert len(figure.axes) == 8
    statistics = [float(ax.texts[0].get_text().split("= ")[1].split("\n")[0]) for ax in figure.axes]
    for row, cloud in zip((statistics[:4], statistics[4:]), (BEFORE, lumps), strict=True):
        directions = report.unit_directions(KEY, D, 64)
        expected = np.asarray(slice_statistics(jnp.asarray(cloud), directions))
        assert row[:3] == pytest.approx(list(expected[:3]), abs=0.006)
        assert row[3] == pytest.approx(expected.max(), abs=0.006)
    for index, ax in enumerate(figure.axes):
        heights, edges, _ = ax.patches[0].get_data()
        area = float(np.sum(heights * np.diff(edges)))
        if index < 4:
            assert area == pytest.approx(1)
        if "outside" in ax.texts[0].get_text():
            share = float(ax.texts[0].get_text().split("\n")[1].split(" ")[0]) / 100
            assert area == pytest.approx(1 - share, abs=0.001)
    assert "outside" in figure.axes[7].texts[0].get_text()


def test_spectra_are_those_of_numpy():
    ax = report.plot_spectrum({"before": BEFORE, "after": AFTER}).axes[0]
    assert ax.get_yscale() == "log"
    for line, cloud in zip(ax.lines[1:], (BEFORE, AFTER), strict=True):
        expected = np.linalg.eigvalsh(np.cov(cloud.T, bias=True))[::-1]
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-3)


def test_the_map_keeps_classes_together_and_repeats_itself():
    first, second = (report.plot_map(KEY, FEATURES, LABELS) for _ in range(2))
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
    ax = report.plot_map(KEY, x, labels, max_points=5).axes[0]
    assert (ax.get_legend() is not None) == has_legend
    assert ax.get_title(loc="left") == "PCA of 5 points"


def test_identical_features_are_mapped_without_t_sne():
    ax = report.plot_map(KEY, np.ones((12, 3), np.float32)).axes[0]
    assert ax.get_title(loc="left") == "PCA of 12 points"


def test_frames_of_neighbors_tell_whether_the_class_agrees():
    # Two pairs of classes with the same features: some neighbors are of another class.
    features = FEATURES.copy()
    features[LABELS == 2] = FEATURES[LABELS == 1] + 0.01
    figure = report.plot_neighbors(
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
    figure = report.plot_patch_pca(patches, IMAGES[..., :1])
    first, second = (np.asarray(ax.images[0].get_array()) for ax in figure.axes[2:])
    assert first.shape == second.shape == (3, 3, 3)
    assert 0 <= first.min() < first.max() <= 1
    np.testing.assert_allclose(first[0, 0], second[2, 2], atol=1e-6)


def test_patches_of_two_features_have_no_blue():
    figure = report.plot_patch_pca(RNG.normal(size=(1, 3, 3, 2)).astype(np.float32), IMAGES)
    assert np.all(np.asarray(figure.axes[1].images[0].get_array())[..., 2] == 0)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="embeddings must hold at least one cloud"):
        report.plot_slices(KEY, {})
    with pytest.raises(ValueError, match=r"num_shown must be at most num_slices \(2\), got 3"):
        report.plot_slices(KEY, {"after": AFTER}, num_slices=2)
