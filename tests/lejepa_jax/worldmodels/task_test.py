"""A world model as a task: its loss, on any number of devices, and what is measured of it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from lejepa_jax.augment import eval_view
from lejepa_jax.evaluation.quick import run_quick_evaluators
from lejepa_jax.evaluation.results import run_evaluators
from lejepa_jax.worldmodels.config import WorldModelConfig
from lejepa_jax.worldmodels.evaluation.probes import r2_scores, ridge_predict
from lejepa_jax.worldmodels.frames import normalize_frames
from lejepa_jax.worldmodels.trajectories import Trajectories, split_windows

CONFIG = functools.partial(
    WorldModelConfig,
    network="tiny(latent_features=6, hidden_features=8, width=8, inner_width=8, mlp_width=8, "
    "num_heads=2, action_hidden=8, dropout_rate=0.25, history=2)",
    encoder="convnet-tiny(widths=(4, 4), features=6)",
    image_size=8,
    num_frames=4,
    action_block=2,
    prediction_steps=2,
    num_slices=8,
    inverse_weight=0.5,
    straightening_weight=0.25,
    eval_batch_size=32,
    probe_frames=64,
    quick_examples=16,
    plan_episodes=0,
)
KEY = jax.random.key(1)


@pytest.fixture(scope="module")
def splits():
    rng = np.random.default_rng(0)
    actions = rng.normal(size=(96, 2)).astype(np.float32)
    states = np.concatenate([np.cumsum(part, 0) for part in np.split(actions, 4)])
    frames = 255 / (1 + np.exp(-states[:, [0, 1, 0]]))[:, None, None]
    found = Trajectories(
        frames=np.broadcast_to(frames, (96, 8, 8, 3)).astype(np.uint8),
        actions=actions,
        episode_ends=24 * np.arange(1, 5),
        states=states.astype(np.float32),
        state_names=("x", "y"),
    )
    return split_windows("walk", found, num_frames=4, action_block=2, test_fraction=0.25)


def make_step(config, splits, axis_name=None):
    task = config.build(splits, dtype=jnp.float32, axis_name=axis_name)

    def step(variables, key, batch):
        def loss(params):
            outputs, _ = task.encode(params, variables.state, key, batch)
            value, (_, metrics) = task.loss(params, variables.state, key, outputs, batch)
            return value, metrics

        (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(variables.params)
        if axis_name is not None:
            gradient = jax.lax.pmean(gradient, axis_name)
        return value, metrics, gradient

    return task, step


@pytest.fixture(scope="module")
def one_device(splits):
    task, step = make_step(CONFIG(), splits)
    variables = jax.jit(task.init)(jax.random.key(0))
    # Gates that start at zero would hide the blocks.
    params = jax.tree.map(
        lambda x: x + 0.05 * jnp.cos(jnp.arange(x.size, dtype=jnp.float32)).reshape(x.shape),
        variables.params,
    )
    variables = variables._replace(params=params)
    batch = jax.tree.map(jnp.asarray, splits.train.gather(np.arange(8)))
    return task, variables, batch, jax.jit(step)(variables, KEY, batch)


def test_the_loss_is_the_sum_of_its_terms(one_device):
    task, _, _, (value, metrics, _) = one_device
    expected = (metrics["prediction"] + metrics["rollout"]) / 2 + 0.09 * metrics["sigreg"]
    expected += 0.5 * metrics["inverse"] + 0.25 * metrics["curvature"]
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert {*metrics} <= {*task.metrics}
    assert float(metrics["shuffled_ratio"]) != 1


@pytest.mark.parametrize("devices", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (4, 8))])
def test_loss_and_gradient_do_not_depend_on_the_number_of_devices(one_device, splits, devices):
    _, variables, batch, expected = one_device
    mesh = jax.make_mesh((devices,), ("d",), (AxisType.Auto,), devices=jax.devices()[:devices])
    _, step = make_step(CONFIG(), splits, "d")
    specs = P(), P(), P("d")
    mapped = jax.jit(jax.shard_map(step, mesh=mesh, in_specs=specs, out_specs=P()))
    value, metrics, gradient = mapped(variables, KEY, batch)
    np.testing.assert_allclose(value, expected[0], rtol=1e-4)
    for name, found in metrics.items():
        np.testing.assert_allclose(found, expected[1][name], rtol=1e-3, atol=1e-5, err_msg=name)
    close = functools.partial(np.testing.assert_allclose, rtol=5e-3, atol=5e-4)
    jax.tree.map(close, gradient, expected[2])


@pytest.mark.slow
def test_no_gradient_reaches_what_is_predicted_where_it_is_stopped(one_device, splits):
    """With weight 0 on all else, the encoder then learns through the context alone."""
    _, variables, batch, _ = one_device
    alone = {"regularizer_weight": 0, "inverse_weight": 0, "straightening_weight": 0}
    config = CONFIG(prediction_steps=1, **alone)
    params = {k: v for k, v in variables.params.items() if k != "inverse"}
    gradients = []
    for stop in (True, False):
        _, step = make_step(dataclasses.replace(config, stop_gradient=stop), splits)
        gradients.append(jax.jit(step)(variables._replace(params=params), KEY, batch)[2])
    first, second = (gradient["encoder"]["last"]["kernel"] for gradient in gradients)
    assert float(jnp.abs(first - second).max()) > 1e-6


def test_evaluators_measure_states_imagination_and_surprise(one_device, splits):
    task, variables, _, _ = one_device
    both = {"encoder": variables, "untrained": variables}
    results = run_evaluators(task.evaluators, KEY, both, splits, lambda batch: batch)
    assert set(results.scores["state_r2"]) == {"encoder", "untrained", "pixels"}
    found = results.diagnostics["encoder"]
    assert {"R2 of x", "R2 of y", "within_episode", "shuffled_ratio", "jumps_noticed"} <= {*found}
    assert [picture.title for picture in results.pictures] == [
        "Learned map",
        "Imagined paths",
        "Error of imagined paths",
        "Surprise",
    ]
    for picture in results.pictures:
        assert picture.draw().axes
    quick = run_quick_evaluators(task.quick_evaluators, KEY, variables, splits, lambda batch: batch)
    assert set(quick) <= set(task.metrics)
    assert 0 < quick["eval/within_episode"] <= 1


def test_what_is_kept_is_the_encoder_of_frames(one_device, splits):
    from lejepa_jax.models.storage.run_models import describe_kept

    task, *_ = one_device
    described = describe_kept(task.kept, "float32")["model"]
    assert "reason" not in described
    assert described["paths"] == {"encoder": ["encoder"], "projector": ["projector"]}


def test_frames_are_normalized_as_images_are():
    frames = jnp.asarray(np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3)), jnp.uint8)
    options = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}
    found = jax.jit(functools.partial(normalize_frames, image_size=8, **options))(frames)
    view = jax.jit(functools.partial(eval_view, size=8, **options))
    np.testing.assert_allclose(found, view(frames), atol=1e-5)
    assert normalize_frames(frames, image_size=4).shape == (2, 4, 4, 3)


def test_a_linear_probe_finds_what_is_linear_and_nothing_else():
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(200, 5)), rng.normal(size=(200, 1))
    y = np.concatenate([x @ rng.normal(size=(5, 1)) + 3, noise], 1)
    values = r2_scores(y[100:], ridge_predict(x[:100], y[:100], x[100:]))
    assert values[0] > 0.999
    assert values[1] < 0.1
    constant = np.ones((200, 1))
    assert np.isfinite(ridge_predict(constant[:100], y[:100], constant[100:])).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_frames": 3}, "num_frames must be at least 4, the history and what is predicted"),
        ({"regularize_over": "both"}, "num_frames must be at least 8 for a window"),
        ({"network": "huge"}, "network must be one of lewm, small, tiny, got 'huge'"),
        ({"network": "tiny(heads=2)"}, "sizes of a network are encoder, .*got 'heads'"),
        ({"regularizer": "vicreg"}, "regularizer must be one of"),
        ({"inverse_weight": -1.0}, "inverse_weight must not be negative"),
        ({"execute": 6}, "execute must be at most horizon=5, got 6"),
        ({"environment": "atari"}, "environment must be one of two_room, point_maze"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CONFIG(**options)
