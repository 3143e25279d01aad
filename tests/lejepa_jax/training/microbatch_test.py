"""Gradients in micro-batches against the gradient of the whole batch."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from lejepa_jax.objectives.lejepa import lejepa_loss
from lejepa_jax.training.microbatch import microbatched_value_and_grad

P = PartitionSpec
KEY = jax.random.key(0)
PARAMS = {
    "in": 0.4 * jax.random.normal(jax.random.key(1), (6, 16)),
    "out": 0.4 * jax.random.normal(jax.random.key(2), (16, 4)),
    "probe": jnp.linspace(-1, 1, 4),
}
# Views first, one key an example for its noise.
INPUTS = {
    "views": jax.random.normal(jax.random.key(3), (3, 24, 6)),
    "keys": jax.random.split(jax.random.key(4), 24),
    "scale": jnp.float32(0.1),
}
IN_AXES = {"views": 1, "keys": 0, "scale": None}


def encode(params, inputs):
    hidden = jnp.tanh(jnp.matmul(inputs["views"], params["in"], precision="highest"))
    noise = jax.vmap(lambda key: jax.random.normal(key, (16,)))(inputs["keys"])
    hidden = hidden + inputs["scale"] * noise[None]
    return {
        "z": jnp.matmul(hidden, params["out"], precision="highest"),
        "features": hidden.mean(0),
    }


def loss(params, embeddings, axis_name=None):
    result = lejepa_loss(
        KEY, embeddings["z"], num_global=2, trade_off=0.3, num_slices=8, axis_name=axis_name
    )
    # A probe, trained in the same step, whose parameters the loss depends on directly.
    probe = jnp.square(embeddings["z"][0] @ params["probe"] - embeddings["features"][:, 0]).mean()
    if axis_name is not None:
        probe = jax.lax.pmean(probe, axis_name)
    return result.total + probe, result


def whole(params, inputs, axis_name=None):
    def total(params):
        return loss(params, encode(params, inputs), axis_name)

    (value, aux), gradient = jax.value_and_grad(total, has_aux=True)(params)
    return value, gradient, aux


def in_parts(num, axis_name=None):
    return microbatched_value_and_grad(
        encode,
        functools.partial(loss, axis_name=axis_name),
        num_microbatches=num,
        in_axes=IN_AXES,
        out_axes={"z": 1, "features": 0},
        loss_has_aux=True,
    )


@functools.cache
def expected():
    return jax.jit(whole)(PARAMS, INPUTS)


def check(result, rtol=1e-5):
    value, gradient, aux = expected()
    np.testing.assert_allclose(result.value, value, rtol=1e-6)
    chex.assert_trees_all_close(result.loss_aux, aux, rtol=1e-6)
    scale = jax.tree.map(lambda g: jnp.abs(g).max(), gradient)
    close = jax.tree.map(lambda g, s: g / s, (result.gradient, gradient), (scale, scale))
    chex.assert_trees_all_close(*close, atol=rtol)


@pytest.mark.parametrize("num", [1, 4, 24])
def test_value_and_gradient_are_those_of_the_whole_batch(num):
    check(jax.jit(in_parts(num))(PARAMS, INPUTS))


def test_the_mean_over_microbatches_is_another_gradient():
    """What the two passes are for: averaging the gradients of parts is far off."""
    parts = [
        jax.jit(whole)(
            PARAMS,
            INPUTS | {"views": INPUTS["views"][:, i::4], "keys": INPUTS["keys"][i::4]},
        )[1]
        for i in range(4)
    ]
    mean = jax.tree.map(lambda *g: sum(g) / 4, *parts)
    exact = expected()[1]
    assert jnp.abs(mean["out"] - exact["out"]).max() > 0.1 * jnp.abs(exact["out"]).max()


def parallel_step(params, inputs, axis_name=None):
    result = in_parts(3, axis_name)(params, inputs)
    if axis_name is None:
        return result
    return result._replace(gradient=jax.lax.pmean(result.gradient, axis_name))


def mesh():
    return jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))


SPECS = {"views": P(None, "data"), "keys": P("data"), "scale": P()}


@pytest.mark.parametrize("check_vma", [True, False])
def test_shard_map_gives_the_gradient_of_the_global_batch(check_vma):
    step = jax.shard_map(
        functools.partial(parallel_step, axis_name="data"),
        mesh=mesh(),
        in_specs=(P(), SPECS),
        out_specs=P(),
        check_vma=check_vma,
    )
    check(jax.jit(step)(PARAMS, INPUTS))


def test_shard_map_sums_gradients_over_devices_once_and_not_in_the_loop():
    step = jax.shard_map(
        functools.partial(parallel_step, axis_name="data"),
        mesh=mesh(),
        in_specs=(P(), SPECS),
        out_specs=P(),
    )

    def loops(jaxpr):
        for equation in jaxpr.eqns:
            for value in equation.params.values():
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    if equation.primitive.name == "scan":
                        yield inner
                    yield from loops(inner)

    bodies = list(loops(jax.make_jaxpr(step)(PARAMS, INPUTS).jaxpr))
    assert len(bodies) >= 2
    assert not any("psum" in str(body) for body in bodies)


@pytest.mark.parametrize("transform", [jax.vmap, jax.pmap])
def test_named_axes_give_the_gradient_of_the_global_batch(transform):
    inputs = INPUTS | {
        "views": INPUTS["views"].reshape(3, 8, 3, 6),
        "keys": INPUTS["keys"].reshape(8, 3),
    }
    mapped = transform(
        functools.partial(parallel_step, axis_name="data"),
        axis_name="data",
        in_axes=(None, {"views": 1, "keys": 0, "scale": None}),
    )
    check(jax.tree.map(lambda leaf: leaf[0], jax.jit(mapped)(PARAMS, inputs)))


def test_a_batch_sharded_by_jit_stays_where_it_is():
    inputs = {
        name: jax.device_put(leaf, NamedSharding(mesh(), SPECS[name]))
        for name, leaf in INPUTS.items()
    }
    compiled = jax.jit(parallel_step).lower(PARAMS, inputs).compile()
    check(compiled(PARAMS, inputs))
    text = compiled.as_text()
    assert "all-to-all" not in text
    assert "collective-permute" not in text


def test_memory_is_that_of_one_microbatch():
    def encode(w, x):
        for _ in range(8):
            x = jnp.tanh(x @ w)
        return x[:, :4]

    def loss(w, z):
        return jnp.square(z.mean(0)).sum()

    def temporaries(function):
        shapes = (
            jax.ShapeDtypeStruct((64, 64), "float32"),
            jax.ShapeDtypeStruct((4096, 64), "float32"),
        )
        return jax.jit(function).lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    whole = temporaries(jax.grad(lambda w, x: loss(w, encode(w, x))))
    parts = temporaries(microbatched_value_and_grad(encode, loss, num_microbatches=16))
    # Cut into micro-batches the inputs are laid out anew, 1 MiB; activations are a sixteenth.
    assert whole > 6 * 2**20
    assert parts < 3 * 2**20


def test_running_statistics_come_back_one_a_microbatch():
    def encode(w, x):
        return w * x, {"mean": x.mean()}

    result = microbatched_value_and_grad(
        encode, lambda w, z: z.var(), num_microbatches=4, encoder_has_aux=True
    )(jnp.float32(2.0), jnp.arange(8.0))
    assert result.loss_aux is None
    np.testing.assert_allclose(result.encoder_aux["mean"], [2, 3, 4, 5])
    np.testing.assert_allclose(result.gradient, 2 * 2 * np.arange(8.0).var(), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_microbatches": 0}, "num_microbatches must be positive, got 0"),
        ({"num_microbatches": 3}, r"must divide the batch, got 3 for axis 0 of \(8,\)"),
        ({"num_microbatches": 2, "out_axes": None}, "out_axes must name the batch axis"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        microbatched_value_and_grad(lambda w, x: w * x, lambda w, z: z.sum(), **options)(
            jnp.float32(1.0), jnp.arange(8.0)
        )
