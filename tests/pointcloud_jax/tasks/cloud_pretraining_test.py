"""LeJEPA on clouds: views, probes under rotations, what an invariant encoder sees."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.evaluation.results import run_evaluators
from pointcloud_jax.augment.views import PointViewSpec
from pointcloud_jax.nn.dgcnn import DGCNN, VNDGCNN
from pointcloud_jax.tasks.cloud_pretraining import CloudPretrainingConfig

CONFIG = CloudPretrainingConfig(
    encoder=functools.partial(VNDGCNN, (4,), embedding=4, k=4),
    views=(
        PointViewSpec(2, 12, rotation="so3", crop=(0.7, 1.0)),
        PointViewSpec(1, 8, rotation="so3", crop=(0.4, 0.6)),
    ),
    num_global=2,
    embedding_features=4,
    hidden_features=8,
    projector_layers=2,
    num_slices=8,
    stored_points=16,
    eval_points=12,
    eval_batch_size=8,
    knn_k=3,
)


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """Rods and plates, some of them without a class."""
    rng = np.random.default_rng(0)
    label = np.arange(32) % 2
    stretch = np.where(label[:, None, None] == 0, [[0.1, 0.1, 1.0]], [[1.0, 1.0, 0.1]])
    label[[3, 4]] = -1
    file = tmp_path_factory.mktemp("set") / "a.npz"
    points = rng.normal(size=(32, 16, 3)) * stretch
    np.savez(file, points=points, label=label, is_test=np.arange(32) >= 24)
    return CONFIG.load(str(file))


@pytest.mark.slow
def test_all_clouds_are_learned_from_and_the_loss_can_be_derived(splits):
    assert len(splits.train) == 24
    task = CONFIG.build(splits)
    variables = task.init(jax.random.key(0))
    batch = {k: jnp.asarray(v) for k, v in splits.train.gather(np.arange(8)).items()}

    @jax.jit
    def slope(params):
        def whole(params):
            features, _ = task.encode(params, variables.state, jax.random.key(1), batch)
            value, (_, metrics) = task.loss(
                params, variables.state, jax.random.key(1), features, batch
            )
            return value, (features, metrics)

        return jax.value_and_grad(whole, has_aux=True)(params)

    (value, (features, metrics)), gradient = slope(variables.params)
    assert features.shape == (8, 3, 48)
    assert {"prediction", "sigreg"} <= set(metrics)
    assert np.isfinite(value)
    assert all(leaf.any() for leaf in jax.tree.leaves(gradient["encoder"]["encoder"]["frame"]))


@pytest.mark.slow
def test_probes_tell_how_clouds_were_turned_and_an_invariant_encoder_does_not_mind(splits):
    task = CONFIG.build(splits)
    variables = task.init(jax.random.key(0))
    place = lambda batch: {k: jnp.asarray(v) for k, v in batch.items()}  # noqa: E731
    both = {"encoder": variables, "untrained": variables}
    found = run_evaluators(task.evaluators, jax.random.key(3), both, splits, place)
    results = found.as_json()
    sources = set(results["knn"])
    assert {"encoder", "encoder, SO(3)", "untrained", "degree spectrum"} <= sources
    assert results["knn"]["encoder"] == results["knn"]["encoder, SO(3)"]
    assert results["knn"]["degree spectrum"] > 0.8


def test_a_plain_encoder_takes_the_same_views(splits):
    config = dataclasses.replace(CONFIG, encoder=functools.partial(DGCNN, (4,), embedding=4, k=4))
    task = config.build(splits)
    batch = {k: jnp.asarray(v) for k, v in splits.train.gather(np.arange(4)).items()}
    params, state = jax.eval_shape(task.init, jax.random.key(0))
    key = jax.random.key(1)
    features, _ = jax.eval_shape(lambda p, s: task.encode(p, s, key, batch), params, state)
    assert features.shape == (4, 3, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_global": 4}, "num_global must be between 1 and 3 views, got 4"),
        ({"eval_rotations": ("any",)}, "eval_rotations must be one of none, axis, so3"),
        ({"eval_rotations": ()}, "eval_rotations must name at least one rotation"),
        ({"eval_points": 0}, "eval_points must be positive, got 0"),
    ],
)
def test_bad_configurations_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **change)
