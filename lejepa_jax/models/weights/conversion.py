"""Weights from timm and torchvision to our encoders and back: no transform of a value, no torch."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import PyTree

from lejepa_jax.models.weights.architectures import Architecture, architecture_by_name
from lejepa_jax.models.weights.convolutional import convnext_rules, resnet_rules
from lejepa_jax.models.weights.pytorch import TorchModel, torch_model
from lejepa_jax.models.weights.rules import Rule, read_weights, write_weights
from lejepa_jax.models.weights.transformers import dialect_of
from lejepa_jax.models.weights.transformers import rules as vit_rules
from lejepa_jax.nn.convolutions.convnext_v2 import ConvNeXt
from lejepa_jax.nn.convolutions.residual_network import ResNet
from lejepa_jax.nn.encoder import encoder_by_name

# What a file may hold beside the encoder: classifiers, and what pretraining alone uses.
_IGNORED = {
    "timm": (r"head\.(fc\.)?(weight|bias)", r"head_dist\..*", r"fc\.(weight|bias)", "mask_token"),
    "torchvision": (r"fc\.(weight|bias)",),
}


class Imported(NamedTuple):
    """An encoder made of weights of another library.

    Attributes:
        encoder: What it is, as `lejepa_jax.nn.encoder_by_name` reads it.
        params: Its parameters, as numpy arrays in float32.
        state: Its running statistics.
        left: Names in the file that have no place here: classifiers.
    """

    encoder: str
    params: PyTree
    state: PyTree
    left: tuple[str, ...]


def from_timm(
    state_dict: Mapping[str, np.ndarray], architecture: str, *, prefix: str = ""
) -> Imported:
    """Make an encoder of weights in timm's names.

    Every array of the encoder comes from the file and every array of the file has a place, or one
    error lists all that do not fit.

    Args:
        state_dict: Arrays by name, as `safetensors` reads them.
        architecture: Its name in timm, see `ARCHITECTURES`.
        prefix: What stands in front of the names, such as "backbone."; names without it are left.

    Returns:
        The encoder.

    Raises:
        ValueError: If the architecture is not in the table, or an array is missing, unexpected, of
            another shape or no floating-point array.

    Examples:
        >>> from_timm({"norm.weight": np.ones(192)}, "vit_tiny_patch16_224")
        Traceback (most recent call last):
            ...
        ValueError: weights must fit vit_tiny_patch16_224, got 149 mismatches:
          missing: patch_embed.proj.weight (192, 3, 16, 16)
          ...
    """
    return _read("timm", state_dict, architecture, prefix)


def from_torchvision(
    state_dict: Mapping[str, np.ndarray], architecture: str, *, prefix: str = ""
) -> Imported:
    """Make an encoder of weights in torchvision's names; else as `from_timm`.

    Args:
        state_dict: Arrays by name.
        architecture: Its name in torchvision: resnet18, 34, 50, 101, 152.
        prefix: What stands in front of the names.

    Returns:
        The encoder.

    Raises:
        ValueError: As `from_timm` does.

    Examples:
        >>> from_torchvision({}, "alexnet")
        Traceback (most recent call last):
            ...
        ValueError: architecture must be one of resnet18, ... got 'alexnet'
    """
    return _read("torchvision", state_dict, architecture, prefix)


def to_timm(
    encoder: Any, params: PyTree, state: PyTree, *, architecture: str | None = None
) -> dict[str, np.ndarray]:
    """Give the weights of an encoder in timm's names.

    `torch_model(encoder, "timm")` says which model of timm takes them.

    Args:
        encoder: The encoder, or its shapes as `Network.shape` has them.
        params: Its parameters.
        state: Its running statistics.
        architecture: Name of the model in timm; by default the general class with arguments.

    Returns:
        Arrays by name, for `load_state_dict` with `strict=True`.

    Raises:
        ValueError: If timm has no such model, the architecture is another, or parameters are not
            those of the encoder.

    Examples:
        >>> from lejepa_jax.nn import resnet
        >>> encoder = nnx.eval_shape(lambda: resnet(18, rngs=nnx.Rngs(0)))
        >>> to_timm(encoder, {}, {})
        Traceback (most recent call last):
            ...
        ValueError: parameters must be those of the encoder:
        missing: blocks.0.convs.0.kernel
        ...
    """
    return _write("timm", encoder, params, state, architecture)


def to_torchvision(
    encoder: Any, params: PyTree, state: PyTree, *, architecture: str | None = None
) -> dict[str, np.ndarray]:
    """Give the weights of a ResNet in torchvision's names; else as `to_timm`.

    Args:
        encoder: The encoder, or its shapes.
        params: Its parameters.
        state: Its running statistics.
        architecture: Name of the model in torchvision; by default the general class.

    Returns:
        Arrays by name.

    Raises:
        ValueError: As `to_timm` does.

    Examples:
        >>> from lejepa_jax.nn import vit
        >>> encoder = nnx.eval_shape(lambda: vit("Ti", rngs=nnx.Rngs(0)))
        >>> to_torchvision(encoder, {}, {})
        Traceback (most recent call last):
            ...
        ValueError: format='torchvision' has no model like ViT
    """
    return _write("torchvision", encoder, params, state, architecture)


def named_model(library: str, architecture: str) -> TorchModel:
    """Give the call that makes an architecture by its name, without a classifier.

    Args:
        library: "timm" or "torchvision".
        architecture: Its name.

    Returns:
        The model.

    Raises:
        ValueError: If the architecture is not in the table.

    Examples:
        >>> named_model("timm", "resnet18").constructor
        'timm.create_model'
    """
    found = architecture_by_name(library, architecture)
    if library == "torchvision":
        identity = "model.fc = torch.nn.Identity()"
        return TorchModel(f"torchvision.models.{architecture}", {}, (identity,))
    arguments = {"model_name": architecture, "num_classes": 0}
    if found.dialect.rotates:
        # DINOv3 reads the class token; timm averages the patches unless it is asked for.
        arguments["global_pool"] = "token"
    return TorchModel("timm.create_model", arguments)


def abstract_encoder(text: str) -> Any:
    """Make an encoder with shapes in place of arrays.

    Args:
        text: See `lejepa_jax.nn.encoder_by_name`.

    Returns:
        The module.

    Examples:
        >>> abstract_encoder("resnet18").features
        512
    """
    make = encoder_by_name(text)
    return nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0)))


def rules_for(encoder: Any, library: str, architecture: Architecture | None = None) -> list[Rule]:
    """List the rules between an encoder and the model of another library.

    Args:
        encoder: The encoder, or its shapes.
        library: "timm" or "torchvision".
        architecture: Which model, where it is a named one.

    Returns:
        The rules.

    Raises:
        ValueError: If the library has no such model.

    Examples:
        >>> len(rules_for(abstract_encoder("resnet18"), "timm"))
        120
    """
    torch_model(encoder, library)
    if isinstance(encoder, ResNet):
        return resnet_rules(encoder)
    if isinstance(encoder, ConvNeXt):
        small = architecture is not None and architecture.as_convolution
        return convnext_rules(encoder, as_convolution=small)
    return vit_rules(encoder, dialect_of(encoder) if architecture is None else architecture.dialect)


def _read(library: str, state_dict: Mapping[str, np.ndarray], name: str, prefix: str) -> Imported:
    architecture = architecture_by_name(library, name)
    encoder = abstract_encoder(architecture.encoder)
    trees = _trees(encoder)
    shapes = {path: leaf.shape for tree in trees for path, leaf in _flat(tree).items()}
    inside = {
        key.removeprefix(prefix): x for key, x in state_dict.items() if key.startswith(prefix)
    }
    arrays, left = read_weights(
        inside,
        rules_for(encoder, library, architecture),
        shapes,
        ignored=_IGNORED[library],
        what=name,
    )
    left = (
        *(prefix + key for key in left),
        *(key for key in state_dict if not key.startswith(prefix)),
    )
    params, state = (
        jax.tree_util.tree_map_with_path(lambda path, _: arrays[_join(path)], tree)
        for tree in trees
    )
    return Imported(architecture.encoder, params, state, left)


def _write(
    library: str, encoder: Any, params: PyTree, state: PyTree, name: str | None
) -> dict[str, np.ndarray]:
    architecture = None
    here = torch_model(encoder, library)
    if name is not None:
        architecture = architecture_by_name(library, name)
        there = torch_model(abstract_encoder(architecture.encoder), library)
        differing = [
            f"{key}={here.arguments.get(key)!r} instead of {value!r}"
            for key, value in there.arguments.items()
            if here.arguments.get(key) != value
        ]
        if differing or here.constructor != there.constructor or here.changes != there.changes:
            raise ValueError(f"architecture {name} is another model: {', '.join(differing)}")
    shapes = {path: leaf.shape for tree in _trees(encoder) for path, leaf in _flat(tree).items()}
    arrays = {path: np.asarray(x) for tree in (params, state) for path, x in _flat(tree).items()}
    return write_weights(arrays, rules_for(encoder, library, architecture), shapes)


def _trees(encoder: Any) -> tuple[PyTree, PyTree]:
    _, params, state = nnx.split(encoder, nnx.Param, ...)
    return nnx.to_pure_dict(params), nnx.to_pure_dict(state)


def _join(path: tuple[Any, ...]) -> str:
    return ".".join(str(getattr(entry, "key", getattr(entry, "idx", ""))) for entry in path)


def _flat(tree: PyTree) -> dict[str, Any]:
    return {_join(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
