"""Checks of encoders: what pretraining relies on, see `lejepa_jax.nn.encoder.Encoder`."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

Way = Literal["jit", "explicit", "shard_map", "shard_map, unchecked", "pmap"]


class RandomVariables(NamedTuple):
    """A module taken apart, random numbers in the place of its initial ones."""

    graph: Any
    params: Any
    rest: Any


def random_variables(make_encoder: Callable[..., Any], **options: Any) -> RandomVariables:
    """Draw all parameters, far from where initializers put some at zero.

    A gain that starts at zero hides the branch behind it from every test.

    Args:
        make_encoder: Makes the module from keyword arguments; called without computing anything.
        **options: Its arguments.

    Returns:
        The graph of the module, its parameters, and the rest of its state.

    Examples:
        >>> found = random_variables(lambda: nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
        >>> bool((found.params["bias"][...] == 0).any())
        False
    """
    graph, params, rest = nnx.split(nnx.eval_shape(lambda: make_encoder(**options)), nnx.Param, ...)
    rng = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> jax.Array:
        value = rng.normal(size=leaf.shape)
        if leaf.ndim > 1:
            value = value / np.sqrt(np.prod(leaf.shape[:-1]))
        elif "scale" in jax.tree_util.keystr(path):
            value = 1 + 0.3 * value
        return jnp.asarray(value, leaf.dtype)

    params = jax.tree_util.tree_map_with_path(draw, params)
    rest = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.5, 1, leaf.shape), leaf.dtype), rest)
    return RandomVariables(graph, params, rest)


def check_encoder(
    make_encoder: Callable[..., Any],
    inputs: Any,
    *,
    ways: Sequence[Way] = ("jit", "shard_map"),
    bfloat16_error: float = 0.03,
) -> None:
    """Check all that pretraining relies on; every failure says what is wrong.

    - `features` is the width of what a call returns, in float32, whatever the compute type;
    - parameters are float32;
    - in evaluation an example's features do not depend on the other examples;
    - in training without keys, either nothing is random or a `ValueError` asks for `keys`;
    - the gradient of every parameter is finite and not zero;
    - in bfloat16 the features are nearly the same;
    - sharded over devices, features, running statistics and gradients are those of one device.

    Args:
        make_encoder: Makes the encoder from `dtype` and `axis_name`.
        inputs: A batch, an array or a pytree of them, examples first: as many as a multiple of the
            devices.
        ways: How the batch is sharded; `check_sharded` is left out where there is one device.
        bfloat16_error: Largest error in bfloat16, relative to the size of the features.

    Raises:
        AssertionError: For the first that does not hold.

    Examples:
        >>> from functools import partial
        >>> from lejepa_jax.nn.convolutions.residual_network import ResNet
        >>> make = partial(ResNet, stage_sizes=(1,), width=4, stem="small")
        >>> check_encoder(lambda **options: make(**options, rngs=nnx.Rngs(0)),
        ...               jax.random.normal(jax.random.key(0), (8, 4, 4, 3)), ways=())
    """
    import chex

    exact = random_variables(make_encoder, dtype=jnp.float32, axis_name=None)
    rounded = random_variables(make_encoder, dtype=jnp.bfloat16, axis_name=None)
    for path, leaf in jax.tree_util.tree_leaves_with_path((exact.params, rounded.params)):
        assert leaf.dtype == jnp.float32, f"parameter {_name(path)} is {leaf.dtype}, not float32"
    features = _encode(exact, inputs)
    width = nnx.merge(exact.graph, exact.params, exact.rest, copy=True).features
    chex.assert_shape(features, (_count(inputs), width))
    chex.assert_type(features, jnp.float32)
    chex.assert_tree_all_finite(features)

    half = _count(inputs) // 2
    others = jax.tree.map(lambda x: x.at[half:].set(jnp.zeros_like(x[half:])), inputs)
    chex.assert_trees_all_close(
        _encode(exact, others)[:half],
        features[:half],
        atol=1e-5,
        custom_message="in evaluation, features depend on other examples of the batch",
    )
    in_bfloat16 = _encode(rounded, inputs)
    chex.assert_type(in_bfloat16, jnp.float32)
    error = float(jnp.abs(in_bfloat16 - features).max())
    size = float(jnp.sqrt((features**2).mean()))
    assert error < bfloat16_error * size, f"in bfloat16 features of size {size} are off by {error}"

    _check_keys(exact, inputs)
    one = single_device_step(make_encoder, inputs)
    for path, gradient in jax.tree_util.tree_leaves_with_path(one.gradients):
        assert bool(jnp.isfinite(gradient).all()), f"the gradient of {_name(path)} is not finite"
        largest = float(jnp.abs(gradient).max())
        assert largest > 1e-7, f"no gradient reaches {_name(path)}: at most {largest}"
    if jax.device_count() > 1:
        for way in ways:
            check_sharded(make_encoder, inputs, way, one)


class Step(NamedTuple):
    """What a step of training gives."""

    features: jax.Array
    statistics: Any
    gradients: Any


def check_sharded(
    make_encoder: Callable[..., Any], inputs: Any, way: Way, one: Step | None = None
) -> None:
    """Check that a step over all devices gives what it gives on one.

    Args:
        make_encoder: Makes the encoder from `dtype` and `axis_name`.
        inputs: A batch, examples first: as many as a multiple of the devices.
        way: How it is sharded: by the compiler, over automatic ("jit") or explicit mesh axes, by
            `jax.shard_map` with or without `check_vma`, or by `jax.pmap`.
        one: What one device gives, if it is known.

    Raises:
        AssertionError: If features, running statistics or gradients differ.

    Examples:
        >>> from lejepa_jax.nn.convolutions.residual_network import ResNet
        >>> def make(**options):
        ...     return ResNet(stage_sizes=(1,), width=4, stem="small", rngs=nnx.Rngs(0), **options)
        >>> check_sharded(make, jnp.ones((jax.device_count(), 4, 4, 3)), "shard_map")
    """
    import chex

    one = single_device_step(make_encoder, inputs) if one is None else one
    count, keys = jax.device_count(), _keys(inputs)
    axis_name = None if way in ("jit", "explicit") else "data"
    step, params, rest = _step(make_encoder, axis_name)
    if way == "pmap":
        split = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), (inputs, keys))
        mapped = jax.pmap(step, axis_name="data", in_axes=(None, None, 0, 0))
        features, *others = mapped(params, rest, *split)
        found = Step(
            features.reshape(-1, features.shape[-1]),
            *jax.tree.map(lambda leaf: leaf[0], others),
        )
    else:
        kind = AxisType.Explicit if way == "explicit" else AxisType.Auto
        mesh = jax.make_mesh((count,), ("data",), axis_types=(kind,))
        if axis_name is None:
            split = jax.device_put((inputs, keys), NamedSharding(mesh, P("data")))
            whole = jax.device_put((params, rest), NamedSharding(mesh, P()))
            with jax.set_mesh(mesh):
                found = jax.jit(step)(*whole, *split)
        else:
            mapped = jax.shard_map(
                step,
                mesh=mesh,
                in_specs=(P(), P(), P("data"), P("data")),
                out_specs=Step(P("data"), P(), P()),  # pyright: ignore[reportArgumentType]
                check_vma=way == "shard_map",
            )
            found = jax.jit(mapped)(params, rest, inputs, keys)
    for part, a, b in zip(Step._fields, found, one, strict=True):
        chex.assert_trees_all_close(
            jax.device_get(a),
            jax.device_get(b),
            rtol=2e-4,
            atol=2e-6,
            custom_message=f"{part} of one device and under {way} differ",
        )


def _count(inputs: Any) -> int:
    return jax.tree.leaves(inputs)[0].shape[0]


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path)


def _keys(inputs: Any) -> jax.Array:
    """One key an example, by its index in the global batch."""
    return jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(0)))(
        jnp.arange(_count(inputs), dtype=jnp.int32)
    )


@functools.partial(jax.jit, static_argnums=0)
def _apply(graph: Any, params: Any, rest: Any, inputs: Any) -> jax.Array:
    return nnx.merge(graph, params, rest, copy=True)(inputs, train=False)


def _encode(variables: RandomVariables, inputs: Any) -> jax.Array:
    return _apply(variables.graph, variables.params, variables.rest, inputs)


def _check_keys(variables: RandomVariables, inputs: Any) -> None:
    """Without keys an encoder asks for them, or draws nothing."""

    def encode(keys: jax.Array | None) -> jax.Array:
        model = nnx.merge(variables.graph, variables.params, variables.rest, copy=True)
        return model(inputs, train=True, keys=keys)

    refusal = None
    try:
        jax.eval_shape(lambda: encode(None))
    except ValueError as error:
        refusal = str(error)
    if refusal is not None:
        assert "keys" in refusal, f"without keys: {refusal}, which does not name them"
        return
    keys = _keys(inputs)
    same = jnp.array_equal(jax.jit(encode)(keys), jax.jit(encode)(keys[::-1]))
    assert bool(same), "something is random in training, and no ValueError asks for keys"


def _step(make_encoder: Callable[..., Any], axis_name: str | None) -> tuple[Any, Any, Any]:
    """A training step as a per-device function, and random variables."""
    graph, params, rest = random_variables(make_encoder, dtype=jnp.float32, axis_name=axis_name)

    def step(params: Any, rest: Any, inputs: Any, keys: jax.Array) -> Step:
        def loss(params: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
            model = nnx.merge(graph, params, rest, copy=True)
            features = model(inputs, train=True, keys=keys)
            value = jnp.sin(features).mean()
            if axis_name is not None:
                value = jax.lax.pmean(value, axis_name)
            return value, (features, nnx.state(model, nnx.BatchStat))

        gradients, (features, statistics) = jax.grad(loss, has_aux=True)(params)
        if axis_name is not None:
            gradients = jax.lax.pmean(gradients, axis_name)
        return Step(features, statistics, gradients)

    return step, params, rest


def single_device_step(make_encoder: Callable[..., Any], inputs: Any) -> Step:
    """Compute what :func:`check_sharded` compares with: a step of training on one device."""
    step, params, rest = _step(make_encoder, None)
    return jax.jit(step)(params, rest, inputs, _keys(inputs))
