"""The random numbers of a view: keys of examples, and everything that is drawn from them."""

from typing import NamedTuple

import jax
from jaxtyping import Array, Int, Key, PRNGKeyArray


class Draws(NamedTuple):
    """Uniform numbers of one view. All are always drawn: an option changes nothing but itself."""

    area: Array
    ratio: Array
    x: Array
    y: Array
    flip: Array
    angle: Array
    jitter: Array
    brightness: Array
    contrast: Array
    saturation: Array
    hue: Array
    gray: Array
    blur: Array
    sigma: Array
    solarize: Array
    erase: Array
    erase_area: Array
    erase_ratio: Array
    erase_x: Array
    erase_y: Array


def example_keys(key: PRNGKeyArray, index: Int[Array, " b"]) -> Key[Array, " b"]:
    """Derive one key an example from its position in the whole data set or global batch.

    Args:
        key: the same on every device; `fold_in(key, step)` gives new views each step.
        index: the global index of each example, so that the views do not depend on the sharding.

    Returns:
        One key an example.

    Examples:
        >>> example_keys(jax.random.key(0), jax.numpy.arange(3)).shape
        (3,)
    """
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(index)


def between(number, bounds: tuple[float, float]):
    """Map a uniform number in [0, 1) to a range."""
    low, high = bounds
    return low + (high - low) * number


def either_way(number, largest: float):
    """Map a uniform number in [0, 1) to [-largest, largest)."""
    return largest * (2 * number - 1)
