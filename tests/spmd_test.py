"""One value and one gradient, however the samples are sharded: the contract of every loss here.

The model is one weight matrix and the loss is nonlinear in means over the global batch, so a local
mean, a forgotten reduction or a factor of the number of devices shows.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from lejepa_jax import lejepa_loss
from lejepa_jax.training.sharding import make_mesh

VIEWS, SAMPLES, INPUTS, FEATURES = 3, 32, 6, 4


@pytest.fixture(scope="module")
def problem():
    keys = jax.random.split(jax.random.key(3), 3)
    inputs = jax.random.normal(keys[0], (SAMPLES, VIEWS, INPUTS)) + 0.2
    weights = jax.random.normal(keys[1], (INPUTS, FEATURES)) / 2
    return weights, inputs, keys[2]


# Shards of very unequal valid counts, one of them empty.
MASK = jnp.array(np.arange(SAMPLES) % 7 < 4).at[:4].set(False)


def loss(weights, inputs, mask, key, axis_name):
    embeddings = jnp.swapaxes(inputs @ weights, 0, 1)
    return lejepa_loss(
        key,
        embeddings,
        num_global=2,
        trade_off=0.3,
        num_slices=16,
        mask=mask,
        axis_name=axis_name,
    ).total


def step(weights, inputs, mask, key, *, axis_name):
    """The per-device step of DESIGN: collectives in the loss, one pmean of the gradients."""
    value, gradient = jax.value_and_grad(loss)(weights, inputs, mask, key, axis_name)
    return value, gradient if axis_name is None else jax.lax.pmean(gradient, axis_name)


def run(strategy, num_devices, weights, inputs, mask, key):
    devices = jax.devices()[:num_devices]
    if strategy == "shard_map over two axes":
        axes = ("data", "fsdp")
        mesh = make_mesh({"data": -(-num_devices // 2), "fsdp": min(2, num_devices)}, devices)
        mapped = jax.shard_map(
            functools.partial(step, axis_name=axes),
            mesh=mesh,
            in_specs=(P(), P(axes), P(axes) if mask is not None else None, P()),
            out_specs=P(),
        )
        return jax.jit(mapped)(weights, inputs, mask, key)
    mesh = jax.make_mesh((num_devices,), ("data",), axis_types=(AxisType.Auto,), devices=devices)
    mapped_step = functools.partial(step, axis_name="data")
    if strategy.startswith("shard_map"):
        mapped = jax.shard_map(
            mapped_step,
            mesh=mesh,
            in_specs=(P(), P("data"), P("data") if mask is not None else None, P()),
            out_specs=P(),
            check_vma=strategy == "shard_map",
        )
        return jax.jit(mapped)(weights, inputs, mask, key)
    if strategy == "jit":
        rows = NamedSharding(mesh, P("data"))
        place = functools.partial(jax.device_put, device=rows)
        return jax.jit(functools.partial(step, axis_name=None))(
            weights, place(inputs), jax.tree.map(place, mask), key
        )
    split = jax.tree.map(lambda x: x.reshape(num_devices, -1, *x.shape[1:]), (inputs, mask))
    axes = (None, 0, None if mask is None else 0, None)
    if strategy == "pmap":
        mapped = jax.pmap(mapped_step, axis_name="data", in_axes=axes, devices=devices)
    else:
        mapped = jax.jit(jax.vmap(mapped_step, axis_name="data", in_axes=axes))
    value, gradient = mapped(weights, *split, key)
    assert np.ptp(np.asarray(value)) == 0  # the same on every device
    return value[0], gradient[0]


STRATEGIES = ["shard_map", "shard_map without check_vma", "pmap", "vmap", "jit"]
STRATEGIES += ["shard_map over two axes"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("num_devices", [1, 2, 4, 8])
def test_value_and_gradient_do_not_depend_on_how_samples_are_sharded(
    strategy, num_devices, problem
):
    weights, inputs, key = problem
    mask = MASK if num_devices in (4, 8) else None
    expected = jax.jit(functools.partial(step, axis_name=None))(weights, inputs, mask, key)
    value, gradient = run(strategy, num_devices, weights, inputs, mask, key)
    np.testing.assert_allclose(value, expected[0], rtol=2e-6)
    np.testing.assert_allclose(gradient, expected[1], atol=2e-6 * float(jnp.abs(expected[1]).max()))


def test_the_single_device_gradient_is_the_change_of_the_loss(problem):
    weights, inputs, key = problem
    _, gradient = jax.jit(functools.partial(step, axis_name=None))(weights, inputs, MASK, key)
    direction = gradient / jnp.linalg.norm(gradient)
    value_at = jax.jit(lambda s: loss(weights + s * direction, inputs, MASK, key, None))
    change = (value_at(1e-2) - value_at(-1e-2)) / 2e-2
    np.testing.assert_allclose(jnp.linalg.norm(gradient), change, rtol=2e-3)


def test_without_the_mean_of_the_gradients_pmap_would_be_wrong(problem):
    weights, inputs, key = problem
    _, expected = step(weights, inputs, None, key, axis_name=None)
    split = inputs.reshape(8, -1, *inputs.shape[1:])
    local = jax.pmap(
        lambda w, x, k: jax.grad(loss)(w, x, None, k, "data"),
        axis_name="data",
        in_axes=(None, 0, None),
    )(weights, split, key)
    assert not np.allclose(local[0], expected, rtol=0.5)


def test_only_the_sums_of_cosine_and_sine_cross_devices(problem):
    _, _, key = problem
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sizes = set()
    for samples, features in ((64, 4), (512, 16)):
        mapped = jax.shard_map(
            lambda z, k: lejepa_loss(k, z, num_global=1, num_slices=32, axis_name="data").sigreg,
            mesh=mesh,
            in_specs=(P(None, "data"), P()),
            out_specs=P(),
        )
        shape = jax.ShapeDtypeStruct((1, samples, features), jnp.float32)
        lowered = jax.jit(mapped).lower(shape, key)
        sizes.add(_all_reduced_floats(lowered.compile().as_text()))
    # 32 slices, 17 knots, cosine and sine; the count of samples is a scalar.
    assert sizes == {2 * 32 * 17}


def test_sharded_parameters_leave_the_traffic_of_sigreg_as_it_is(problem):
    """Under plain jit, on a mesh that shards parameters too, nothing is gathered."""
    _, _, key = problem
    mesh = make_mesh({"data": 2, "fsdp": 4}, jax.devices())
    rows = NamedSharding(mesh, P(None, ("data", "fsdp")))

    def gradient(z, key):
        return jax.grad(lambda z: lejepa_loss(key, z, num_global=1, num_slices=128).sigreg)(z)

    found = set()
    for samples, features in ((64, 4), (2048, 16)):
        z = jax.ShapeDtypeStruct((1, samples, features), jnp.float32, sharding=rows)
        hlo = jax.jit(gradient).lower(z, key).compile().as_text()
        assert not re.search(r" (all-gather|all-to-all|collective-permute)(-start)?\(", hlo)
        found.add(_all_reduced_floats(hlo))
    assert len(found) == 1
    assert found.pop() <= 2 * 128 * 17


def _all_reduced_floats(hlo: str) -> int:
    """Count the numbers in the arrays, scalars left out, that all-reduce instructions return."""
    total = 0
    for line in hlo.splitlines():
        match = re.match(r"\s*\S+ = (.*?) all-reduce(?:-start)?\(", line)
        if match:
            for dims in re.findall(r"f32\[([\d,]+)\]", match.group(1)):
                total += int(np.prod([int(d) for d in dims.split(",")]))
    return total
