"""Choices by name and options, as a line of text: `epps_pulley(t_max=5, num_knots=41)`."""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

Choice = TypeVar("Choice", bound=Callable[..., Any])

#: What is given at every call, and never by name.
_NO_OPTIONS = ("mask", "axis_name")


def choose(
    kind: str,
    text: str,
    table: Mapping[str, Choice],
    *,
    readers: Mapping[str, Callable[[str], Any]] | None = None,
) -> Choice:
    """Look a function up by name, and bind the options that the text gives.

    Args:
        kind: What is chosen, for errors.
        text: A name of the table, or a call of it with options that are literals. Nothing in it is
            run.
        table: Functions by name; their keyword-only arguments are the options.
        readers: By option, what turns a text into its value, for options that are themselves
            chosen by name.

    Returns:
        The function of the table, or its `functools.partial` with the options.

    Raises:
        ValueError: If there is no such name or option, the type of a value does not fit, or the
            text is neither a name nor a call.

    Examples:
        >>> def power(x, *, exponent: int = 2):
        ...     return x**exponent
        >>> choose("function", "power(exponent=3)", {"power": power})(2)
        8
        >>> choose("function", "root", {"power": power})
        Traceback (most recent call last):
            ...
        ValueError: function must be one of power, got 'root'
        >>> choose("function", "power(exponent='3')", {"power": power})
        Traceback (most recent call last):
            ...
        ValueError: exponent of power must be int, got '3'
    """
    from rope_jax.registry import parse_choice  # later, since it imports all encodings

    try:
        name, options = parse_choice(text)
    except ValueError as error:
        names = ", ".join(table)
        raise ValueError(f"{kind} must be one of {names}: {error}") from None
    if name not in table:
        raise ValueError(f"{kind} must be one of {', '.join(table)}, got {text!r}")
    if not options:
        return table[name]
    known = {
        parameter.name: parameter.annotation
        for parameter in inspect.signature(table[name]).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in _NO_OPTIONS
    }
    values = {}
    for option, value in options.items():
        if option not in known:
            there = ", ".join(known) or "none"
            raise ValueError(f"options of {name} must be among: {there}; got {option!r}")
        reader = (readers or {}).get(option)
        if reader is not None and isinstance(value, str):
            value = reader(value)
        elif not _fits(value, known[option]):
            wanted = _words(known[option])
            raise ValueError(f"{option} of {name} must be {wanted}, got {value!r}")
        values[option] = value
    return typing.cast(Choice, functools.partial(table[name], **values))


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a literal is what an annotation asks for; what is not known here fits nothing."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is Sequence:
        return isinstance(value, (tuple, list)) and all(_fits(v, arguments[0]) for v in value)
    if annotation in (None, types.NoneType):
        return value is None
    if annotation is bool:
        return isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return annotation is str and isinstance(value, str)


def _words(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_words, arguments))
    if origin is Sequence:
        return f"a tuple of {_words(arguments[0])}"
    if annotation is types.NoneType:
        return "None"
    return getattr(annotation, "__name__", str(annotation))
