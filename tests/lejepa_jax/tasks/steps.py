"""A step of a pretraining task on images, on one device and on several; what its tests share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

KEY = jax.random.key(1)


def make_step(task, axis_name=None):
    """Value, metrics and gradient of a step, and on one device what the task encodes."""

    def step(variables, key, batch):
        def loss(params):
            outputs, _ = task.encode(params, variables.state, key, batch)
            value, (_, metrics) = task.loss(params, variables.state, key, outputs, batch)
            return value, (metrics, outputs)

        (value, (metrics, outputs)), gradient = jax.value_and_grad(loss, has_aux=True)(
            variables.params
        )
        if axis_name is not None:
            return value, metrics, jax.lax.pmean(gradient, axis_name)
        return value, metrics, gradient, outputs

    return step


def one_step(task):
    """The task, its variables, 8 images of 8 x 8 pixels, and what a step on them gives."""
    variables = jax.jit(task.init)(jax.random.key(0))
    rng = np.random.default_rng(0)
    batch = {
        "image": jnp.asarray(rng.integers(0, 255, (8, 8, 8, 1)), jnp.uint8),
        "index": jnp.arange(8),
        "aspect": jnp.ones(8),
    }
    return task, variables, batch, jax.jit(make_step(task))(variables, KEY, batch)


def assert_alike_on_devices(task, variables, batch, expected):
    """Require value, metrics and gradient of one device of a task made for the axis `data` of 4."""
    mesh = jax.make_mesh((4,), ("data",), (AxisType.Auto,), devices=jax.devices()[:4])
    specs = P(), P(), P("data")
    step = jax.shard_map(make_step(task, "data"), mesh=mesh, in_specs=specs, out_specs=P())
    close = functools.partial(np.testing.assert_allclose, rtol=2e-3, atol=2e-5)
    jax.tree.map(close, [*jax.jit(step)(variables, KEY, batch)], [*expected])
