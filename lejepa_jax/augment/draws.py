"""The random numbers of a view: keys of examples, and everything that is drawn from them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

_TRIES = 10  # as in torchvision


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


def draw_numbers(key: PRNGKeyArray, number: Array) -> Draws:
    """Draw everything random about view `number` of an example, in float32 whatever is enabled."""
    shape = (len(Draws._fields),)
    return Draws(*jax.random.uniform(jax.random.fold_in(key, number), shape, jnp.float32))


def draw_tries(key: PRNGKeyArray, number: Array) -> Float[Array, "tries 2"]:
    """Draw area and ratio of ten windows, from a key of their own: no view is numbered so high."""
    key = jax.random.fold_in(key, number + jnp.uint32(2**30))
    return jax.random.uniform(key, (_TRIES, 2), jnp.float32)


def between(number, bounds: tuple[float, float]):
    """Map a uniform number in [0, 1) to a range."""
    low, high = map(float, bounds)  # a NumPy number would widen the type
    return low + (high - low) * number


def either_way(number, largest: float):
    """Map a uniform number in [0, 1) to [-largest, largest)."""
    return float(largest) * (2 * number - 1)
