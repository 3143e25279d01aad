"""Classification of clouds: one step on any number of devices, protocols, what is reported."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from lejepa_jax.evaluation.results import run_evaluators
from lejepa_jax.objectives.regularizers import covariance
from lejepa_jax.report.page import write_report
from lejepa_jax.training.networks import merge_states
from pointcloud_jax.augment.views import PointViewSpec
from pointcloud_jax.nn.dgcnn import DGCNN, VNDGCNN
from pointcloud_jax.tasks.cloud_classification import ClassificationConfig, classification_task
from pointcloud_jax.tasks.rotation_protocols import apply_protocol
from pointcloud_jax.tasks.scores import confusion_matrix

CONFIG = ClassificationConfig(
    networks={
        "vectors": functools.partial(VNDGCNN, (4,), embedding=4, k=4),
        "plain": functools.partial(DGCNN, (4,), embedding=8, k=4),
    },
    view=PointViewSpec(1, 12, rotation="axis", dropout=(0.0, 0.2), scale=(0.9, 1.1)),
    stored_points=16,
    hidden=(6,),
    dropout_rate=0.1,
    eval_rotations=2,
    eval_batch_size=16,
)


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """Rods and plates; a few clouds have no class."""
    rng = np.random.default_rng(0)
    label = np.arange(40) % 2
    stretch = np.where(label[:, None, None] == 0, [[0.1, 0.1, 1.0]], [[1.0, 1.0, 0.1]])
    label[[3, 4]] = -1
    file = tmp_path_factory.mktemp("set") / "a.npz"
    np.savez(
        file,
        points=rng.normal(size=(40, 16, 3)) * stretch,
        label=label,
        class_names=["rod", "plate"],
        is_test=np.arange(40) >= 20,
    )
    return CONFIG.load(str(file))


@pytest.fixture(scope="module")
def task(splits):
    return CONFIG.build(splits)


@pytest.fixture(scope="module")
def initial(task):
    return task.init(jax.random.key(0))


def whole_loss(task, params, state, key, batch):
    outputs, encoders = task.encode(params, state, key, batch)
    value, (heads, metrics) = task.loss(params, state, key, outputs, batch)
    return value, (merge_states(state, encoders, heads), metrics)


@pytest.fixture(scope="module")
def trained(task, splits, initial):
    """Some steps of Adam, one compilation for all tests of it."""
    optimizer = optax.adam(0.01)
    batch = {k: jnp.asarray(v) for k, v in splits.train.gather(np.arange(16)).items()}

    @jax.jit
    def step(variables, moments, key):
        function = jax.value_and_grad(functools.partial(whole_loss, task), has_aux=True)
        (value, (state, metrics)), slope = function(*variables, key, batch)
        with jax.numpy_dtype_promotion("standard"):
            updates, moments = optimizer.update(slope, moments)
        params = optax.apply_updates(variables.params, updates)
        return type(variables)(params, state), moments, value, metrics

    variables, moments, history = initial, optimizer.init(initial.params), []
    for number in range(80):
        key = jax.random.fold_in(jax.random.key(1), number)
        variables, moments, value, metrics = step(variables, moments, key)
        history.append({"loss": value, **metrics})
    return variables, history


def test_clouds_without_a_class_are_left_out(splits):
    assert (len(splits.train), len(splits.test)) == (18, 20)
    assert (splits.train.labels >= 0).all()


def test_training_lowers_the_loss_of_every_network(trained):
    _, history = trained
    first, last = history[0], history[-1]
    names = {f"{a}_{b}" for a in ("loss", "accuracy") for b in CONFIG.networks}
    assert set(first) == {"loss", *names}
    for name in CONFIG.networks:
        assert last[f"loss_{name}"] < first[f"loss_{name}"]
        assert np.mean([row[f"accuracy_{name}"] for row in history[-5:]]) > 0.8
    np.testing.assert_allclose(last["loss"], last["loss_vectors"] + last["loss_plain"], rtol=1e-5)


@pytest.mark.slow
def test_the_loss_and_its_gradient_do_not_depend_on_the_number_of_devices(splits):
    # One network of the two, which halves what is compiled; vectors have their own such test.
    config = dataclasses.replace(CONFIG, networks={"plain": CONFIG.networks["plain"]})
    spread, alone = config.build(splits, axis_name="data"), config.build(splits)
    initial = alone.init(jax.random.key(0))
    batch = {k: jnp.asarray(v) for k, v in splits.train.gather(np.arange(16)).items()}
    # One device has a cloud without a class, so their shares do not count alike.
    batch["label"] = batch["label"].at[0].set(-1)
    key = jax.random.key(2)

    def slope(task, params, batch):
        def value(params):
            return whole_loss(task, params, initial.state, key, batch)

        return jax.value_and_grad(value, has_aux=True)(params)

    def on_devices(params, batch):
        (value, aux), gradient = slope(spread, params, batch)
        return (value, aux), jax.lax.pmean(gradient, "data")

    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    mapped = jax.shard_map(on_devices, mesh=mesh, in_specs=(P(), P("data")), out_specs=P())
    got = jax.jit(mapped)(initial.params, batch)
    want = jax.jit(functools.partial(slope, alone))(initial.params, batch)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, atol=5e-3 * abs(other).max() + 1e-5)


@pytest.mark.slow
def test_an_invariant_network_scores_alike_under_every_protocol(
    trained, splits, initial, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "pointcloud_jax.tasks.cloud_classification._DAMAGE", {"lost": ("dropout", (0.0, 0.5))}
    )
    config = dataclasses.replace(CONFIG, robustness=True, votes=2, eval_densities=(12, 16))
    task = classification_task(config, num_classes=2)
    place = lambda batch: {k: jnp.asarray(v) for k, v in batch.items()}  # noqa: E731
    both = {"encoder": trained[0], "untrained": initial}
    found = run_evaluators(task.evaluators, jax.random.key(3), both, splits, place)
    results = found.as_json()
    change = results["diagnostics"]
    assert {"z/I", "z/z", "z/SO(3)", "z/SO(3)_std"} <= set(results)
    for protocol in ("z/z", "z/SO(3)"):
        # Alike, however well it has learned: that is another test.
        assert results[protocol]["vectors"] == results["z/I"]["vectors"]
        assert change["vectors"][f"change, {protocol}"] < 1e-4
        assert change["plain"][f"change, {protocol}"] > 1e-2
    assert results["z/SO(3)_std"]["vectors"] == 0
    assert results["z/SO(3), 12 points"] == pytest.approx(results["z/SO(3)"], abs=0.5)
    assert results["z/SO(3), 12 points"]["vectors"] == results["z/SO(3)"]["vectors"]
    assert "z/SO(3), 16 points" in results
    # As many of each class are held out.
    np.testing.assert_allclose(
        change["plain"]["class mean, z/I"], results["z/I"]["plain"], rtol=1e-6
    )
    for matrix in results["confusion"].values():
        assert np.sum(matrix) == 20
    curves = results["robustness"]
    assert set(curves) == {"lost"}
    assert curves["lost"]["vectors"][0.0] == results["z/SO(3)"]["vectors"]
    path = tmp_path / "report.html"
    config, metrics = {"a": 1}, task.metrics
    write_report(path, title="Rods", config=config, rows=[], metrics=metrics, results=found)
    text = path.read_text()
    assert all(wanted in text for wanted in ("plain", "<h2>Confusion</h2>", "<h2>Robustness</h2>"))


def test_confusion_counts_every_pair():
    rng = np.random.default_rng(0)
    true, called = rng.integers(0, 4, (2, 50))
    counts = confusion_matrix(true, called, 4)
    for i in range(4):
        for j in range(4):
            assert counts[i, j] == ((true == i) & (called == j)).sum()


@pytest.mark.slow
def test_rotations_of_held_out_clouds_depend_on_seed_draw_and_index_alone():
    points = np.random.default_rng(0).normal(size=(3, 8, 3)).astype(np.float32)
    batch = {"points": jnp.asarray(points), "index": jnp.arange(3)}
    show = jax.jit(apply_protocol, static_argnames=("spec", "rotation"))
    spec = PointViewSpec(1, 8, up=(0.0, 1.0, 0.0))

    def seen(batch, draw, rotation, seed=0):
        views, _ = show(jax.random.key(seed), batch, jnp.int32(draw), spec=spec, rotation=rotation)
        back = jnp.argsort(views.index[0], axis=-1)[..., None]
        return np.asarray(jnp.take_along_axis(views.points[0], back, axis=1))

    np.testing.assert_array_equal(seen(batch, 0, "none"), points)
    about = seen(batch, 0, "axis")
    np.testing.assert_allclose(about[..., 1], points[..., 1], atol=1e-5)
    assert abs(about[..., 0] - points[..., 0]).max() > 0.1
    turned = seen(batch, 0, "so3")
    np.testing.assert_allclose(
        turned @ turned.swapaxes(1, 2), points @ points.swapaxes(1, 2), atol=1e-5
    )
    assert abs(seen(batch, 1, "so3") - turned).max() > 0.1
    last = {"points": batch["points"][2:], "index": batch["index"][2:]}
    np.testing.assert_allclose(seen(last, 0, "so3"), turned[2:], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"networks": {}}, "networks must name at least one encoder"),
        ({"view": PointViewSpec(2, 12)}, "view must draw 1 view of a cloud, got count=2"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
        ({"votes": 0}, "votes must be positive, got 0"),
    ],
)
def test_bad_configurations_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **change)
    with pytest.raises(ValueError, match="precision must be float32"):
        classification_task(CONFIG, num_classes=2, dtype=jnp.bfloat16)


def test_features_of_each_network_are_regularized_beside_the_classes(splits, task, initial):
    own = dataclasses.replace(CONFIG, regularizer="covariance", regularizer_weight=0.5)
    own = own.build(splits)
    rng = np.random.default_rng(0)
    widths = {"vectors": 48, "plain": 16}
    outputs = {n: jnp.asarray(rng.normal(size=(8, w)), jnp.float32) for n, w in widths.items()}
    batch = {k: jnp.asarray(v) for k, v in splits.train.gather(np.arange(8)).items()}
    batch["label"] = batch["label"].at[0].set(-1)

    @jax.jit
    def losses(variables, key, outputs, batch):
        with_, (_, metrics) = own.loss(*variables, key, outputs, batch)
        without, _ = task.loss(*variables, key, outputs, batch)
        counts = batch["label"] >= 0
        return with_, without, metrics, [covariance(key, outputs[n], mask=counts) for n in widths]

    with_, without, metrics, values = losses(initial, jax.random.key(1), outputs, batch)
    found = [metrics["regularizer_vectors"], metrics["regularizer_plain"]]
    np.testing.assert_allclose(found, values, rtol=1e-5)
    np.testing.assert_allclose(with_, without + 0.5 * sum(values), rtol=1e-5)
    assert "regularizer_plain" in own.metrics


def test_a_wrong_regularizer_is_refused_before_anything_is_loaded():
    with pytest.raises(ValueError, match="regularizer must be one of sigreg"):
        dataclasses.replace(CONFIG, regularizer="weak")
    with pytest.raises(ValueError, match="regularizer_weight must not be negative, got -1"):
        dataclasses.replace(CONFIG, regularizer_weight=-1.0)
