"""Modules as pure functions: what is a weight, whose state changes, who shares a key."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lejepa_jax.training.networks import merge_states, network, network_ensemble


class Part(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(3, 2, rngs=rngs)
        self.norm = nnx.BatchNorm(2, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.linear(x))


class Whole(nnx.Module):
    """A layer of Flax of every kind, a declared weight, and what is neither."""

    def __init__(self, key):
        rngs = nnx.Rngs(key)
        self.encoder = Part(rngs)
        self.projector = nnx.List([Part(rngs)])
        self.conv = nnx.Conv(1, 1, (3,), rngs=rngs)
        self.table = nnx.Embed(4, 2, rngs=rngs)
        self.vectors = nnx.Param(jnp.ones((2, 2)), kind="weight")
        self.kernel = nnx.Param(jnp.ones(3))  # the name of a weight makes none


def test_a_parameter_is_what_its_layer_or_its_declaration_says():
    kinds = network(Whole).kinds
    assert kinds["encoder"]["linear"] == {"bias": "other", "kernel": "weight"}
    assert kinds["projector"][0]["linear"]["kernel"] == "weight"
    assert set(kinds["encoder"]["norm"].values()) == {"other"}
    assert kinds["conv"]["kernel"] == kinds["table"]["embedding"] == kinds["vectors"] == "weight"
    assert kinds["kernel"] == "other"


def test_a_forward_pass_changes_its_own_part_of_the_state_and_no_outer_array():
    net = network(Whole)
    params, state = net.init(jax.random.key(0))
    before = jax.tree.map(np.asarray, state)

    @jax.jit
    def forward(params, state):
        model = net.merge(params, state)
        out = model.encoder(jnp.arange(12.0).reshape(4, 3))
        return out, net.state_of(model, "encoder"), net.state_of(model, but="encoder")

    _, own, rest = forward(params, state)
    assert set(own) == {"encoder"}
    assert "encoder" not in rest
    after = merge_states(state, own)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert not np.array_equal(after["encoder"]["norm"]["mean"], state["encoder"]["norm"]["mean"])
    jax.tree.map(np.testing.assert_array_equal, after["projector"], state["projector"])
    jax.tree.map(np.testing.assert_array_equal, state, before)


def test_networks_of_an_ensemble_start_as_they_would_alone():
    makes = {"one": Whole, "two": lambda key: Part(nnx.Rngs(key))}
    both, key = network_ensemble(makes), jax.random.key(3)
    variables = both.init(key)
    for name, make in makes.items():
        alone = network(make).init(key)
        jax.tree.map(np.testing.assert_array_equal, variables.params[name], alone.params)
    models = both.merge(*variables)
    assert set(both.state_of(models, "encoder")) == {"one", "two"}
    assert both.state_of(models, "encoder")["two"] == {}
    assert jax.tree.structure(both.kinds) == jax.tree.structure(variables.params)
