"""Encoders of clouds by name and options, as they are chosen on a command line."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from lejepa_jax.choices import choose
from pointcloud_jax.nn.dgcnn import DGCNN, VNDGCNN
from pointcloud_jax.nn.dipvnet.configs import (
    DiPVNetConfig,
    DirectionOptions,
    modelnet40_config,
    small_config,
    tiny_config,
)
from pointcloud_jax.nn.dipvnet.networks import DiPVNet, DiPVNetParts
from pointcloud_jax.nn.hierarchy import HierarchicalEncoder, HierarchyConfig
from pointcloud_jax.nn.spectral_descriptor import WithSpectrum

#: Makes an encoder from `axis_name` and `rngs`.
Maker = Callable[..., Any]


def _hierarchical(
    normals: bool,
    parts: bool,
    /,
    *,
    centers: Sequence[int] = (64, 16),
    shares: Sequence[float] = (1 / 16, 1 / 4),
    widths: Sequence[int] = (32, 64),
    edges: int = 16,
    surfaces: Sequence[float] = (1 / 32, 1 / 16),
    embedding: int = 256,
    chirality: bool = False,
    spectrum: bool = True,
) -> Maker:
    del parts  # one encoder describes points and clouds
    config = HierarchyConfig(
        tuple(centers),
        tuple(shares),
        tuple(widths),
        edges=edges,
        surfaces=tuple(surfaces),
        embedding=embedding,
        normals=normals,
        chirality=chirality,
    )
    make = functools.partial(HierarchicalEncoder, config)
    return functools.partial(WithSpectrum, make) if spectrum else make


def _dipvnet(config: Callable[[DirectionOptions], DiPVNetConfig]) -> Callable[..., Maker]:
    def make(normals: bool, parts: bool, /, *, k: int | None = None, chirality: bool = False):
        found = config(DirectionOptions(chirality=chirality))
        options = {**vars(found), "normals": normals, "k": found.k if k is None else k}
        return functools.partial(DiPVNetParts if parts else DiPVNet, DiPVNetConfig(**options))

    return make


def _dgcnn(module: Callable[..., Any], widths: tuple[int, ...], embedding: int):
    def make(
        normals: bool,
        parts: bool,
        /,
        *,
        widths: Sequence[int] = widths,
        embedding: int = embedding,
        k: int = 8,
    ) -> Maker:
        del parts
        options = {"normals": True} if normals else {}
        return functools.partial(module, tuple(widths), embedding=embedding, k=k, **options)

    return make


#: What makes the maker of an encoder from whether clouds have normals, whether parts are wanted,
#: and options.
CLOUD_ENCODERS: Mapping[str, Callable[..., Maker]] = MappingProxyType(
    {
        "hierarchical": _hierarchical,
        "dipvnet_tiny": _dipvnet(tiny_config),
        "dipvnet_small": _dipvnet(small_config),
        "dipvnet": _dipvnet(modelnet40_config),
        "vndgcnn": _dgcnn(VNDGCNN, (8, 16), 32),
        "dgcnn": _dgcnn(DGCNN, (32, 64), 256),
    }
)


def cloud_encoder_by_name(text: str, *, normals: bool = False, parts: bool = False) -> Maker:
    """Give what makes the encoder that a line of text asks for.

    Args:
        text: A name of `CLOUD_ENCODERS`, alone or called with options that are literals:
            `hierarchical`, `hierarchical(widths=(32, 64), spectrum=False)`, `dipvnet-tiny(k=12)`.
        normals: Whether clouds come with normals.
        parts: Whether points are described for segmentation, by encoders that have a form for it.

    Returns:
        A function of `axis_name` and `rngs`.

    Raises:
        ValueError: If there is no such name or option, or a value does not fit.

    Examples:
        >>> from flax import nnx
        >>> make = cloud_encoder_by_name("hierarchical(embedding=32, spectrum=False)")
        >>> nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0))).features
        64
        >>> cloud_encoder_by_name("pointnet")
        Traceback (most recent call last):
            ...
        ValueError: encoder must be one of hierarchical, dipvnet_tiny, dipvnet_small, dipvnet,
        vndgcnn, dgcnn, got 'pointnet'
    """
    head, bracket, rest = text.strip().partition("(")
    chosen = choose("encoder", head.replace("-", "_") + bracket + rest, CLOUD_ENCODERS)
    return chosen(normals, parts)


def cloud_encoders_by_name(
    text: str, *, normals: bool = False, parts: bool = False
) -> dict[str, Maker]:
    """Give what makes each of several encoders, with commas between them.

    Args:
        text: Names as of `cloud_encoder_by_name`.
        normals: Whether clouds come with normals.
        parts: Whether points are described for segmentation.

    Returns:
        Makers by the text that names them.

    Raises:
        ValueError: As `cloud_encoder_by_name`, and if two are the same.

    Examples:
        >>> list(cloud_encoders_by_name("hierarchical(edges=8, widths=(8, 8)), dipvnet-tiny"))
        ['hierarchical(edges=8, widths=(8, 8))', 'dipvnet-tiny']
    """
    names, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            names.append("")
        else:
            names[-1] += letter
    names = [re.sub(r"\s+", " ", name).strip() for name in names]
    if len(set(names)) < len(names):
        raise ValueError(f"networks must differ from each other, got {text!r}")
    return {name: cloud_encoder_by_name(name, normals=normals, parts=parts) for name in names}
