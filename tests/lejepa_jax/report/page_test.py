import base64
import io
import warnings
from html.parser import HTMLParser

import jax
import matplotlib
import matplotlib.image
import numpy as np
import pytest

from lejepa_jax.evaluation.results import Picture, Results, by_score
from lejepa_jax.report.drawing import note
from lejepa_jax.report.embedding import embedding_pictures
from lejepa_jax.report.metric import Metric
from lejepa_jax.report.page import write_report

KEY = jax.random.key(0)
N, D, CLASSES = 48, 5, 3
RNG = np.random.default_rng(0)
LABELS = (np.arange(N) % CLASSES).astype(np.int32)
# Three tight groups far apart, in directions that the cosine tells apart.
FEATURES = (10 * np.eye(CLASSES, D)[LABELS] + 0.1 * RNG.normal(size=(N, D))).astype(np.float32)
IMAGES = RNG.integers(0, 256, (N, 6, 6, 3), dtype=np.uint8)
BEFORE = (0.2 * RNG.normal(size=(N, D))).astype(np.float32)
AFTER = RNG.normal(size=(N, D)).astype(np.float32)
ROWS = [
    {"step": 10 * i, "loss": 2.0 / (i + 1), "prediction": 1.0 / (i + 1), "sigreg": 5.0 / (i + 1)}
    | {"learning_rate": 1e-3, "examples_per_second": 100.0 + i, "seconds_per_step": 0.5}
    for i in range(4)
]
METRICS = {
    "prediction": Metric("Prediction", progress=True),
    "sigreg": Metric("SIGReg", log_scale=True, reference=1.0525, reference_name="N(0, I)"),
}
SCORES = by_score(
    {
        "encoder": {"knn": 0.98, "linear": 0.99, "few_shot_1": 0.7, "few_shot_1_std": 0.02},
        "untrained": {"knn": 0.9, "linear": 0.92, "few_shot_1": 0.5, "few_shot_1_std": 0.03},
        "pixels": {"knn": 0.97, "linear": 0.95},
    }
)
DIAGNOSTICS = {
    "encoder": {"rankme": 4.9, "sigreg": 1.5, "std_smallest": 0.9},
    "untrained": {"rankme": 2.0},
    "sigreg_null": 1.0525,
}
DETAILS = {
    "confusion": {"encoder": [[5, 1, 0], [0, 6, 0], [0, 0, 4]]},
    "class_names": ["a<b", "$x", "c"],
}


class Page(HTMLParser):
    """What a browser would fetch, and the text it would show."""

    def __init__(self, source):
        super().__init__()
        self.sources, self.headings, self.tags, self.text, self.here = [], [], set(), "", None
        self.policy = None
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.here = tag
        if tag == "meta" and ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"]
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_data(self, data):
        if self.here == "h2" and data.strip():
            self.headings.append(data)
        if self.here != "style":
            self.text += data


def write(path, **changes):
    bare = {"title": "t", "config": {}, "rows": [], "metrics": {}, "results": Results()}
    write_report(path, **{**bare, **changes})
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    settings = dict(matplotlib.rcParams)
    pictures = embedding_pictures(
        KEY,
        embeddings={"before": BEFORE, "after": AFTER},
        features=FEATURES,
        labels=LABELS,
        images=IMAGES,
        class_names=["a<b", "$x", "c"],
        patch_features=RNG.normal(size=(2, 3, 3, D)).astype(np.float32),
        null_mean=1.0525,
    )
    returned = write_report(
        path,
        title="<script>alert(1)</script> & more",
        config={"recipe": "digits", "model": {"width": 64, "note": "<b>"}},
        rows=ROWS,
        metrics=METRICS,
        results=Results(SCORES, DIAGNOSTICS, DETAILS, pictures),
        facts={"training examples": "1,234", "source": "<i>folder</i>"},
        usage="model = load('<run>')",
    )
    assert returned == path
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    assert dict(matplotlib.rcParams) == settings
    return Page(path.read_text(encoding="utf-8"))


def test_the_report_has_every_part_and_fetches_nothing(page):
    assert page.headings == [
        "Results on held-out data",
        "What this says, and what to try",
        "Diagnostics",
        "Errors by class: encoder",
        "Training",
        "Slices of the embedding",
        "Covariance spectrum of the embedding",
        "Map of the features",
        "Nearest neighbors",
        "Patch features",
        "Use the model",
        "Data",
        "Speed",
        "Configuration",
        "Versions",
    ]
    assert len(page.sources) == 6
    assert all(source.startswith("data:image/") for source in page.sources)
    assert not page.tags & {"script", "link", "iframe", "object"}
    assert page.policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


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
    assert "<i>folder</i>" in page.text
    assert "load('<run>')" in page.text
    assert not page.tags & {"b", "i", "run"}


def test_numbers_of_the_table_are_in_percent_with_their_std_and_lead(page):
    for text in ("98.0", "70.0 ± 2.0", "50.0 ± 3.0", "+1.0", "+4.0", "4.9", "1.052"):
        assert text in page.text


def test_the_report_says_what_it_shows(page):
    assert "after step 30: loss 0.5, prediction 0.25." in page.text
    assert "Embeddings are round" in page.text
    assert "SIGReg: N(0, I) at 1.05" in page.text
    assert "a<b" in page.text
    assert "1,234" in page.text


def test_a_run_without_labels_or_curves_or_pictures_still_has_a_report(tmp_path):
    rows = [{"step": 0, "loss": float("nan")}, {"step": 1}]
    assert write(tmp_path / "bare.html", rows=rows).headings == ["Versions"]
    pictures = embedding_pictures(KEY, features=FEATURES, images=IMAGES)
    page = write(tmp_path / "bare.html", results=Results(pictures=pictures))
    assert page.headings[:2] == ["Map of the features", "Nearest neighbors"]
    assert "class" not in page.text


def test_without_labels_the_page_begins_with_the_numbers_that_need_none(tmp_path):
    page = write(tmp_path / "page.html", results=Results({}, {"encoder": {"rankme": 30.25}}))
    assert page.headings[0] == "Results on held-out data, without labels"
    assert "30.25" in page.text


def test_pictures_are_drawn_one_after_the_other_and_only_by_the_report(tmp_path):
    drawn = []
    pictures = [
        Picture(f"picture {i}", lambda i=i: drawn.append(i) or note("here"), "", vector=True)
        for i in range(3)
    ]
    results = Results(pictures=pictures)
    assert not drawn
    page = write(tmp_path / "drawn.html", results=results)
    assert drawn == [0, 1, 2]
    assert page.headings[:3] == ["picture 0", "picture 1", "picture 2"]


def test_names_of_classes_in_any_script_or_none_are_shown(tmp_path):
    # A folder whose name is not UTF-8 gives a lone surrogate; the font has no CJK.
    names = ["caf\udce9", "\u732b", "dog"]
    pictures = embedding_pictures(KEY, features=FEATURES, labels=LABELS, class_names=names)
    details = {"confusion": {"encoder": DETAILS["confusion"]["encoder"]}, "class_names": names}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = write(tmp_path / "names.html", results=Results({}, {}, details, pictures))
    assert "caf?" in page.text
    assert "\u732b" in page.text
