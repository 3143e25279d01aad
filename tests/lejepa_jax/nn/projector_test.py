import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from lejepa_jax.nn.projector import Projector


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_the_projector_equals_a_plain_float64_one(num_layers):
    graphdef, state = nnx.split(
        nnx.eval_shape(
            lambda: Projector(4, 3, hidden_features=5, num_layers=num_layers, rngs=nnx.Rngs(0))
        )
    )
    rng = np.random.default_rng(0)
    state = jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), jnp.float32), state
    )
    x = jnp.asarray(rng.normal(size=(6, 4)), jnp.float32)

    @jax.jit
    def project(state, x):
        model = nnx.merge(graphdef, state, copy=True)
        return model(x), model(x, train=True)

    tree = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(state))
    for train, got in zip((False, True), project(state, x), strict=True):
        y = np.asarray(x, np.float64)
        for layer in range(num_layers - 1):
            y = y @ tree["hidden"][layer]["kernel"]
            norm = tree["norms"][layer]
            mean, var = (y.mean(0), y.var(0)) if train else (norm["mean"], norm["var"])
            y = np.maximum((y - mean) / np.sqrt(var + 1e-5) * norm["scale"] + norm["bias"], 0)
        expected = y @ tree["last"]["kernel"] + tree["last"]["bias"]
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@given(st.integers(1, 4), st.integers(1, 5))
def test_no_layers_are_the_identity_in_float32(samples, features):
    x = jnp.arange(samples * features, dtype=jnp.bfloat16).reshape(samples, features)
    y = Projector(features, features, num_layers=0, rngs=nnx.Rngs(0))(x, train=True)
    assert y.dtype == jnp.float32
    np.testing.assert_array_equal(y, np.asarray(x, np.float32))


def test_the_default_has_the_published_layers():
    model = nnx.eval_shape(lambda: Projector(512, 64, rngs=nnx.Rngs(0)))
    shapes = [leaf.shape for leaf in jax.tree.leaves(nnx.state(model.hidden))]
    assert shapes == [(512, 2048), (2048, 2048)]
    assert model.features == 64


def test_the_embedding_starts_spread_out_not_collapsed():
    @jax.jit
    def first(x):
        return Projector(16, 8, hidden_features=64, rngs=nnx.Rngs(0))(x, train=True)

    x = jnp.asarray(np.random.default_rng(0).normal(size=(32, 16)), jnp.float32)
    singular = np.linalg.svd(first(x) - first(x).mean(0, keepdims=True), compute_uv=False)
    assert singular.min() > 0.1 * singular.max()
    assert 0.3 < np.asarray(first(x)).std(0).mean() < 1.5


@pytest.mark.parametrize(
    ("num_layers", "message"),
    [
        (4, "num_layers must be 0, 1, 2 or 3, got 4"),
        (0, "out_features must equal in_features = 4 when num_layers is 0, got 3"),
    ],
)
def test_what_does_not_fit_is_refused(num_layers, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Projector(4, 3, num_layers=num_layers, rngs=nnx.Rngs(0))
