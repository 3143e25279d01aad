"""Checks for tests of your own: what does not change when a cloud is rotated, moved or shuffled."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lejepa_jax.checks import check_choice, check_positive
from pointcloud_jax.geometry.rotations import random_rotation, rotate

#: What may be done to a cloud. "rotation" is any of SO(3), each cloud by its own; "reflection" a
#: rotation and a mirror; "translation" a shift by up to the cloud's size; "permutation" another
#: order of the points; "scale" a factor between a half and two.
CHANGES = ("rotation", "reflection", "translation", "permutation", "scale")


def random_clouds(
    key: PRNGKeyArray, batch: int = 2, num_points: int = 32
) -> Float[Array, "{batch} {num_points} 3"]:
    """Draw clouds that are not symmetric under anything.

    Args:
        key: Random key.
        batch: Number of clouds.
        num_points: Points of each.

    Returns:
        Clouds of size 1 or so, longer along one axis than another, not centered.

    Examples:
        >>> random_clouds(jax.random.key(0)).shape
        (2, 32, 3)
    """
    points = jax.random.normal(key, (batch, num_points, 3), jnp.float32)
    # Skewed too: a cloud of two equal halves would hide odd degrees.
    points = points + 0.3 * jnp.square(points)
    return points * jnp.array([[[1.0, 0.6, 0.3]]], jnp.float32)


def assert_invariant(
    function: Callable[..., Any],
    key: PRNGKeyArray,
    *,
    under: Sequence[str] = ("rotation",),
    points: Float[Array | np.ndarray, "b n 3"] | None = None,
    normals: Float[Array | np.ndarray, "b n 3"] | None = None,
    per_point: bool = False,
    draws: int = 3,
    tolerance: float = 1e-4,
) -> None:
    r"""Assert that a function of clouds does not change when they do.

    .. math:: \max |f(g\,x) - f(x)| \le \texttt{tolerance} \cdot \max |f(x)|
        \qquad \text{for random } g

    It also asserts that the function does depend on the cloud: a constant is invariant under
    everything.

    Args:
        function: Takes points (b n 3), and with `normals` those, to arrays of any shape.
        key: Random key.
        under: What is done to the clouds, of `CHANGES`.
        points: The clouds; by default `random_clouds`.
        normals: Vectors that rotate with the points.
        per_point: Whether the result has one row a point on its second axis, which follow the
            points when they change places.
        draws: How many random changes of each kind.
        tolerance: Largest change, relative to the largest number in the result.

    Raises:
        AssertionError: If the result changes, is not finite, or does not depend on the cloud.
        ValueError: For an unknown change.

    Examples:
        >>> from pointcloud_jax.spectra import debye_spectrum
        >>> spectrum = jax.jit(lambda x: debye_spectrum(x, np.linspace(0, 3, 4)))
        >>> assert_invariant(spectrum, jax.random.key(0), under=("rotation", "translation"))
        >>> assert_invariant(lambda x: x.max(1), jax.random.key(0))
        Traceback (most recent call last):
            ...
        AssertionError: under rotation the result changes by ... of its size, wanted at most 0.0001
    """

    def compare(change: str, before: np.ndarray, after: np.ndarray, key: PRNGKeyArray) -> None:
        if per_point and change == "permutation":
            before = before[:, np.asarray(_order(key, before.shape[1]))]
        _compare(f"under {change} the result changes", before, after, tolerance)

    _check(function, key, compare, under, points, normals, draws)


def assert_equivariant(
    function: Callable[..., Any],
    key: PRNGKeyArray,
    *,
    points: Float[Array | np.ndarray, "b n 3"] | None = None,
    normals: Float[Array | np.ndarray, "b n 3"] | None = None,
    reflections: bool = True,
    draws: int = 3,
    tolerance: float = 1e-4,
) -> None:
    r"""Assert that vectors that a function makes of clouds rotate with them: :math:`f(xR) = f(x)R`.

    Args:
        function: Takes points (b n 3), and with `normals` those, to vectors (b ... 3).
        key: Random key.
        points: The clouds; by default `random_clouds`.
        normals: Vectors that rotate with the points.
        reflections: Whether it has to commute with reflections, too.
        draws: How many random rotations.
        tolerance: Largest change, relative to the largest number in the result.

    Raises:
        AssertionError: If the result does not rotate along, is not finite, or does not depend on
            the cloud.

    Examples:
        >>> assert_equivariant(lambda x: x - x.mean(1, keepdims=True), jax.random.key(0))
    """

    def compare(change: str, before: np.ndarray, after: np.ndarray, key: PRNGKeyArray) -> None:
        rows = before.reshape(before.shape[0], -1, 3)
        moved, _ = change_clouds(key, change, jnp.asarray(rows))
        message = f"under {change} the result is off from its {change}"
        _compare(message, np.asarray(moved).reshape(before.shape), after, tolerance)

    under = ("rotation", "reflection") if reflections else ("rotation",)
    _check(function, key, compare, under, points, normals, draws)


def change_clouds(
    key: PRNGKeyArray,
    change: str,
    points: Float[Array, "b n 3"],
    normals: Float[Array, "b n 3"] | None = None,
) -> tuple[Float[Array, "b n 3"], Float[Array, "b n 3"] | None]:
    """Do one random thing to clouds.

    Args:
        key: Random key.
        change: One of `CHANGES`.
        points: The clouds.
        normals: Vectors that rotate with the points.

    Returns:
        Points and normals.

    Raises:
        ValueError: If the change is unknown.

    Examples:
        >>> points, _ = change_clouds(jax.random.key(0), "scale", jnp.ones((1, 4, 3)))
        >>> bool(0.5 <= points[0, 0, 0] <= 2)
        True
    """
    check_choice("change", change, CHANGES)
    batch, num_points, _ = points.shape
    if change == "permutation":
        order = _order(key, num_points)
        return points[:, order], None if normals is None else normals[:, order]
    if change == "translation":
        size = jnp.abs(points).max((1, 2), keepdims=True)
        shift = jax.random.uniform(key, (batch, 1, 3), jnp.float32, -1, 1)
        return points + size * shift, normals
    if change == "scale":
        return points * jax.random.uniform(key, (batch, 1, 1), jnp.float32, 0.5, 2), normals
    rotation = random_rotation(key, (batch,))
    if change == "reflection":
        rotation = rotation * jnp.array([1.0, 1.0, -1.0], jnp.float32)[None, None, :]
    return rotate(points, rotation), None if normals is None else rotate(normals, rotation)


def _order(key: PRNGKeyArray, num_points: int) -> jax.Array:
    return jax.random.permutation(key, num_points)


def _check(function, key, compare, under, points, normals, draws) -> None:
    """Run `compare` on the results before and after each change."""
    check_positive("draws", draws)
    for change in under:
        check_choice("under", change, CHANGES)
    points_key, other_key, key = jax.random.split(key, 3)
    points = random_clouds(points_key) if points is None else jnp.asarray(points, jnp.float32)
    normals = None if normals is None else jnp.asarray(normals, jnp.float32)

    def leaves(points: jax.Array, normals: jax.Array | None) -> list[np.ndarray]:
        result = function(points) if normals is None else function(points, normals)
        return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(result)]

    before = leaves(points, normals)
    noise = 0.5 * jnp.abs(points).max() * jax.random.normal(other_key, points.shape, jnp.float32)
    other = leaves(points + noise, normals)
    if not any(np.any(a != b) for a, b in zip(before, other, strict=True)):
        raise AssertionError("the result does not depend on the cloud")
    for i, change in enumerate(under):
        for draw in range(draws):
            drawn = jax.random.fold_in(jax.random.fold_in(key, i), draw)
            after = leaves(*change_clouds(drawn, change, points, normals))
            for one, two in zip(before, after, strict=True):
                compare(change, one, two, drawn)


def _compare(message: str, expected: np.ndarray, found: np.ndarray, tolerance: float) -> None:
    if not (np.isfinite(expected).all() and np.isfinite(found).all()):
        raise AssertionError("the result is not finite")
    size = np.abs(expected).max(initial=0)
    distance = np.abs(found - expected).max(initial=0)
    if distance > tolerance * size:
        relative = distance / size if size else np.inf
        raise AssertionError(
            f"{message} by {relative:.1e} of its size, wanted at most {tolerance:g}"
        )
