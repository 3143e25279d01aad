"""Positions into other positions: wrapped, log-polar, augmented."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from rope_jax.checks import expand_to, per_axis


def wrap(
    offsets: Float[Array, "*b m"], period: float | Sequence[float] = float(2 * np.pi)
) -> Float[Array, "*b m"]:
    """Shortest way around: offsets on a torus brought into half a period either side.

    Args:
        offsets: Differences of positions, or positions.
        period: Length of the way around, for all axes or for each.

    Returns:
        Offsets in ``[-period / 2, period / 2]``.

    Examples:
        >>> wrap(jnp.array([0.75, -0.25]), 1.0)
        Array([-0.25, -0.25], dtype=float32)
    """
    offsets = offsets.astype(jnp.float32)
    widths = per_axis("period", period, offsets.shape[-1])
    periods = expand_to(jnp.asarray(widths, jnp.float32), offsets.ndim)
    return offsets - periods * jnp.round(offsets / periods)


def log_polar(
    positions: Float[Array, "*b n 2"], *, center: Sequence[float] = (0.0, 0.0), min_radius: float
) -> Float[Array, "*b n 2"]:
    r"""Coordinates :math:`(\log r, \vartheta)`, in which scaling and rotating the plane are shifts.

    Canonical coordinates of that group: a relative encoding of them is invariant to scale and
    rotation about the center as others are to translation. Frequencies of the angle must be
    integers, or the encoding jumps where it wraps.

    Args:
        positions: ``(x, y)``.
        center: The fixed point.
        min_radius: Radii below count as this: the logarithm has no value at the center.

    Returns:
        Log radius and angle in :math:`(-\pi, \pi]`.

    Raises:
        ValueError: If ``min_radius`` is not positive.

    Examples:
        >>> np.asarray(log_polar(jnp.array([[0.0, 1.0]]), min_radius=0.1)).round(3)
        array([[0.   , 1.571]], dtype=float32)

    References:
        Schenck et al., arXiv 2502.02562, 2025, on canonical coordinates of Abelian groups.
    """
    if min_radius <= 0:
        raise ValueError(f"min_radius must be positive, got {min_radius}")
    offset = positions.astype(jnp.float32) - expand_to(
        jnp.asarray(center, jnp.float32), positions.ndim
    )
    square = jnp.sum(jnp.square(offset), axis=-1)
    # At the center itself the angle has no derivative either: a point beside it stands in.
    away = square > 0
    x, y = jnp.where(away, offset[..., 0], 1.0), jnp.where(away, offset[..., 1], 0.0)
    log_radius = 0.5 * jnp.log(jnp.maximum(square, min_radius**2))
    return jnp.stack([log_radius, jnp.arctan2(y, x)], axis=-1)


def augment_positions(
    key: PRNGKeyArray,
    positions: Float[Array, "*b n m"],
    *,
    shift: float = 0.0,
    jitter: float = 1.0,
    rescale: float = 1.0,
) -> Float[Array, "*b n m"]:
    r"""DINOv3's augmentation of coordinates, in training only.

    .. math:: p \mapsto \big(p + U(-s, s)^M\big)\; e^{U(-\log J, \log J)^M}\; e^{U(-\log R, \log R)}

    One draw for all tokens and examples; ``jax.vmap`` over keys and positions draws one for each
    example. All tokens scale alike, so their measures keep their ratios.

    Args:
        key: PRNG key.
        positions: Positions, ``[-extent, extent]``.
        shift: Largest shift :math:`s` of each axis, in units of position.
        jitter: Largest factor :math:`J` of each axis on its own.
        rescale: Largest factor :math:`R` of all axes together; 2 in DINOv3.

    Returns:
        New positions.

    Raises:
        ValueError: If ``shift`` is negative or a factor is below one.

    Examples:
        >>> p = augment_positions(jax.random.key(0), jnp.ones((3, 2)), rescale=2.0)
        >>> bool((p >= 0.5).all() and (p <= 2.0).all() and (p == p[0, 0]).all())
        True

    References:
        Siméoni et al., "DINOv3", arXiv 2508.10104, 2025, section 3.2.
    """
    if shift < 0 or jitter < 1 or rescale < 1:
        raise ValueError(
            f"wanted shift >= 0, jitter >= 1, rescale >= 1, got {shift}, {jitter}, {rescale}"
        )
    axes = positions.shape[-1]
    shift_key, jitter_key, rescale_key = jax.random.split(key, 3)
    moved = jax.random.uniform(shift_key, (axes,), jnp.float32, minval=-shift, maxval=shift)
    log_jitter, log_rescale = float(np.log(jitter)), float(np.log(rescale))
    stretched = jax.random.uniform(
        jitter_key, (axes,), jnp.float32, minval=-log_jitter, maxval=log_jitter
    )
    scaled = jax.random.uniform(
        rescale_key, (1,), jnp.float32, minval=-log_rescale, maxval=log_rescale
    )
    factor = jnp.exp(stretched + scaled)
    ndim = positions.ndim
    return (positions.astype(jnp.float32) + expand_to(moved, ndim)) * expand_to(factor, ndim)


def perturb_positions(
    key: PRNGKeyArray,
    positions: Float[Array, "*b n m"],
    spacing: float | Sequence[float],
    *,
    strength: float = 1.0,
) -> Float[Array, "*b n m"]:
    r"""ComRoPE's perturbation: every token moves a little inside its own patch.

    .. math:: p \mapsto p + \delta\, \mathrm{clip}(\mathcal N(0, (s/2)^2), -\tfrac12, \tfrac12)

    Args:
        key: PRNG key.
        positions: Positions.
        spacing: Patch width :math:`\delta`, for all axes or for each.
        strength: :math:`s`.

    Returns:
        New positions.

    Examples:
        >>> p = perturb_positions(jax.random.key(0), jnp.zeros((9, 2)), 2.0)
        >>> bool((jnp.abs(p) <= 1.0).all())
        True

    References:
        Yu et al., "ComRoPE", CVPR 2025.
    """
    noise = 0.5 * strength * jax.random.normal(key, positions.shape, jnp.float32)
    width = jnp.asarray(per_axis("spacing", spacing, positions.shape[-1]), jnp.float32)
    return positions.astype(jnp.float32) + expand_to(width, positions.ndim) * jnp.clip(
        noise, -0.5, 0.5
    )
