r"""Assertions for the tests of an encoding, an attention or a kernel of your own.

Each raises ``AssertionError`` with what was measured and what was wanted. :func:`check_encoding`
makes all the assertions about encodings in one compilation; the tests of this package use it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from rope_jax.analysis.invariance import shift_error
from rope_jax.analysis.matrices import exact_einsum, rotation_matrices
from rope_jax.encodings.encoding import Encoding, Params
from rope_jax.kernels.biases import Space, distances
from rope_jax.kernels.radial import Kernel
from rope_jax.weighted_attention import log_measure

__all__ = [
    "MeasuredEncoding",
    "assert_orthogonal",
    "assert_positive_definite",
    "assert_quadrature",
    "assert_relative",
    "check_encoding",
]

_NUM_TOKENS = 5


class MeasuredEncoding(NamedTuple):
    """What :func:`check_encoding` found."""

    shift: Float[np.ndarray, " m"]  # relative score error of a shift along each axis
    oblique_shift: float  # the same of a shift along all axes
    orthogonality: float  # largest entry of R^T R - I
    origin: float  # largest change of a query at the origin
    gradients: Params  # of a generic function of rotated queries, by the parameters


def _require(holds: bool, message: str) -> None:
    # Not the statement: python -O would drop it.
    if not holds:
        raise AssertionError(message)


def _draw(key: PRNGKeyArray, num_axes: int) -> Array:
    return jax.random.uniform(
        key, (_NUM_TOKENS, num_axes), jnp.float32, minval=-float(np.pi), maxval=float(np.pi)
    )


def assert_relative(
    key: PRNGKeyArray,
    encoding: Encoding,
    *,
    head_dim: int,
    num_heads: int,
    num_axes: int = 2,
    params: Params | None = None,
    axes: Sequence[int] | None = None,
    tolerance: float = 1e-4,
) -> None:
    r"""Scores do not change when all positions shift, :math:`S(p + \delta) = S(p)`.

    Args:
        key: For positions, queries, keys and the shift.
        encoding: Any encoding that rotates.
        head_dim: Channels of one head.
        num_heads: Heads.
        num_axes: Number of coordinates.
        params: Parameters, by default drawn.
        axes: Along which axes to shift; by default along all, by different amounts.
        tolerance: Root mean square change of a score over the standard deviation of the scores.

    Raises:
        AssertionError: If scores change by more.

    Examples:
        >>> import rope_jax
        >>> key, sizes = jax.random.key(0), {"head_dim": 6, "num_heads": 1}
        >>> spherical = rope_jax.spherical(6, 1)
        >>> assert_relative(key, spherical, axes=[0], **sizes)
        >>> assert_relative(key, spherical, **sizes)
        Traceback (most recent call last):
            ...
        AssertionError: scores change by 0.77 under a shift along axes (0, 1), wanted at most 0.0001
    """
    init_key, place_key, draw_key, shift_key = jax.random.split(key, 4)
    params = encoding.init(init_key) if params is None else params
    moved = tuple(range(num_axes)) if axes is None else tuple(axes)
    shift = jax.random.uniform(shift_key, (num_axes,), jnp.float32, minval=0.5, maxval=2.0)
    shift = shift * jnp.isin(jnp.arange(num_axes), jnp.asarray(moved)).astype(jnp.float32)
    error = jax.jit(
        lambda params, places, shift: shift_error(
            draw_key, encoding, params, places, shift, head_dim=head_dim, num_heads=num_heads
        )
    )(params, _draw(place_key, num_axes), shift)
    _require(
        float(error) <= tolerance,
        f"scores change by {float(error):.2g} under a shift along axes {moved}, "
        f"wanted at most {tolerance:g}",
    )


def assert_orthogonal(
    key: PRNGKeyArray,
    encoding: Encoding,
    *,
    head_dim: int,
    num_heads: int,
    num_axes: int = 2,
    params: Params | None = None,
    tolerance: float = 1e-5,
) -> None:
    r"""Rotations preserve norms and angles, :math:`R(p)^\top R(p) = I`.

    Args:
        key: For positions.
        encoding: Any encoding that rotates.
        head_dim: Channels of one head.
        num_heads: Heads.
        num_axes: Number of coordinates.
        params: Parameters, by default drawn.
        tolerance: Of the largest entry of the difference.

    Raises:
        AssertionError: If an entry is larger.

    Examples:
        >>> import rope_jax
        >>> encoding = rope_jax.geope(6, 1)
        >>> assert_orthogonal(jax.random.key(0), encoding, head_dim=6, num_heads=1)
    """
    init_key, place_key = jax.random.split(key)
    params = encoding.init(init_key) if params is None else params
    defect = jax.jit(lambda params, places: _defect(encoding, params, places, head_dim, num_heads))(
        params, _draw(place_key, num_axes)
    )
    _require(
        float(defect) <= tolerance,
        f"R^T R is off the identity by {float(defect):.2g}, wanted at most {tolerance:g}",
    )


def _defect(
    encoding: Encoding, params: Params, places: Array, head_dim: int, num_heads: int
) -> Array:
    rotation = encoding.prepare(params, places)
    r = rotation_matrices(encoding, rotation, len(places), head_dim, num_heads)
    identity = jnp.eye(head_dim, dtype=jnp.float32)[None, None]
    return jnp.max(jnp.abs(exact_einsum("nhki,nhkj->nhij", r, r) - identity))


def check_encoding(
    key: PRNGKeyArray,
    encoding: Encoding,
    *,
    head_dim: int,
    num_heads: int,
    num_axes: int = 2,
    params: Params | None = None,
    relative_axes: Sequence[int] = (),
    tolerance: float = 1e-5,
) -> MeasuredEncoding:
    r"""All that an encoding which rotates must do, in one compilation.

    Rotations are orthogonal and the identity at the origin; scores are invariant to shifts along
    ``relative_axes``; examples with positions of their own are rotated as each alone; gradients by
    parameters and positions are finite, also at the origin and with parameters of zero; queries
    keep their shape, and half precision stays half precision.

    Args:
        key: For parameters, positions, queries and keys.
        encoding: Any encoding that rotates.
        head_dim: Channels of one head.
        num_heads: Heads.
        num_axes: Number of coordinates.
        params: Parameters, by default drawn.
        relative_axes: Axes along which scores must not change.
        tolerance: Of all errors.

    Returns:
        What was measured: whether scores *do* change along the other axes is for the caller to say.

    Raises:
        AssertionError: If one of them fails, with its name.

    Examples:
        >>> import rope_jax
        >>> found = check_encoding(
        ...     jax.random.key(0), rope_jax.axial(8, 2), head_dim=8, num_heads=2,
        ...     relative_axes=[0, 1],
        ... )
        >>> bool(found.oblique_shift < 1e-5)
        True
    """
    init_key, place_key, draw_key, readout_key = jax.random.split(key, 4)
    params = encoding.init(init_key) if params is None else params
    steps = jnp.concatenate(
        [np.pi / 2 * jnp.eye(num_axes, dtype=jnp.float32), jnp.full((1, num_axes), 0.37)]
    ).astype(jnp.float32)
    sizes = {"head_dim": head_dim, "num_heads": num_heads}
    shape = (_NUM_TOKENS, num_heads, head_dim)

    def rotate(params: Params, places: Array, x: Array) -> Array:
        return encoding.rotate(encoding.prepare(params, places), x)

    @jax.jit
    def measure(params: Params, places: Array, x: Array, weight: Array) -> dict[str, Any]:
        shifts = jax.lax.map(
            lambda step: shift_error(draw_key, encoding, params, places, step, **sizes), steps
        )

        # A generic readout: an orthogonal map hides itself from sums of squares.
        def readout(operands: tuple[Params, Array]) -> Array:
            own, at = operands
            return jnp.sum(jnp.sin(rotate(own, at, x)) * weight)

        origin = jnp.zeros_like(places)
        both = jnp.stack([places, places[::-1]])
        pair = jnp.stack([x, weight])
        return {
            "shifts": shifts,
            "orthogonality": _defect(encoding, params, places, head_dim, num_heads),
            "origin": jnp.max(jnp.abs(rotate(params, origin, x) - x)),
            "gradients": jax.lax.map(
                lambda o: jax.grad(readout)((jax.tree.map(lambda p: o[0] * p, params), o[1])),
                (jnp.array([1.0, 1.0, 0.0], jnp.float32), jnp.stack([places, origin, origin])),
            ),
            "batched": jnp.max(
                jnp.abs(
                    rotate(params, both, pair)
                    - jax.lax.map(lambda o: rotate(params, *o), (both, pair))
                )
            ),
        }

    x, weight = jax.random.normal(readout_key, (2, *shape), jnp.float32)
    found = jax.tree.map(np.asarray, measure(params, _draw(place_key, num_axes), x, weight))
    _require_small(found, relative_axes, tolerance)
    half = jax.eval_shape(
        rotate,
        params,
        jax.ShapeDtypeStruct((_NUM_TOKENS, num_axes), jnp.float32),
        jax.ShapeDtypeStruct((3, *shape), jnp.bfloat16),
    )
    _require(
        (half.shape, half.dtype) == ((3, *shape), jnp.bfloat16),
        f"bfloat16 queries of shape {(3, *shape)} become {half.dtype} of shape {half.shape}",
    )
    return MeasuredEncoding(
        shift=found["shifts"][:-1],
        oblique_shift=float(found["shifts"][-1]),
        orthogonality=float(found["orthogonality"]),
        origin=float(found["origin"]),
        gradients=jax.tree.map(lambda leaf: leaf[0], found["gradients"][0]),
    )


def _require_small(found: dict[str, Any], relative_axes: Sequence[int], tolerance: float) -> None:
    """Require that no error is larger than the tolerance, and that gradients are finite."""
    for name, error in (
        ("R^T R is off the identity by", found["orthogonality"]),
        ("queries at the origin change by", found["origin"]),
        ("examples with positions of their own differ from each alone by", found["batched"]),
        *(
            (f"scores change under a shift along axis {axis} by", found["shifts"][axis])
            for axis in relative_axes
        ),
    ):
        _require(
            bool(error <= tolerance), f"{name} {float(error):.2g}, wanted at most {tolerance:g}"
        )
    finite = [np.isfinite(leaf).all() for leaf in jax.tree.leaves(found["gradients"])]
    _require(all(finite), "gradients by parameters or positions are not finite (NaN or Inf)")


def assert_quadrature(
    key: PRNGKeyArray,
    attend: Callable[[Array, Array, Array, Array], Array],
    *,
    head_dim: int = 8,
    num_heads: int = 2,
    tolerance: float = 1e-5,
) -> None:
    r"""Attention weighs keys as a quadrature does.

    A key given twice at half its weight changes nothing, a key of weight zero does not exist, and a
    constant added to all log weights cancels.

    Args:
        key: For queries, keys, values and weights.
        attend: ``(q, k, v, log_weights)`` with shapes ``(n, h, d)`` and ``(s,)`` to ``(n, h, d)``.
        head_dim: Channels of one head.
        num_heads: Heads.
        tolerance: Of the largest difference.

    Raises:
        AssertionError: If one of the three does not hold.

    Examples:
        >>> import rope_jax
        >>> def attend(q, k, v, logs):
        ...     return rope_jax.attention(q, k, v, log_measure=logs)
        >>> assert_quadrature(jax.random.key(0), attend)
    """
    draw_key, weight_key = jax.random.split(key)
    q, k, v = jax.random.normal(draw_key, (3, 4, num_heads, head_dim), jnp.float32)
    weights = jax.random.uniform(weight_key, (4,), jnp.float32, minval=0.5, maxval=2.0)

    @jax.jit
    def outputs() -> dict[str, tuple[Array, Array]]:
        once = attend(q, k, v, log_measure(weights))
        twice = jnp.concatenate([k, k[:1]]), jnp.concatenate([v, v[:1]])
        halved = jnp.concatenate([weights.at[0].divide(2), weights[:1] / 2])
        beside = jnp.concatenate([weights, jnp.zeros(1, jnp.float32)])
        other = jnp.concatenate([k, 3 * k[:1]]), jnp.concatenate([v, -5 * v[:1]])
        return {
            "a key given twice at half its weight": (attend(q, *twice, log_measure(halved)), once),
            "a key of weight zero": (attend(q, *other, log_measure(beside)), once),
            "a constant added to all log weights": (
                attend(q, k, v, log_measure(weights) + 3),
                once,
            ),
        }

    for name, (got, want) in outputs().items():
        error = float(jnp.max(jnp.abs(got - want)))
        _require(
            error <= tolerance,
            f"{name} changes the result by {error:.2g}, wanted at most {tolerance:g}",
        )


def assert_positive_definite(
    kernel: Kernel,
    positions: Float[Array, "n m"],
    *,
    space: Space = "flat",
    tolerance: float = 1e-5,
) -> None:
    r"""The matrix of a kernel between positions has no negative eigenvalue.

    Args:
        kernel: Any kernel.
        positions: Where to look; a grid shows more than a few points.
        space: See :func:`rope_jax.kernels.distances`.
        tolerance: How far below zero the smallest eigenvalue may lie, relative to the largest.

    Raises:
        AssertionError: If it lies lower.

    Examples:
        >>> import rope_jax
        >>> from rope_jax import kernels
        >>> sphere = rope_jax.healpix_grid(2).positions
        >>> assert_positive_definite(kernels.von_mises_fisher(2.0), sphere, space="sphere")
        >>> assert_positive_definite(kernels.gaussian(2.0), sphere, space="sphere")
        Traceback (most recent call last):
            ...
        AssertionError: the smallest eigenvalue is -0.012 of the largest, wanted at least -1e-05
    """
    log = kernel.log(distances(positions, positions, space=space))
    matrix = np.exp(np.asarray(log, np.float64))
    values = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    ratio = values[0] / values[-1]
    _require(
        bool(ratio >= -tolerance),
        f"the smallest eigenvalue is {ratio:.2g} of the largest, wanted at least {-tolerance:g}",
    )
