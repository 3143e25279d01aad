"""Checks of arguments that several modules share, each with one clear `ValueError`."""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp


def check_floating(name: str, array: jax.Array) -> None:
    """Require a real floating dtype, integers being a sign of unscaled data."""
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name} must have a floating dtype, got {array.dtype}")


def check_samples(name: str, array: jax.Array, mask: jax.Array | None) -> None:
    """Require `(*batch, n, d)`, none of the last two empty, and a mask `(*batch, n)`."""
    check_floating(name, array)
    if array.ndim < 2:
        raise ValueError(f"{name} must have at least 2 axes (samples, features), got {array.shape}")
    if 0 in array.shape[-2:]:
        raise ValueError(f"{name} must hold samples and features, got shape {array.shape}")
    if mask is not None and mask.shape != array.shape[:-1]:
        raise ValueError(f"mask must have shape {array.shape[:-1]} like {name}, got {mask.shape}")


def check_positive(name: str, value: float) -> None:
    """Require a number above zero."""
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Require one of a few words."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


class MissingExtra(ImportError, ValueError):
    """An optional library is not installed; the message is the command that installs it."""


@contextlib.contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Say which extra of this package brings a library whose import fails inside the block.

    Args:
        extra: Name of the extra.

    Raises:
        MissingExtra: If a library is missing.

    Examples:
        >>> with needs_extra("train"):
        ...     import a_library_that_is_missing
        Traceback (most recent call last):
            ...
        lejepa_jax.checks.MissingExtra: a_library_that_is_missing is not installed:
            pip install 'lejepa-jax[train]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed: pip install 'lejepa-jax[{extra}]'"
        raise MissingExtra(message) from error
