"""What fine-tuning adds to classification: few labels, layers that learn less, a frozen encoder."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.data.splits import few_labeled
from lejepa_jax.tasks import ClassificationConfig
from lejepa_jax.training.optimizer import make_optimizer
from lejepa_jax.training.recipe import Recipe
from lejepa_jax.training.step import initial_state, make_gradient, make_step
from tests.lejepa_jax.tasks.image_classification_test import CONFIG, bright_and_dark, splits


@pytest.fixture(autouse=True)
def lenient():
    """Optax promotes types by itself."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def after_one_step(**changes):
    """Parameters before and after one step of plain SGD."""
    config = dataclasses.replace(CONFIG, mixup=0.0, cutmix=0.0, **changes)
    recipe = Recipe(
        "tiny",
        config,
        optimizer="sgd",
        momentum=0.0,
        learning_rate=0.5,
        final_learning_rate=1.0,
        warmup_steps=0,
        weight_decay=0.1,
        steps=10,
    )
    task = config.build(splits())
    optimizer = make_optimizer(recipe, task.kinds, task.rate_factors)
    state = jax.jit(functools.partial(initial_state, recipe, task, optimizer))(jax.random.key(0))
    # The head starts at zero, where the encoder has no gradient.
    head = jax.tree.map(
        lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size)).reshape(x.shape),
        state.variables.params["head"],
    )
    params = {**state.variables.params, "head": head}
    state = state._replace(variables=state.variables._replace(params=params))
    images, labels = bright_and_dark()
    index = np.arange(len(labels), dtype=np.int32)
    batch = {"image": images, "label": labels, "index": index, "aspect": np.ones(len(labels))}
    step = make_step(recipe, optimizer, make_gradient(recipe, task, jax.random.key(1)))
    new, metrics = jax.jit(step)(state, jax.tree.map(jnp.asarray, batch))
    assert not metrics["skipped"]
    return params, new.variables.params


def change(before, after):
    return jax.tree.map(lambda a, b: b - a, before, after)


def test_layers_learn_by_their_factor_exactly():
    plain, decayed = change(*after_one_step()), change(*after_one_step(layer_decay=0.5))
    # Patches and tokens, the one block, the norm behind it: 0.25, 0.5 and 1; the head learns fully.
    for name, factor in (("patch_embedding", 0.25), ("cls_token", 0.25), ("norm", 1.0)):
        own, full = decayed["encoder"][name], plain["encoder"][name]
        jax.tree.map(
            lambda a, b, f=factor: np.testing.assert_allclose(a, f * b, rtol=1e-3, atol=1e-7),
            own,
            full,
        )
    own, full = decayed["encoder"]["blocks"], plain["encoder"]["blocks"]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, 0.5 * b, rtol=1e-3, atol=1e-7), own, full
    )
    jax.tree.map(np.testing.assert_array_equal, decayed["head"], plain["head"])
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(full)) > 1e-4


def test_a_frozen_encoder_stays_as_it_is_bit_for_bit_and_the_head_learns():
    before, after = after_one_step(frozen=True)
    jax.tree.map(np.testing.assert_array_equal, before["encoder"], after["encoder"])
    assert float(jnp.abs(after["head"]["kernel"] - before["head"]["kernel"]).max()) > 1e-4


def test_without_them_the_optimizer_is_the_one_it_was():
    assert CONFIG.build(splits()).rate_factors is None


def test_a_few_labels_are_of_every_class_and_always_the_same():
    labels = np.array([0] * 30 + [1] * 10 + [2] * 3 + [-1] * 5)
    few = few_labeled(labels, per_class=3)
    assert np.bincount(labels[few]).tolist() == [3, 3, 3]
    np.testing.assert_array_equal(few, few_labeled(labels, per_class=3))
    # More labels hold those of fewer.
    assert set(few_labeled(labels, per_class=1)) < set(few)
    assert np.bincount(labels[few_labeled(labels, fraction=0.1)]).tolist() == [3, 1, 1]
    with pytest.raises(ValueError, match="class 2 must have 4 labeled examples, got 3"):
        few_labeled(labels, per_class=4)


def test_a_task_may_train_on_a_few_labels_of_a_data_set():
    config = dataclasses.replace(CONFIG, labels_per_class=2)
    found = config.load("digits")
    assert np.bincount(found.train.labels).tolist() == [2] * 10
    assert len(found.test) == 500
    assert found.info["labels"] == "20 of 1297 training examples are used"
    with pytest.raises(ValueError, match="must not both be given"):
        ClassificationConfig(**{**vars(config), "label_fraction": 0.5})
