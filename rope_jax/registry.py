"""Encodings by name, for command lines: ``spherical``, ``axial(learned="joint", base=50)``."""

import ast
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from rope_jax.encodings.additive import learned_absolute, sincos
from rope_jax.encodings.basis import string_cayley, string_circulant
from rope_jax.encodings.encoding import Encoding, no_position
from rope_jax.encodings.lie import comrope, liere
from rope_jax.encodings.rotary import axial, fixed_directions, mixed, rope_1d, uniform
from rope_jax.encodings.triplets import geope, spherical

ENCODINGS: Mapping[str, Callable[..., Encoding]] = MappingProxyType(
    {
        "none": no_position,
        "learned_absolute": learned_absolute,
        "sincos": sincos,
        "rope_1d": rope_1d,
        "axial": axial,
        "uniform": uniform,
        "mixed": mixed,
        "fixed_directions": fixed_directions,
        "spherical": spherical,
        "geope": geope,
        "liere": liere,
        "comrope": comrope,
        "string_cayley": string_cayley,
        "string_circulant": string_circulant,
    }
)
"""The constructors of this package by their names."""


def encoding_by_name(
    spec: str, head_dim: int, num_heads: int, *, num_axes: int = 2, **defaults: Any
) -> Encoding:
    """Make the encoding that a line of text asks for.

    Args:
        spec: A name of :data:`ENCODINGS`, or a call of it with options that are literals:
            ``liere``, ``liere(block_size=4)``.
        head_dim: Channels of one head.
        num_heads: Heads.
        num_axes: Coordinates of a position.
        **defaults: Options for those encodings that have them and are not given others, such as
            ``grid=(8, 8)`` and ``remainder="pass"``.

    Returns:
        The encoding.

    Raises:
        ValueError: If the text is no choice (:func:`parse_choice`), there is no such name or
            option, or the encoding refuses a value.

    Examples:
        >>> import jax
        >>> encoding = encoding_by_name("mixed(base=20.0)", 8, 2)
        >>> encoding.init(jax.random.key(0))["frequencies"].shape
        (2, 2, 4)
        >>> encoding_by_name("mixt", 8, 2)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: encoding must be one of none, learned_absolute, ..., got 'mixt'
    """
    name, options = parse_choice(spec)
    if name not in ENCODINGS:
        raise ValueError(f"encoding must be one of {', '.join(ENCODINGS)}, got {spec!r}")
    make = ENCODINGS[name]
    known = [
        parameter.name
        for parameter in inspect.signature(make).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name != "num_axes"
    ]
    for option in options:
        if option not in known:
            there = ", ".join(known) or "none"
            raise ValueError(f"options of {name} must be among: {there}; got {option!r}")
    suited = {option: value for option, value in defaults.items() if option in known}
    return make(head_dim, num_heads, num_axes=num_axes, **(suited | options))


def parse_choice(text: str) -> tuple[str, dict[str, Any]]:
    """Split a choice on a command line, ``name`` or ``name(option=value, ...)``.

    Values are Python literals; nothing is evaluated. ``name`` and ``name()`` are the same choice.

    Args:
        text: The choice.

    Returns:
        The name and its options.

    Raises:
        ValueError: If the text has another form.

    Examples:
        >>> parse_choice("liere(block_size=4, layout='adjacent')")
        ('liere', {'block_size': 4, 'layout': 'adjacent'})
        >>> parse_choice("none()")
        ('none', {})
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, {}
        if (
            isinstance(tree, ast.Call)
            and isinstance(tree.func, ast.Name)
            and not tree.args
            and all(word.arg for word in tree.keywords)
        ):
            options = {str(word.arg): ast.literal_eval(word.value) for word in tree.keywords}
            return tree.func.id, options
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        pass  # all that the parser raises on text that is no such expression
    raise ValueError(f"wanted a name or name(option=literal, ...), got {text!r}")
