"""A run that begins with the weights of a model: strictly, and with a report of what was used."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from lejepa_jax.models.loading import load
from lejepa_jax.models.model import Model
from lejepa_jax.models.reuse.resizing import more_axes, resize_array
from lejepa_jax.models.tensors import mismatches, name_arrays
from lejepa_jax.training.networks import Variables
from lejepa_jax.training.step import TrainState
from lejepa_jax.training.task import Kept


class Matched(NamedTuple):
    """What of a model a run begins with.

    Attributes:
        arrays: By the names they have in a model.
        resized: Names of those that were resized, with both shapes.
        left: Parts of the run that stay new, and why.
        new_axes: Axes that the network has more than the model: how many `inflate_patches` added.
        positions: What is said of positions that no array holds, where there are more axes.
    """

    arrays: dict[str, np.ndarray]
    resized: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    left: dict[str, str]
    new_axes: int = 0
    positions: str = ""


def initialize_from(
    what: str, kept: Kept | None, state: TrainState, say: Callable[[str], object]
) -> TrainState:
    """Put the weights of a model into the state of step 0.

    Args:
        what: Anything that `load` takes.
        kept: Of the task.
        state: Made by `initial_state`, maybe sharded over devices of several processes.
        say: Called with a line about what was used, what was resized and what is new.

    Returns:
        The state, whose average begins with the same weights.

    Raises:
        ValueError: If the arrays of the encoder do not fit: one line with every difference.
    """
    if kept is None:
        raise ValueError("init_from is for recipes that leave a model, and this one leaves none")
    model = load(what, encoder=kept.parts["encoder"].make)
    wanted = kept_shapes(kept, state.variables)
    found = match_arrays(model, wanted, _encoder_of(kept))
    say(report_matched(what, model, found, kept))

    def put(variables: Variables) -> Variables:
        return Variables(*(_replace(tree, kept, found.arrays) for tree in variables))

    ema = None if state.ema is None else put(state.ema)
    return state._replace(variables=put(state.variables), ema=ema)


def kept_shapes(kept: Kept, variables: Variables) -> dict[str, tuple[int, ...]]:
    """Shapes of what is kept, by the names they have in a model."""
    found = {}
    for part, place in kept.parts.items():
        for tree in variables:
            for key in place.path:
                tree = tree.get(key, {})
            found |= {f"{part}.{name}": tuple(x.shape) for name, x in name_arrays(tree).items()}
    return found


def match_arrays(model: Model, wanted: Mapping[str, tuple[int, ...]], encoder: Any) -> Matched:
    """Find the arrays of a model that fit a network, resizing what stands for sizes of images.

    A network of more axes, such as one of volumes, takes a model of fewer: see `resize_array`.

    Args:
        model: The model.
        wanted: Shapes by name, of the `encoder` and maybe of the `projector`.
        encoder: The network's encoder, with shapes in place of arrays.

    Returns:
        What fits. A projector fits as a whole or not at all.

    Raises:
        ValueError: If an array of the encoder is missing, left over or of another shape.
    """
    arrays = {
        name: np.asarray(leaf)
        for part in model.variables
        for name, leaf in name_arrays(part).items()
    }
    resized = {}
    old = model.net.shape.encoder
    for name, shape in wanted.items():
        if name in arrays and arrays[name].shape != shape:
            new = resize_array(name, arrays[name], shape, old, encoder)
            if new is not None:
                resized[name], arrays[name] = (arrays[name].shape, shape), new
    chosen, left = {}, {}
    for part in ("encoder", "projector"):
        mine = {name: shape for name, shape in wanted.items() if name.startswith(part + ".")}
        theirs = {name: x for name, x in arrays.items() if name.startswith(part + ".")}
        wrong = mismatches({name: x.shape for name, x in theirs.items()}, mine)
        if wrong and part == "encoder":
            raise ValueError(
                f"the encoder of init_from does not fit, {len(wrong)} "
                f"difference{'s' * (len(wrong) > 1)}: {'; '.join(wrong)}"
            )
        if wrong and mine:
            left[part] = "of other sizes" if theirs else "the model has none"
        elif mine:
            chosen |= theirs
    added = more_axes(old, encoder)
    learned = any(".position_" in name for name in resized)
    fixed = added and not learned and encoder.position not in ("none", "learned")
    named = encoder.position_text or "an encoding" if fixed else ""
    text = f"positions: {named} over {encoder.num_axes} axes" if fixed else ""
    return Matched(chosen, resized, left, added, text)


def report_matched(what: str, model: Model, found: Matched, kept: Kept) -> str:
    """Say in a line what a run begins with."""
    step = model.provenance.get("step")
    origin = f" ({model.provenance.get('recipe')}, step {step})" if step is not None else ""
    parts = [f"{len(found.arrays)} arrays used"]
    if found.resized:
        shapes = [f"{name} {old} to {new}" for name, (old, new) in found.resized.items()]
        what_became = f"inflated by {found.new_axes} axis" if found.new_axes else "resized"
        parts.append(f"{what_became}: {', '.join(shapes)}")
    if found.positions:
        parts.append(found.positions)
    new = [f"{part} ({why})" for part, why in found.left.items()]
    if "projector" not in kept.parts:
        new.append("head")
    if new:
        parts.append(f"left new: {', '.join(new)}")
    return f"init from {what}{origin}: " + "; ".join(parts)


def _encoder_of(kept: Kept) -> Any:
    make = kept.parts["encoder"].make
    return nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0)))


def _replace(tree: Any, kept: Kept, arrays: Mapping[str, np.ndarray]) -> Any:
    """Replace arrays of a part of the variables, each where it is on the devices."""
    places = {part: place.path for part, place in kept.parts.items()}

    def one(path: Any, leaf: jax.Array) -> jax.Array:
        keys = tuple(getattr(entry, "key", None) for entry in path)
        for part, place in places.items():
            if keys[: len(place)] == place:
                inner = ".".join(map(str, keys[len(place) :]))
                array = arrays.get(f"{part}.{inner}")
                if array is not None:
                    whole = array.astype(leaf.dtype)
                    return jax.make_array_from_callback(
                        leaf.shape, leaf.sharding, whole.__getitem__
                    )
        return leaf

    return jax.tree_util.tree_map_with_path(one, tree)
