"""A Flax NNX module as pure functions of its parameters and its state."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from flax import nnx
from jaxtyping import PRNGKeyArray, PyTree

from lejepa_jax.nn.transformers.layer_reader import LayerReader

# Layers of Flax whose weights are matrices; what they call them.
_WEIGHTS = {
    nnx.Linear: ("kernel",),
    nnx.LinearGeneral: ("kernel",),
    nnx.Einsum: ("kernel",),
    nnx.Conv: ("kernel",),
    nnx.ConvTranspose: ("kernel",),
    nnx.Embed: ("embedding",),
}


class Variables(NamedTuple):
    """What a model consists of.

    Attributes:
        params: What the optimizer changes, a pytree of dictionaries.
        state: What a forward pass changes (statistics of BatchNorm), a dictionary of others.
    """

    params: Any
    state: Any


class Network(NamedTuple):
    """A module as pure functions.

    Attributes:
        init: Makes the variables from a key.
        merge: Makes the module from `(params, state)`.
        state_of: Gives the state of a module after a forward pass; with `part`, the name of an
            attribute, that of this part alone; with `but`, that of all others.
        shape: The module with shapes in place of arrays, to ask what it can do.
        kinds: What each parameter is, a pytree like the parameters: `weight` for what multiplies
            activations (it decays, and is sharded if it is large), `block_weight` for one that a
            transformer all-gathers with its block, `other` for biases, gains, positions and tokens.
    """

    init: Callable[[PRNGKeyArray], Variables]
    merge: Callable[[Any, Any], Any]
    state_of: Callable[..., dict[str, Any]]
    shape: Any
    kinds: PyTree


def network(make: Callable[[PRNGKeyArray], Any]) -> Network:
    """Make pure functions of a module.

    Args:
        make: Makes the module from a key; called once without computing anything, and once in
            every `init`.

    Returns:
        The functions.

    Examples:
        >>> import jax.numpy as jnp
        >>> net = network(lambda key: nnx.Linear(2, 3, rngs=nnx.Rngs(key)))
        >>> params, state = net.init(jax.random.key(0))
        >>> net.merge(params, state)(jnp.ones(2)).shape, net.kinds
        ((3,), {'bias': 'other', 'kernel': 'weight'})
    """
    abstract = nnx.eval_shape(lambda: make(jax.random.key(0)))
    graph, shapes, _ = nnx.split(abstract, nnx.Param, ...)

    def init(key: PRNGKeyArray) -> Variables:
        _, params, state = nnx.split(make(key), nnx.Param, ...)
        return Variables(nnx.to_pure_dict(params), nnx.to_pure_dict(state))

    def merge(params: Any, state: Any) -> Any:
        # Without the copy, BatchNorm would write into arrays of an outer trace.
        return nnx.merge(graph, params, state, copy=True)

    def state_of(module: Any, part: str | None = None, *, but: str | None = None) -> dict[str, Any]:
        _, _, rest = nnx.split(module, nnx.Param, ...)
        state = nnx.to_pure_dict(rest)
        return {k: v for k, v in state.items() if part in (None, k) and k != but}

    weights, gathering = _weight_paths(abstract), _gathering_paths(abstract)

    def kind_of(path: tuple[Any, ...], leaf: Any) -> str:
        del leaf
        keys = _keys(path)
        if keys not in weights:
            return "other"
        return "block_weight" if any(keys[: len(p)] == p for p in gathering) else "weight"

    kinds = jax.tree_util.tree_map_with_path(kind_of, nnx.to_pure_dict(shapes))
    return Network(init, merge, state_of, abstract, kinds)


def network_ensemble(makes: Mapping[str, Callable[[PRNGKeyArray], Any]]) -> Network:
    """Make pure functions of several modules that are trained on the same batches.

    They share nothing else: if the loss is the sum of theirs, AdamW treats each parameter by
    itself, so that each ends as it would alone.

    Args:
        makes: What makes each module from a key, by name; all get the same key.

    Returns:
        The functions, for dictionaries by name of modules, parameters and states.

    Examples:
        >>> makes = {"small": lambda key: nnx.Linear(2, 1, rngs=nnx.Rngs(key))}
        >>> net = network_ensemble(makes)
        >>> sorted(net.merge(*net.init(jax.random.key(0))))
        ['small']
    """
    nets = {name: network(make) for name, make in makes.items()}

    def init(key: PRNGKeyArray) -> Variables:
        made = {name: net.init(key) for name, net in nets.items()}
        params = {name: variables.params for name, variables in made.items()}
        return Variables(params, {name: variables.state for name, variables in made.items()})

    def merge(params: Any, state: Any) -> dict[str, Any]:
        return {name: net.merge(params[name], state[name]) for name, net in nets.items()}

    def state_of(
        modules: Mapping[str, Any], part: str | None = None, *, but: str | None = None
    ) -> dict[str, Any]:
        return {name: net.state_of(modules[name], part, but=but) for name, net in nets.items()}

    shapes = {name: net.shape for name, net in nets.items()}
    kinds = {name: net.kinds for name, net in nets.items()}
    return Network(init, merge, state_of, shapes, kinds)


def _keys(path: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(getattr(entry, "key", getattr(entry, "idx", None)) for entry in path)


def _weight_paths(module: Any) -> set[tuple[Any, ...]]:
    """Paths of the parameters that are weights: by the layer they belong to, or as declared."""
    found = set()
    for path, node in nnx.iter_graph(module):
        for layer, names in _WEIGHTS.items():
            if isinstance(node, layer):
                found |= {(*path, name) for name in names}
        if isinstance(node, nnx.Param) and node.get_metadata().get("kind") == "weight":
            found.add(tuple(path))
    return found


def _gathering_paths(module: Any) -> list[tuple[Any, ...]]:
    """Paths of blocks that their transformer all-gathers one at a time."""
    return [
        (*path, "blocks")
        for path, node in nnx.iter_graph(module)
        if isinstance(node, LayerReader) and node.gather_axis is not None
    ]


def merge_states(state: Mapping[Any, Any], *changes: Mapping[Any, Any]) -> dict[Any, Any]:
    """Put changed parts of a state in their places.

    Args:
        state: The whole state, nested dictionaries.
        changes: Parts of it, of the same layout.

    Returns:
        The new state.

    Examples:
        >>> merge_states({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}})
        {'a': {'x': 1, 'y': 3}}
    """
    new = dict(state)
    for change in changes:
        for name, value in change.items():
            old = new.get(name)
            if isinstance(old, Mapping) and isinstance(value, Mapping):
                value = merge_states(old, value)
            new[name] = value
    return new
