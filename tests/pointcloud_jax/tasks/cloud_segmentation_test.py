"""Segmentation: it learns, its measure is the usual one, it does not see rotations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lejepa_jax.evaluation.results import run_evaluators
from lejepa_jax.report.page import write_report
from lejepa_jax.training.networks import merge_states
from pointcloud_jax.augment.views import PointViewSpec
from pointcloud_jax.nn.dgcnn import VNDGCNN
from pointcloud_jax.tasks.cloud_segmentation import SegmentationConfig
from pointcloud_jax.tasks.scores import call_parts, part_iou

CONFIG = SegmentationConfig(
    networks={"vectors": functools.partial(VNDGCNN, (4,), embedding=4, k=4)},
    view=PointViewSpec(1, 14, rotation="axis"),
    stored_points=16,
    hidden=(8, 8),
    dropout_rate=0.1,
    label_smoothing=0.0,
    eval_rotations=1,
    eval_batch_size=8,
    votes=2,
)


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """Balls of category 0 have a core and a shell; of category 1 one part; some points unknown."""
    rng = np.random.default_rng(0)
    label = np.arange(24) % 2
    points = rng.normal(size=(24, 16, 3))
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    inner = np.arange(16) < 8
    points[label == 0] *= np.where(inner, 0.2, 1)[:, None]
    part = np.where(label[:, None] == 0, inner[None], 2)
    part[0, :3] = -1
    file = tmp_path_factory.mktemp("set") / "a.npz"
    arrays = {"part_class": np.array([0, 0, 1]), "is_test": np.arange(24) >= 16}
    np.savez(file, points=points, category=label, part=part, **arrays)
    return CONFIG.load(str(file))


@pytest.mark.slow
def test_parts_are_learned_and_do_not_change_when_the_cloud_turns(splits, tmp_path):
    task = CONFIG.build(splits)
    initial = variables = task.init(jax.random.key(0))
    optimizer = optax.adam(0.02)
    moments = optimizer.init(variables.params)
    batch = {k: jnp.asarray(v) for k, v in splits.train.gather(np.arange(16)).items()}

    def whole_loss(params, state, key):
        outputs, encoders = task.encode(params, state, key, batch)
        value, (heads, metrics) = task.loss(params, state, key, outputs, batch)
        return value, (merge_states(state, encoders, heads), metrics)

    @jax.jit
    def step(variables, moments, key):
        (value, (state, metrics)), gradient = jax.value_and_grad(whole_loss, has_aux=True)(
            *variables, key
        )
        with jax.numpy_dtype_promotion("standard"):
            updates, moments = optimizer.update(gradient, moments)
        variables = type(variables)(optax.apply_updates(variables.params, updates), state)
        return variables, moments, {"loss": value, **metrics}

    history = []
    for number in range(60):
        key = jax.random.fold_in(jax.random.key(1), number)
        variables, moments, row = step(variables, moments, key)
        history.append(row)
    assert set(row) == {"loss", "accuracy"}
    assert row["loss"] < 0.3 * history[0]["loss"]

    place = lambda batch: {k: jnp.asarray(v) for k, v in batch.items()}  # noqa: E731
    both = {"encoder": variables, "untrained": initial}
    found = run_evaluators(task.evaluators, jax.random.key(3), both, splits, place)
    results = found.as_json()
    for measure in ("instance mIoU", "class mIoU", "points"):
        upright, turned = (results[f"z/{p}, {measure}"]["vectors"] for p in ("I", "SO(3)"))
        assert upright == turned > 0.8
    assert results["diagnostics"]["vectors"]["change, z/SO(3)"] < 1e-4
    path = tmp_path / "r.html"
    write_report(path, title="Balls", config={}, rows=[], metrics=task.metrics, results=found)
    page = path.read_text()
    assert "mIoU" in page
    assert "<h2>Parts</h2>" in page


def test_the_measure_agrees_with_a_count_by_hand():
    parts = np.array([3, 4, 5])
    assert part_iou(np.array([3, 3, 4, 4]), np.array([3, 3, 4, 4]), parts) == 1
    # 3: one of three; 4: one of three; 5: in neither.
    called, true = np.array([3, 3, 4, 4]), np.array([3, 4, 4, 3])
    np.testing.assert_allclose(part_iou(called, true, parts), (1 / 3 + 1 / 3 + 1) / 3)
    assert part_iou(np.array([5, 5]), np.array([3, 4]), parts) == 0


def test_only_parts_of_the_category_are_called():
    rng = np.random.default_rng(0)
    part_class, labels = np.array([0, 0, 1, 2, 2, 2]), np.array([2, 0, 1])
    called = call_parts(rng.normal(size=(3, 50, 6)), labels, part_class)
    np.testing.assert_array_equal(part_class[called], np.repeat(labels[:, None], 50, 1))
    assert len(np.unique(called[0])) == 3
