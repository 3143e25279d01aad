"""Networks as data: a name that is looked up in a list, and options that are literals.

A configuration that was loaded names what makes a network; nothing in it is code. The names are
those that `lejepa_jax.nn` and `pointcloud_jax.nn` export.
"""

import contextlib
import dataclasses
import functools
import importlib
import inspect
import math
import re
from collections.abc import Callable
from typing import Any

from flax import nnx

from lejepa_jax.nn.encoder import ENCODERS

#: Packages whose networks a configuration may name.
PACKAGES = ("lejepa_jax.nn", "pointcloud_jax.nn")
#: Largest size that an option may be. No width, grid or number of points comes near.
MAX_SIZE = 2**17
_MAX_TEXT, _MAX_ITEMS, _MAX_NESTED = 1000, 1000, 8
_MAKERS = frozenset(family.make.__name__ for family in ENCODERS.values())
# Options that say how often something is made. Each has at least one array of its own.
_COUNTS = re.compile(r"depth|layers|blocks|stages|stage_sizes|rounds|hops")


def describe_maker(make: Callable[..., Any]) -> dict[str, Any]:
    """Say what makes a network, as data.

    Args:
        make: A class or a maker that `lejepa_jax.nn` or `pointcloud_jax.nn` exports, or a
            `functools.partial` of one.

    Returns:
        Its name and its options, which JSON can hold. Of any other function its name is under
        `own`: a model of it can be loaded by who has that function.

    Raises:
        ValueError: If an option is neither a literal nor a configuration of those packages.

    Examples:
        >>> from lejepa_jax.nn import resnet
        >>> describe_maker(functools.partial(resnet, 18, stem="small"))
        {'make': 'lejepa_jax.nn.resnet', 'options': {'depth': 18, 'stem': 'small'}}
        >>> from lejepa_jax.nn import Projector
        >>> describe_maker(functools.partial(Projector, 8, num_layers=1))["options"]
        {'in_features': 8, 'num_layers': 1}
    """
    args, options = (), {}
    function = make
    while isinstance(function, functools.partial):
        args, options = (*function.args, *args), {**function.keywords, **options}
        function = function.func
    name = _name_of(function)
    if name is None:
        # Whoever loads it gives the function; what the run gave it goes with it.
        literal = {}
        for key, value in options.items():
            with contextlib.suppress(ValueError):
                literal[key] = _describe(value, key)
        own = f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"
        return {"own": own, "options": literal}
    if args:
        options = {**_by_name(function, args), **options}
    return {
        "make": name,
        "options": {key: _describe(value, f"{name}({key})") for key, value in options.items()},
    }


def is_known(description: dict[str, Any]) -> bool:
    """Say whether a description names a network of these packages.

    Examples:
        >>> is_known({"own": "mine.Encoder"})
        False
    """
    return "own" not in description


