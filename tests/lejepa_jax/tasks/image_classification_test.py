import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from lejepa_jax.augment.mixing import mix_pairs
from lejepa_jax.augment.specs import ViewSpec
from lejepa_jax.data.images.arrays import from_arrays
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.results import run_evaluators
from lejepa_jax.nn.transformers.vision_transformer import ViT
from lejepa_jax.objectives.regularizers import covariance
from lejepa_jax.objectives.supervised import cross_entropy, soft_targets
from lejepa_jax.report.tables import results_table
from lejepa_jax.tasks.image_classification import ClassificationConfig
from lejepa_jax.tasks.image_pretraining import PretrainingConfig

CONFIG = ClassificationConfig(
    image_size=8,
    encoder=functools.partial(
        ViT, width=12, depth=1, num_heads=2, patch_size=4, image_size=8, drop_path=0.1
    ),
    encoding="spherical",
    view=ViewSpec(count=1, size=8, scale=(0.5, 1.0)),
    label_smoothing=0.1,
    mixup=0.8,
    cutmix=1.0,
    eval_size=8,
    eval_sizes=(12,),
    eval_batch_size=8,
)


def bright_and_dark(count=20):
    """Images of two classes, one of them brighter, and a few without a label."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = rng.integers(0, 60, (count, 8, 8, 3)) + 190 * labels[:, None, None, None]
    return images.astype(np.uint8), labels


def splits():
    images, labels = bright_and_dark()
    source = from_arrays(images, labels)
    return Splits("tiny", source, source, source.class_names, {})


# The mean over the global batch.


def value_and_grad(axis_name):
    regularized = dataclasses.replace(CONFIG, regularizer="covariance", regularizer_weight=0.5)
    task = regularized.build(splits(), axis_name=axis_name)

    def step(variables, key, batch):
        def loss(params):
            outputs, _ = task.encode(params, variables.state, key, batch)
            value, (_, metrics) = task.loss(params, variables.state, key, outputs, batch)
            return value, (metrics["accuracy"], metrics["regularizer"])

        result, gradient = jax.value_and_grad(loss, has_aux=True)(variables.params)
        return result, gradient if axis_name is None else jax.lax.pmean(gradient, axis_name)

    return task, step


@pytest.fixture(scope="module")
def one_device():
    task, step = value_and_grad(None)
    variables = jax.jit(task.init)(jax.random.key(0))
    # A head that starts at zero would hide what the encoder gets.
    head = jax.random.normal(jax.random.key(3), (12, 2))
    variables.params["head"]["kernel"] = head
    images, labels = bright_and_dark(8)
    batch = {
        "image": jnp.asarray(images),
        "label": jnp.asarray(labels, jnp.int32).at[3].set(-1),
        "index": jnp.arange(8),
        "aspect": jnp.ones(8),
    }
    return variables, batch, jax.jit(step)(variables, jax.random.key(1), batch)


def test_loss_accuracy_and_gradient_do_not_depend_on_the_number_of_devices(one_device):
    variables, batch, expected = one_device
    auto = (AxisType.Auto,)
    mesh = jax.make_mesh((4,), ("data",), axis_types=auto, devices=jax.devices()[:4])
    _, step = value_and_grad("data")
    mapped = jax.jit(jax.shard_map(step, mesh=mesh, in_specs=(P(), P(), P("data")), out_specs=P()))
    got = mapped(variables, jax.random.key(1), batch)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, got, expected)
    norms = [float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected[1])]
    assert max(norms) > 1e-3


def test_features_of_labeled_images_are_regularized_beside_the_classes(one_device):
    variables, batch, ((total, (_, value)), _) = one_device
    options = {"regularizer": "covariance", "regularizer_weight": 0.5}
    plain, regularized = (
        dataclasses.replace(CONFIG, **chosen).build(splits()) for chosen in ({}, options)
    )

    @jax.jit
    def expected(variables, key, batch):
        outputs, _ = regularized.encode(*variables, key, batch)
        without, (_, metrics) = plain.loss(*variables, key, outputs, batch)
        features = outputs["features"]
        return covariance(key, features, mask=batch["label"] >= 0), without, metrics

    wanted, without, metrics = expected(variables, jax.random.key(1), batch)
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    np.testing.assert_allclose(total, without + 0.5 * wanted, rtol=1e-5)
    assert "regularizer" in regularized.metrics
    assert "regularizer" not in {*plain.metrics, *metrics}


def test_a_wrong_regularizer_is_refused_before_anything_is_loaded():
    with pytest.raises(ValueError, match="regularizer must be one of sigreg"):
        dataclasses.replace(CONFIG, regularizer="weak")
    with pytest.raises(ValueError, match="regularizer_weight must not be negative, got -1"):
        dataclasses.replace(CONFIG, regularizer_weight=-1.0)


def test_an_odd_share_of_examples_cannot_be_paired(one_device):
    variables, batch, _ = one_device
    _, step = value_and_grad(None)
    odd = {name: array[:7] for name, array in batch.items()}
    with pytest.raises(ValueError, match="even number of examples a device, got 7"):
        jax.eval_shape(step, variables, jax.random.key(1), odd)


# Targets and mixing.


@given(st.integers(0, 2**31), st.floats(0, 0.9))
def test_cross_entropy_is_that_of_scipy_over_the_labeled_examples(seed, smoothing):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(5, 4)).astype(np.float32)
    labels = np.array([2, -1, 0, 3, 3])
    targets = soft_targets(jnp.asarray(labels, jnp.int32), 4, smoothing=smoothing)
    logs = scipy.special.log_softmax(logits.astype(np.float64), -1)
    own = -np.array([logs[i, y] for i, y in enumerate(labels) if y >= 0])
    everywhere = -logs[labels >= 0].mean(-1)
    expected = ((1 - smoothing) * own + smoothing * everywhere).mean()
    np.testing.assert_allclose(cross_entropy(jnp.asarray(logits), targets), expected, rtol=1e-5)


mix = jax.jit(mix_pairs, static_argnames=("mixup", "cutmix"))


@pytest.fixture(scope="module")
def mixed():
    """Black and white images in pairs: what is seen of the other is the mean gray."""
    keys = jax.random.split(jax.random.key(0), 64)
    own = (jnp.arange(64) % 2).astype(jnp.float32)
    images = jnp.broadcast_to(own[:, None, None, None], (64, 16, 16, 1))
    targets = jax.nn.one_hot(jnp.arange(64) % 2, 2)
    return {
        name: jax.tree.map(np.asarray, mix(keys, images, targets, **options))
        for name, options in {
            "mixup": {"mixup": 0.8},
            "cutmix": {"cutmix": 1.0},
            "both": {"mixup": 0.8, "cutmix": 1.0},
        }.items()
    }


@pytest.mark.parametrize("kind", ["mixup", "cutmix", "both"])
def test_targets_say_how_much_of_each_image_is_there(mixed, kind):
    images, targets = mixed[kind]
    np.testing.assert_allclose(images.mean((1, 2, 3)), targets[:, 1], atol=1e-5)
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    # Partners share their draw: together they show each image once.
    np.testing.assert_allclose(images[::2] + images[1::2], 1, atol=1e-6)
    assert targets[::2, 1].std() > 0.1


def test_mixup_blends_all_pixels_alike_cutmix_none_and_both_do_either(mixed):
    blended = {kind: images.std((1, 2, 3)) < 1e-6 for kind, (images, _) in mixed.items()}
    assert blended["mixup"].all()
    cut = mixed["cutmix"][0]
    assert set(np.unique(cut)) == {0.0, 1.0}
    assert (~blended["cutmix"]).mean() > 0
    whole = np.isin(mixed["both"][0], [0.0, 1.0]).all((1, 2, 3))
    assert 0.2 < whole.mean() < 0.8


# The task.


def test_bright_and_dark_are_learned_and_tested_at_two_sizes_with_and_without_weights():
    config = dataclasses.replace(CONFIG, mixup=0.0, cutmix=0.0, label_smoothing=0.0)
    data = splits()
    task = config.build(data)
    untrained = jax.jit(task.init)(jax.random.key(0))
    batch = {k: jnp.asarray(v) for k, v in data.train.gather(np.arange(20)).items()}

    @jax.jit
    def step(params):
        def loss(params):
            outputs, _ = task.encode(params, {}, jax.random.key(1), batch)
            return task.loss(params, {}, jax.random.key(1), outputs, batch)[0]

        return jax.tree.map(lambda p, g: p - 0.3 * g, params, jax.grad(loss)(params))

    params = untrained.params
    for _ in range(20):
        params = step(params)
    both = {"encoder": untrained._replace(params=params), "untrained": untrained}
    found = run_evaluators(task.evaluators, jax.random.key(2), both, data, lambda batch: batch)
    accuracy = found.scores["accuracy"]
    assert list(accuracy) == ["encoder", "encoder, 12 px", "encoder, 12 px, weighted", "untrained"]
    assert accuracy["encoder"] == accuracy["encoder, 12 px"] == 1
    assert accuracy["untrained"] == 0.5
    losses = found.diagnostics["loss"]
    np.testing.assert_allclose(losses["untrained"], np.log(2), rtol=1e-5)
    assert losses["encoder, 12 px"] != losses["encoder, 12 px, weighted"]
    assert results_table(found).row_count == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_smoothing": 1.0}, "label_smoothing must be in [0, 1), got 1.0"),
        ({"mixup": -1.0}, "mixup must not be negative, got -1.0"),
        ({"view": ViewSpec(count=2, size=8)}, "view must draw 1 view of an image, got count=2"),
        ({"eval_sizes": (0,)}, "eval_sizes must be"),
        ({"encoding": "spheric"}, "encoding must be one of none, learned_absolute,"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        dataclasses.replace(CONFIG, **options).build(splits())


def test_pretraining_and_classification_hand_the_encoding_to_the_encoder():
    pretraining = PretrainingConfig(
        image_size=8, encoder=CONFIG.encoder, views=(CONFIG.view,), num_global=1
    )
    wider = functools.partial(CONFIG.encoder, width=24)
    for config in (CONFIG, pretraining):
        learned = {}
        for encoding in ("axial", "mixed"):
            own = dataclasses.replace(config, encoder=wider, encoding=encoding)
            task = own.build(splits())
            encoder = jax.eval_shape(task.init, jax.random.key(0)).params["encoder"]
            learned[encoding] = encoder.get("position_params", {})
        assert not learned["axial"]
        assert learned["mixed"]["frequencies"].shape == (1, 2, 2, 6)
