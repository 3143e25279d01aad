"""Vision transformers as timm has them: `VisionTransformer`, and `Eva` where positions rotate."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

import rope_jax
from lejepa_jax.models.weights.rules import (
    Arrays,
    Rule,
    constant,
    linear,
    norm,
    patches,
    rename,
    token,
)
from lejepa_jax.nn.transformers.positions import sincos_grid
from lejepa_jax.nn.transformers.vision_transformer import ViT


class Dialect(NamedTuple):
    """What timm's transformers of one shape may still differ in.

    Attributes:
        rotates: Whether it is `Eva`, the class with rotary positions.
        class_row: Whether the table of positions has a row for the class token.
        split_bias: Whether queries and values have an offset each, and keys none.
        split_gate: Whether the gate of SwiGLU is a map of its own.
    """

    rotates: bool = False
    class_row: bool = True
    split_bias: bool = False
    split_gate: bool = False


def dialect_of(encoder: ViT) -> Dialect:
    """Give the dialect to write an encoder in where no architecture is named.

    Args:
        encoder: The encoder, or its shapes.

    Returns:
        The dialect.

    Examples:
        >>> from flax import nnx
        >>> from lejepa_jax.nn import vit
        >>> encoder = nnx.eval_shape(lambda: vit("Ti", num_registers=4, rngs=nnx.Rngs(0)))
        >>> dialect_of(encoder).class_row
        False
    """
    # Registers have no rows here; there, they have rows where the class token has one.
    return Dialect(rotates=not isinstance(encoder.position, str), class_row=not encoder.registers)


def rules(encoder: ViT, dialect: Dialect) -> list[Rule]:
    """List the rules between a vision transformer and timm's.

    Args:
        encoder: The encoder, or its shapes.
        dialect: How timm names and lays out the rest.

    Returns:
        The rules.

    Raises:
        ValueError: If timm has no such positions, or the encoder is not of images.

    Examples:
        >>> from flax import nnx
        >>> from lejepa_jax.nn import vit
        >>> encoder = nnx.eval_shape(lambda: vit("Ti", rngs=nnx.Rngs(0)))
        >>> [rule.theirs for rule in rules(encoder, Dialect())][:3]
        [('patch_embed.proj.weight',), ('patch_embed.proj.bias',), ('cls_token',)]
    """
    size = encoder.patch_size
    if encoder.num_axes != 2 or not isinstance(size, int) or encoder.causal:
        raise ValueError("timm has transformers of images with square patches alone")
    found = patches(
        "patch_embed.proj",
        "patch_embedding",
        size=size,
        bias=not encoder.norm_before,
    )
    found += _tokens(encoder, dialect)
    if encoder.norm_before:
        found += norm("norm_pre", "input_norm")
    for index in range(len(encoder.blocks)):
        found += _block(encoder, dialect, index)
    found += norm("fc_norm" if encoder.norm_after_mean else "norm", "norm")
    if encoder.attention_pooling is not None:
        found.append(token("attn_pool.latent", "attention_pooling.latent"))
        found += norm("attn_pool.norm", "attention_pooling.norm")
        pairs = ("q", "query"), ("kv", "key_value"), ("proj", "out")
        for theirs, ours in (*pairs, ("mlp.fc1", "expand"), ("mlp.fc2", "contract")):
            found += linear(f"attn_pool.{theirs}", f"attention_pooling.{ours}")
    return found


def _tokens(encoder: ViT, dialect: Dialect) -> Iterator[Rule]:
    """Class token, registers, and where patches are."""
    has_class, has_table = encoder.cls_token is not None, encoder.position_table is not None
    if encoder.registers is not None:
        yield token("reg_token", "registers")
    if has_class and has_table and not dialect.class_row:
        # The row of the class token is added to it whatever the image is.
        yield Rule(
            ("cls_token", "pos_embed"),
            ("cls_token", "position_table"),
            lambda cls, table: (cls[0], np.concatenate([np.zeros_like(table[0, :1]), table[0]])),
            lambda cls, table: ((cls + table[:1])[None], table[None, 1:]),
        )
        has_table = False
    elif has_class:
        yield token("cls_token", "cls_token")
    if has_table:
        yield token("pos_embed", "position_table")
    if encoder.position == "sincos":
        yield constant("pos_embed", lambda: _sincos(encoder, has_class and dialect.class_row))
    elif not isinstance(encoder.position, str):
        name, _, _ = rope_choice(encoder)
        if name == "mixed":
            yield Rule(
                ("rope.freqs",),
                ("position_params.frequencies",),
                lambda x: (x.transpose(1, 0, 2, 3),),
                lambda x: (x.transpose(1, 0, 2, 3),),
            )


def _sincos(encoder: ViT, class_row: bool) -> np.ndarray:
    table = np.asarray(sincos_grid(encoder.grid, encoder.features)).reshape(-1, encoder.features)
    return np.pad(table, ((int(class_row), 0), (0, 0)))[None]


def _block(encoder: ViT, dialect: Dialect, index: int) -> list[Rule]:
    block = encoder.blocks[index]
    there = here = f"blocks.{index}"
    found = norm(f"{there}.norm1", f"{here}.attention_norm")
    found += norm(f"{there}.norm2", f"{here}.mlp_norm")
    has_bias = block.attention.qkv.bias is not None
    qkv = linear(
        f"{there}.attn.qkv", f"{here}.attention.qkv", bias=has_bias and not dialect.split_bias
    )
    found += qkv
    if has_bias and dialect.split_bias:
        found.append(_separate_biases(f"{there}.attn", f"{here}.attention.qkv.bias"))
    found += linear(f"{there}.attn.proj", f"{here}.attention.out")
    if block.attention.query_norm is not None:
        has_offset = block.attention.query_norm.bias is not None
        width = encoder.features // block.attention.num_heads
        for theirs, ours in (("q_norm", "query_norm"), ("k_norm", "key_norm")):
            found += norm(f"{there}.attn.{theirs}", f"{here}.attention.{ours}", bias=has_offset)
            if not has_offset:
                found.append(constant(f"{there}.attn.{theirs}.bias", lambda: np.zeros(width, "f4")))
    if block.layer_scales is not None:
        scales = ("gamma_1", "gamma_2") if dialect.rotates else ("ls1.gamma", "ls2.gamma")
        for which, scale in enumerate(scales):
            found.append(rename(f"{there}.{scale}", f"{here}.layer_scales.{which}"))
    if block.activation == "swiglu" and dialect.split_gate:
        found += _separate_gate(f"{there}.mlp", f"{here}.expand")
    else:
        found += linear(f"{there}.mlp.fc1", f"{here}.expand")
    return [*found, *linear(f"{there}.mlp.fc2", f"{here}.contract")]


def _separate_biases(theirs: str, ours: str) -> Rule:
    def write(bias: np.ndarray) -> Arrays:
        query, key, value = np.split(bias, 3)
        if key.any():
            raise ValueError(
                f"{ours} must be 0 for the keys in this architecture, got up to "
                f"{np.abs(key).max():.3g}: name no architecture and the general class is written"
            )
        return query, value

    return Rule(
        (f"{theirs}.q_bias", f"{theirs}.v_bias"),
        (ours,),
        lambda query, value: (np.concatenate([query, np.zeros_like(query), value]),),
        write,
    )


def _separate_gate(theirs: str, ours: str) -> list[Rule]:
    names = (f"{theirs}.fc1_g", f"{theirs}.fc1_x")
    return [
        Rule(
            tuple(f"{name}.weight" for name in names),
            (f"{ours}.kernel",),
            lambda gate, value: (np.concatenate([gate.T, value.T], 1),),
            lambda kernel: tuple(part.T for part in np.split(kernel, 2, 1)),
        ),
        Rule(
            tuple(f"{name}.bias" for name in names),
            (f"{ours}.bias",),
            lambda gate, value: (np.concatenate([gate, value]),),
            lambda bias: tuple(np.split(bias, 2)),
        ),
    ]


def rope_choice(encoder: ViT) -> tuple[str, dict[str, object], dict[str, object]]:
    """Name the rotary positions of an encoder as timm does.

    Args:
        encoder: The encoder, or its shapes.

    Returns:
        Name of the encoding here, its options, and arguments of `Eva` that say the same.

    Raises:
        ValueError: If timm has no such positions.

    Examples:
        >>> from flax import nnx
        >>> from lejepa_jax.nn import vit
        >>> encoder = nnx.eval_shape(lambda: vit("Ti", position="axial(layout='adjacent')",
        ...     coordinates="integer", rngs=nnx.Rngs(0)))
        >>> rope_choice(encoder)[2]["rope_temperature"]
        100.0
    """
    text = encoder.position_text
    name, options = (text, {}) if text is None else rope_jax.parse_choice(text)
    given = {"base": 10.0 if name == "mixed" else 100.0, "layout": "half_split", "scale": 1.0}
    given |= {key: value for key, value in options.items() if key != "rotate_init"}
    coordinates = encoder.coordinates if isinstance(encoder.coordinates, str) else "centers"
    places = rope_jax.parse_choice(coordinates)
    base = given["base"]
    rest = {key: value for key, value in given.items() if key != "base"}
    if places == ("integer", {}) and rest == {"layout": "adjacent", "scale": 1.0}:
        common = {"rope_grid_indexing": "xy", "rope_temperature": base}
        if name == "axial":
            return "axial", options, {**common, "rope_type": "cat"}
        if name == "mixed" and encoder.position_sets == len(encoder.blocks):
            return "mixed", options, {**common, "rope_type": "mixed"}
    everywhere = places == ("centers", {"order": "ij", "train_shape": None})
    if name == "axial" and everywhere and rest == {"layout": "half_split", "scale": 2.0}:
        theirs = {"rope_type": "dinov3", "rope_temperature": base, "rope_rotate_half": True}
        return "axial", options, theirs
    raise ValueError(
        f"position={text!r} with coordinates={encoder.coordinates!r} must be one that timm has: "
        'axial(layout="adjacent") or mixed(layout="adjacent") with "integer", axial(scale=2.0) '
        "with \"centers(order='ij', train_shape=None)\""
    )
