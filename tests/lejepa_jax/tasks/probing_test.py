"""What the evaluator of LeJEPA reads: last layers, LiDAR, errors by class, the training part."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.augment.presets import digits_view
from lejepa_jax.data.images.arrays import from_arrays
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.quick import run_quick_evaluators
from lejepa_jax.evaluation.results import run_evaluators
from lejepa_jax.nn.convolutions.residual_network import ResNet
from lejepa_jax.nn.transformers.vision_transformer import ViT
from lejepa_jax.statistics.normality import epps_pulley
from lejepa_jax.tasks.embeddings import point_statistic
from lejepa_jax.tasks.image_pretraining import PretrainingConfig

CONFIG = PretrainingConfig(
    image_size=8,
    encoder=functools.partial(ViT, width=8, depth=2, num_heads=2, patch_size=4, image_size=8),
    views=(digits_view(2, 8),),
    num_global=2,
    embedding_features=4,
    hidden_features=8,
    projector_layers=2,
    num_slices=8,
    eval_size=8,
    eval_batch_size=16,
    knn_k=3,
    probe_layers=2,
    lidar_examples=12,
    dense_probe=True,
)


class Flat(nnx.Module):
    """An encoder that knows no patches."""

    def __init__(self, *, in_channels, dtype, axis_name, rngs):
        self.features = 6
        self.map = nnx.Linear(64 * in_channels, 6, rngs=rngs)

    def __call__(self, images, *, train=False, keys=None):
        return self.map(images.reshape(len(images), -1))


@pytest.fixture(scope="module")
def splits():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    images = rng.integers(0, 100, (60, 8, 8, 1)) + 150 * labels[:, None, None, None]
    images = images.astype(np.uint8)
    train, test = from_arrays(images[:40], labels[:40]), from_arrays(images[40:], labels[40:])
    return Splits("tiny", train, test, ("dark", "bright"), {})


@pytest.fixture(scope="module")
def evaluated(splits):
    task = CONFIG.build(splits)
    variables = jax.jit(task.init)(jax.random.key(0))
    both, place = {"encoder": variables}, lambda batch: jax.tree.map(jnp.asarray, dict(batch))
    return task, run_evaluators(task.evaluators, jax.random.key(1), both, splits, place)


def test_bright_and_dark_are_told_apart_and_the_errors_of_each_class_are_kept(evaluated):
    _, found = evaluated
    assert found.scores["linear"]["encoder"] == 1
    assert found.details["confusion"]["encoder"] == [[10, 0], [0, 10]]
    assert found.details["class_names"] == ["dark", "bright"]


def test_features_of_the_last_two_layers_are_probed_side_by_side(evaluated, splits):
    _, found = evaluated
    # An effective rank is at most the number of features: one layer has 8, and these are 16.
    assert found.diagnostics["encoder"]["features_rankme"] > 1
    resnet = functools.partial(ResNet, stage_sizes=(1,), width=4, stem="small")
    config = dataclasses.replace(CONFIG, encoder=resnet)
    with pytest.raises(ValueError, match="probe_layers must be 1 with an encoder whose layers"):
        config.build(splits)


def test_lidar_is_computed_if_asked_for_and_between_one_and_the_width(evaluated, splits):
    task, found = evaluated
    assert set(task.evaluators) == {"probes", "lidar", "dense"}
    assert 1 <= found.diagnostics["encoder"]["lidar"] <= CONFIG.embedding_features
    without = dataclasses.replace(CONFIG, lidar_examples=0, dense_probe=False).build(splits)
    assert set(without.evaluators) == {"probes"}


def test_patch_features_are_probed_pixel_by_pixel_if_asked_for(evaluated, splits):
    _, found = evaluated
    assert set(found.scores["dense_miou"]) == {"encoder", "pixels"}
    assert all(0 < score < 1 for score in found.scores["dense_miou"].values())
    picture = found.pictures[-1]
    assert picture.title == "Linear segmentation"
    assert len(picture.draw().axes) == 18
    flat = dataclasses.replace(CONFIG, encoder=Flat, probe_layers=1)
    with pytest.raises(ValueError, match="dense_probe must be off with an encoder that has no"):
        flat.build(splits)


def test_what_is_watched_is_of_a_fixed_subset_and_named_as_its_metrics(evaluated, splits):
    task, _ = evaluated
    few = dataclasses.replace(CONFIG, quick_examples=12).build(splits)
    variables = jax.jit(task.init)(jax.random.key(0))
    place = lambda batch: jax.tree.map(jnp.asarray, dict(batch))  # noqa: E731
    sizes = []

    def counted(batch):
        sizes.append(int(np.unique(batch["index"]).size))
        return place(batch)

    key = jax.random.key(1)
    found = run_quick_evaluators(few.quick_evaluators, key, variables, splits, counted)
    assert sizes == [12, 16, 8]  # 12 held-out ones, twice as many to fit probes
    assert set(found) == {name for name in few.metrics if name.startswith("eval/")}
    assert found["eval/linear"] == 1
    again = run_quick_evaluators(few.quick_evaluators, key, variables, splits, place)
    assert found == again
    unlabeled = Splits(
        "tiny", *(from_arrays(s.gather(np.arange(20))["image"]) for s in splits[1:3]), (), {}
    )
    found = run_quick_evaluators(few.quick_evaluators, key, variables, unlabeled, place)
    assert not {"eval/knn", "eval/linear"} & set(found)
    assert 1 <= found["eval/rankme"] <= CONFIG.embedding_features


def test_another_regularizer_is_measured_on_held_out_examples_beside_sigreg(splits):
    own = dataclasses.replace(CONFIG, regularizer="visreg", quick_examples=12)
    task = own.build(splits)
    variables = jax.jit(task.init)(jax.random.key(0))
    place = lambda batch: jax.tree.map(jnp.asarray, dict(batch))  # noqa: E731
    key = jax.random.key(1)
    found = run_quick_evaluators(task.quick_evaluators, key, variables, splits, place)
    assert set(found) == {name for name in task.metrics if name.startswith("eval/")}
    assert found["eval/regularizer"] > 0
    # An untrained network is far from normal samples.
    assert found["eval/regularizer_ratio"] > 2


def test_a_collapse_is_judged_by_sigreg_where_embeddings_are_drawn_to_normal_ones():
    def point(name):
        config = dataclasses.replace(CONFIG, regularizer=name)
        regularizer = config.make_regularizer()
        return point_statistic(jax.random.key(0), epps_pulley, regularizer, (500, 16))

    for name in ("sigreg", "visreg", "sphere", "covariance"):
        # As many copies of 0: 0.402 an example.
        assert point(name)["sigreg_collapsed"] == pytest.approx(201, rel=0.01), name
    assert point("rdmreg") == {}  # rectified: half of it is exactly 0


def test_the_encoder_is_measured_on_as_many_training_examples_as_are_held_out(evaluated):
    _, found = evaluated
    fitted, held_out = (found.diagnostics[name] for name in ("encoder, training data", "encoder"))
    assert fitted["examples"] == held_out["examples"] == 20
    assert fitted["sigreg"] != held_out["sigreg"]


def test_a_metric_says_when_embeddings_collapse_and_what_round_is(splits):
    metrics = CONFIG.build(splits).metrics
    assert metrics["embedding_std"].warn_below == 0.1
    assert metrics["sigreg"].reference == pytest.approx(1.0525, abs=1e-3)
    key, zeros = jax.random.key(0), jnp.zeros((16, 2, 8))
    task = CONFIG.build(splits)
    params, state = jax.jit(task.init)(key)
    params = jax.tree.map(jnp.zeros_like, params)
    _, (_, logged) = jax.jit(task.loss)(params, state, key, zeros, {})
    assert float(logged["embedding_std"]) == 0
    assert set(logged) == {name for name in metrics if not name.startswith("eval/")}