def maker_of(
    description: Any, num_arrays: int, own: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Find what a description names. Nothing is made, and nothing of the description is run.

    Args:
        description: What `describe_maker` gave, maybe from a file that somebody else made.
        num_arrays: Arrays that the network has, which bounds how often a part of it is made.
        own: What makes a network that is not of these packages.

    Returns:
        The maker with its options.

    Raises:
        ValueError: If the name is not among those that these packages export and `own` is missing,
            an option is no literal, or a size is absurd.

    Examples:
        >>> maker_of({"make": "os.system", "options": {"command": "ls"}}, 1)
        Traceback (most recent call last):
            ...
        ValueError: the architecture names 'os.system', which is no network of lejepa_jax.nn or
        pointcloud_jax.nn
    """
    keys = set(description) if isinstance(description, dict) else set()
    if keys not in ({"make", "options"}, {"own", "options"}):
        raise ValueError("the architecture must name what makes the network, and its options")
    if "make" in keys:
        return _read(description, num_arrays, 0)
    if own is None:
        raise ValueError(
            f"the encoder of this model is {str(description['own'])[:200]!r}, which is no network "
            f"of {' or '.join(PACKAGES)}: give what makes it as in the recipe, load(..., "
            "encoder=MAKER)"
        )
    return functools.partial(own, **_read_options(description["options"], num_arrays, 0))


def _name_of(thing: Any) -> str | None:
    """Name of a network or a configuration of these packages; None for anything else."""
    package = f"{getattr(thing, '__module__', '').partition('.')[0]}.nn"
    if package not in PACKAGES:
        return None
    module = importlib.import_module(package)
    for name in module.__all__:
        if getattr(module, name) is thing and _is_allowed(thing, name):
            return f"{package}.{name}"
    return None


def _by_name(function: Callable[..., Any], args: tuple[Any, ...]) -> dict[str, Any]:
    """Names of positional arguments. The signature of a module is that of its metaclass."""
    if inspect.isclass(function):
        bound = inspect.signature(function.__init__).bind_partial(None, *args).arguments
        return dict(list(bound.items())[1:])
    return inspect.signature(function).bind_partial(*args).arguments


def _is_allowed(thing: Any, name: str) -> bool:
    if inspect.isclass(thing):
        return issubclass(thing, nnx.Module) or dataclasses.is_dataclass(thing)
    return name in _MAKERS


def _describe(value: Any, place: str) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, tuple | list):
        return [_describe(item, place) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = _name_of(type(value))
        if name is not None:
            fields = dataclasses.fields(value)
            return {
                "make": name,
                "options": {
                    field.name: _describe(getattr(value, field.name), f"{place}.{field.name}")
                    for field in fields
                },
                "is": "value",
            }
    if callable(value):
        described = describe_maker(value)
        if is_known(described):
            return described
    raise ValueError(
        f"{place} must be a literal or a network or configuration of {' or '.join(PACKAGES)} for "
        f"the model to be saved, got {value!r}"
    )


def _read(value: Any, num_arrays: int, nested: int, place: str = "the architecture") -> Any:
    if nested > _MAX_NESTED:
        raise ValueError("the architecture is nested too deeply")
    if isinstance(value, dict):
        return _read_make(value, num_arrays, nested)
    if isinstance(value, list):
        if len(value) > _MAX_ITEMS:
            raise ValueError(f"{place} must have at most {_MAX_ITEMS} items, got {len(value)}")
        return tuple(_read(item, num_arrays, nested + 1, place) for item in value)
    if isinstance(value, str):
        if len(value) > _MAX_TEXT or any(int(n) > MAX_SIZE for n in re.findall(r"\d{1,20}", value)):
            raise ValueError(f"{place} must be a short text with sizes up to {MAX_SIZE}")
        return value
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        limit = num_arrays if _COUNTS.search(place.rpartition(" ")[2]) else MAX_SIZE
        # Small counts are never absurd, and a description may count what has no array.
        if abs(value) > max(limit, 64):
            raise ValueError(f"{place} must be at most {limit} in this model, got {value}")
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(f"{place} must be a literal, got {value!r}")


def _read_make(value: dict[str, Any], num_arrays: int, nested: int) -> Any:
    name, options = value.get("make"), value.get("options")
    if not isinstance(name, str) or not isinstance(options, dict):
        raise ValueError("the architecture must name what makes each part, and its options")
    package, _, last = name.rpartition(".")
    thing: Any = None
    if package in PACKAGES:
        module = importlib.import_module(package)
        thing = getattr(module, last) if last in module.__all__ else None
    if thing is None or not _is_allowed(thing, last):
        raise ValueError(
            f"the architecture names {name[:80]!r}, which is no network of {' or '.join(PACKAGES)}"
        )
    read = _read_options(options, num_arrays, nested)
    if value.get("is") == "value":
        if not dataclasses.is_dataclass(thing):
            raise ValueError(f"the architecture takes {name[:80]!r} for a configuration")
        make: Any = thing
        try:
            return make(**read)
        except TypeError as error:
            raise ValueError(f"the options of {name} do not fit: {error}") from None
    return functools.partial(thing, **read)


def _read_options(options: Any, num_arrays: int, nested: int) -> dict[str, Any]:
    if not isinstance(options, dict) or len(options) > _MAX_ITEMS:
        raise ValueError("the architecture must give the options of each part by name")
    return {
        key: _read(item, num_arrays, nested + 1, f"option {str(key)[:80]}")
        for key, item in options.items()
    }


def call_maker(make: Callable[..., Any], what: str, **options: Any) -> Any:
    """Make a network, with one clear error where its options do not fit.

    Args:
        make: What `maker_of` gave, or a maker of the user's own.
        what: What is made, for the error.
        **options: `dtype`, `axis_name`, `rngs` and what else is given.

    Returns:
        The network.

    Raises:
        ValueError: If it cannot be made.
    """
    try:
        return make(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} cannot be made from its description: {error}") from error
