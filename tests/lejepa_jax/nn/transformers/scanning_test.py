"""Blocks as a loop are the same blocks: values, gradients, layers, names, and what is gathered."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

from lejepa_jax.nn.transformers import layer_reader
from lejepa_jax.nn.transformers.scanning import REMAT_POLICIES, stack_blocks, unstack_blocks
from lejepa_jax.nn.transformers.vision_transformer import ViT
from lejepa_jax.training.networks import network
from lejepa_jax.training.sharding import (
    AXES,
    all_gather_params,
    make_mesh,
    parameter_shardings,
)

DEPTH, IMAGES, SIDE = 3, 8, 8
KEYS = jax.random.split(jax.random.key(1), IMAGES)
SHOWN = jax.random.normal(jax.random.key(2), (IMAGES, SIDE, SIDE, 3))


def make(key=None, **options):
    fixed = {"width": 16, "depth": DEPTH, "num_heads": 2, "patch_size": 4, "image_size": SIDE}
    return ViT(**{**fixed, **options}, rngs=nnx.Rngs(jax.random.key(0) if key is None else key))


def drawn(**options):
    """The encoder as a function of its parameters, and parameters drawn without compiling."""
    graphdef, shapes = nnx.split(nnx.eval_shape(functools.partial(make, **options)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape) / 4, x.dtype), shapes)
    return graphdef, params


@functools.cache
def value_and_grad(dropped=None, **options):
    graphdef, params = drawn(**options)

    def loss(params):
        kept = None if dropped is None else jnp.tile(jnp.arange(4 - dropped), (IMAGES, 1))
        return jnp.sin(nnx.merge(graphdef, params)(SHOWN, train=True, keys=KEYS, kept=kept)).sum()

    return jax.jit(jax.value_and_grad(loss))(params)


def close(one, other, tolerance=1e-5):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        scale = tolerance * max(1e-3, float(np.abs(b).max()))
        np.testing.assert_allclose(a, b, rtol=0, atol=scale)


@pytest.mark.parametrize(
    "options",
    [
        {"drop_path": 0.5, "position": "mixed", "layer_scale": 0.5},
        {"drop_path": 0.5, "position": "mixed", "share_positions": True, "dropped": 2},
        {"qk_norm": True, "causal": True, "pooling": "mean"},
    ],
)
def test_a_loop_over_blocks_gives_their_values_and_gradients(options):
    close(value_and_grad(scan_blocks=True, **options), value_and_grad(**options))


@pytest.mark.parametrize("remat", [True, *REMAT_POLICIES])
def test_what_is_recomputed_changes_nothing(remat):
    kept = value_and_grad(drop_path=0.5)
    close(value_and_grad(drop_path=0.5, remat=remat, scan_blocks=True), kept)


def test_recomputation_by_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"remat must be one of nothing_saveable, .* got 'all'"):
        make(remat="all")


def test_layers_are_read_and_named_as_before():
    def layers(**options):
        graphdef, params = drawn(position="mixed", **options)

        @jax.jit
        def read(params):
            encoder = nnx.merge(graphdef, params)
            read = encoder.intermediate(SHOWN, num_layers=2), encoder.attention_maps(SHOWN)
            return *read, encoder.intermediate(SHOWN, num_layers=DEPTH), encoder.tokens(SHOWN)

        return nnx.to_pure_dict(params), read(params)

    (names, found), (wanted_names, wanted) = layers(scan_blocks=True), layers()
    close(names, wanted_names, 0)
    close(found, wanted)


def test_stacking_and_unstacking_are_inverse():
    blocks = [{"w": jnp.full((2, 3), i), "b": [jnp.full(2, -i)]} for i in range(4)]
    stacked = stack_blocks(blocks)
    assert stacked["w"].shape == (4, 2, 3)
    close(unstack_blocks(stacked), blocks, 0)
    close(stack_blocks(unstack_blocks(stacked)), stacked, 0)


def test_deep_transformers_are_loops_in_training_alone(monkeypatch):
    def loops(train=True, **options):
        graphdef, params = drawn(**options)
        forward = jax.make_jaxpr(lambda p: nnx.merge(graphdef, p)(SHOWN, train=train))(params)
        return str(forward).count("scan[")

    assert layer_reader.SCANNED_DEPTH == 24
    monkeypatch.setattr(layer_reader, "SCANNED_DEPTH", DEPTH)
    assert [loops(depth=DEPTH - 1), loops(), loops(train=False)] == [0, 1, 0]
    assert [loops(scan_blocks=False), loops(train=False, scan_blocks=True)] == [0, 1]


@functools.cache
def sharded(**options):
    """The gradient of a mean over 8 devices, large weights sharded over all of them."""
    mesh = make_mesh({"data": 1, "fsdp": 8}, jax.devices()[:8])
    net = network(functools.partial(make, axis_name=AXES, width=64, drop_path=0.3, **options))
    params, state = jax.jit(net.init)(jax.random.key(0))
    specs = jax.tree.map(lambda s: s.spec, parameter_shardings(params, net.kinds, mesh))

    def loss(parts, images, keys):
        gather = functools.partial(all_gather_params, specs=specs, kinds=net.kinds)
        whole, scatter = jax.vjp(gather, parts)

        def mean(params):
            features = net.merge(params, state)(images, train=True, keys=keys)
            return jax.lax.pmean(jnp.sin(features).sum(), AXES)

        value, gradient = jax.value_and_grad(mean)(whole)
        return value, scatter(gradient)[0]

    mapped = jax.shard_map(
        loss, mesh=mesh, in_specs=(specs, P(AXES), P(AXES)), out_specs=(P(), specs)
    )
    step = jax.jit(mapped).lower(params, SHOWN, KEYS).compile()
    return step, step(params, SHOWN, KEYS), net.kinds


def test_the_gradient_over_devices_is_that_of_whole_parameters():
    _, whole, _ = sharded()
    _, by_block, kinds = sharded(scan_blocks=True, remat=True)
    assert kinds["blocks"][0]["expand"] == {"bias": "other", "kernel": "block_weight"}
    close(by_block, whole)


def gathered(step):
    """Numbers in what each all-gather of a compiled program gives; of several, in one together."""
    results = re.findall(r" = (.*) all-gather(?:-start)?\(", step.as_text())
    return [
        sum(np.prod([int(n) for n in shape.split(",")]) for shape in re.findall(r"\[([\d,]+)\]", x))
        for x in results
    ]


def test_no_more_than_a_block_is_gathered_at_a_time():
    of_a_block = (4 + 4) * 64 * 64  # the maps of the attention are too small to be sharded
    step, _, _ = sharded(scan_blocks=True, remat=True)
    # Forward, and once more backward: nothing is kept.
    assert max(gathered(step)) <= of_a_block
    assert sum(gathered(step)) == 2 * of_a_block
    assert sum(gathered(sharded()[0])) == DEPTH * of_a_block
