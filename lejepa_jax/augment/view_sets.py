"""Sets of views by name, for command lines: `photographs(count=4, size=96, local=6)`."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

from lejepa_jax.augment.presets import (
    cifar_view,
    digits_view,
    global_view,
    local_view,
    minimal_view,
)
from lejepa_jax.augment.specs import ViewSpec
from lejepa_jax.choices import choose


def digits(*, count: int = 4, size: int = 12) -> tuple[ViewSpec, ...]:
    """Views of handwritten characters, see :func:`digits_view`.

    Args:
        count: How many views.
        size: Side in pixels.

    Returns:
        The specifications.

    Examples:
        >>> digits(count=2)[0].count
        2
    """
    return (digits_view(count, size),)


def small(*, count: int = 4, size: int = 32) -> tuple[ViewSpec, ...]:
    """Views of photographs of some 32 pixels, see :func:`cifar_view`.

    Args:
        count: How many views.
        size: Side in pixels.

    Returns:
        The specifications.

    Examples:
        >>> small()[0].size
        32
    """
    return (cifar_view(count, size),)


def photographs(
    *, count: int = 4, size: int = 128, local: int = 0, local_size: int = 64
) -> tuple[ViewSpec, ...]:
    """Views of photographs: strong colors, and small windows if asked for.

    Args:
        count: How many global views; without local ones they are those of the paper's minimal
            example, with local ones those of its ImageNet recipe.
        size: Their side in pixels.
        local: How many local views.
        local_size: Their side in pixels.

    Returns:
        The specifications, global views first.

    Examples:
        >>> [spec.count for spec in photographs(count=2, local=6)]
        [2, 6]
    """
    if not local:
        return (minimal_view(count, size),)
    return global_view(count, size), local_view(local, local_size)


def scans(
    *, count: int = 4, size: int = 128, local: int = 0, local_size: int = 64
) -> tuple[ViewSpec, ...]:
    """Views of gray images with an upright, such as radiographs: never mirrored, no colors.

    Args:
        count: How many global views.
        size: Their side in pixels.
        local: How many local views.
        local_size: Their side in pixels.

    Returns:
        The specifications, global views first.

    Examples:
        >>> scans()[0].flip
        0.0
    """
    view = ViewSpec(
        count=count,
        size=size,
        scale=(0.3, 1.0),
        flip=0.0,
        rotation=10.0,
        brightness=0.3,
        contrast=0.3,
        blur_prob=0.3,
        noise=0.02,
        mean=(0.5,),
        std=(0.25,),
    )
    small = dataclasses.replace(view, count=max(local, 1), size=local_size, scale=(0.05, 0.3))
    return (view, small) if local else (view,)


def rotations(
    *, count: int = 4, size: int = 128, local: int = 0, local_size: int = 64
) -> tuple[ViewSpec, ...]:
    """Views of images without an upright, such as micrographs: any rotation, mirrored or not.

    Args:
        count: How many global views.
        size: Their side in pixels.
        local: How many local views.
        local_size: Their side in pixels.

    Returns:
        The specifications, global views first.

    Examples:
        >>> rotations()[0].rotation
        180.0
    """
    views = scans(count=count, size=size, local=local, local_size=local_size)
    return tuple(dataclasses.replace(view, flip=0.5, rotation=180.0) for view in views)


#: Sets of views by their names.
VIEW_SETS: Mapping[str, Callable[..., tuple[ViewSpec, ...]]] = MappingProxyType(
    {
        "digits": digits,
        "small": small,
        "photographs": photographs,
        "scans": scans,
        "rotations": rotations,
    }
)


def views_by_name(text: str) -> tuple[ViewSpec, ...]:
    """Make the views that a line of text asks for.

    Args:
        text: A name of `VIEW_SETS`, alone or called with options.

    Returns:
        The specifications, global views first.

    Raises:
        ValueError: If there is no such name or option, or a value is out of range.

    Examples:
        >>> views_by_name("scans(count=2, size=64)")[0].size
        64
    """
    return choose("views", text, VIEW_SETS)()
