"""Generators and frequencies of an encoding, read off its rotations."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rope_jax.analysis.invariance import commutator_norm
from rope_jax.analysis.matrices import rotation_matrices
from rope_jax.encodings.encoding import Encoding, Params


def generators(
    encoding: Encoding,
    params: Params,
    *,
    num_axes: int,
    head_dim: int,
    num_heads: int,
    step: float = 0.05,
) -> Float[Array, "m h d d"]:
    r"""Skew matrices that generate the motion along each axis.

    .. math:: R(p\, e_m) = R(0)\, e^{p A_m}

    Along a single axis every encoding here has this form, commuting or not. Found by the logarithm
    of :math:`Q = R(0)^\top R(\delta e_m)`, whose odd part has the eigenvalues
    :math:`\pm i \sin\omega\delta`: exact, not a finite difference, as long as
    :math:`|\omega|\,\delta < \pi/2`.

    Args:
        encoding: Any encoding that rotates.
        params: Its parameters.
        num_axes: Number of coordinates.
        head_dim: Channels of one head.
        num_heads: Heads.
        step: :math:`\delta`, in units of position.

    Returns:
        One generator for each axis and head.

    Examples:
        >>> import rope_jax
        >>> a = generators(rope_jax.rope_1d(2, 1), {}, num_axes=1, head_dim=2, num_heads=1)
        >>> np.asarray(a[0, 0]).round(3) + 0.0
        array([[ 0., -1.],
               [ 1.,  0.]], dtype=float32)
    """
    places = np.concatenate([step * np.eye(num_axes), np.zeros((1, num_axes))])

    @jax.jit
    def matrices(params: Params, places: Float[Array, "n m"]) -> Float[Array, "n h d d"]:
        rotation = encoding.prepare(params, places)
        return rotation_matrices(encoding, rotation, num_axes + 1, head_dim, num_heads)

    r = np.asarray(matrices(params, jnp.asarray(places, jnp.float32)), np.float64)
    q = np.einsum("hdi,mhdj->mhij", r[-1], r[:-1])
    odd = (q - np.swapaxes(q, -1, -2)) / 2
    values, vectors = np.linalg.eigh(-1j * odd)  # Hermitian: real values, orthonormal vectors
    rates = np.arcsin(np.clip(values, -1, 1)) / step
    out = np.einsum("...ik,...k,...jk->...ij", vectors, 1j * rates, vectors.conj()).real
    return jnp.asarray(out, jnp.float32)


class Spectrum(NamedTuple):
    """Frequencies of an encoding, by head."""

    frequencies: Float[Array, "h d m"]  # vectors, every pair once with either sign
    commutator: Float[Array, ""]  # largest among axes and heads; above 0 frequencies are means


def spectrum(
    encoding: Encoding, params: Params, *, num_axes: int, head_dim: int, num_heads: int
) -> Spectrum:
    r"""Frequency vectors of an encoding, fixed or learned, whatever its basis.

    Commuting generators have common eigenvectors, and the frequencies are their eigenvalues. They
    are found as the eigenvectors of a generic combination. Where generators do not commute, the
    value along each axis is the expectation in that basis, and the commutator says how far to trust
    it.

    Args:
        encoding: Any encoding that rotates.
        params: Its parameters.
        num_axes: Number of coordinates.
        head_dim: Channels of one head.
        num_heads: Heads.

    Returns:
        Frequency vectors, in radians per unit of position.

    Examples:
        >>> import rope_jax
        >>> s = spectrum(rope_jax.axial(4, 1), {}, num_axes=2, head_dim=4, num_heads=1)
        >>> jnp.abs(s.frequencies[0]).sum(0).round(3)
        Array([2., 2.], dtype=float32)
    """
    a = generators(encoding, params, num_axes=num_axes, head_dim=head_dim, num_heads=num_heads)
    exact = -1j * np.asarray(a, np.float64)
    # Irrational weights: no two different frequency vectors that occur in practice fall together.
    generic = np.einsum(
        "m,mhij->hij", np.sqrt(np.array([2.0, 3.0, 5.0, 7.0, 11.0, 13.0])[:num_axes]), exact
    )
    _, vectors = np.linalg.eigh(generic)
    values = np.einsum("hik,mhij,hjk->hkm", vectors.conj(), exact, vectors).real
    pairs = [(i, j) for i in range(num_axes) for j in range(i)]
    worst = [jnp.max(commutator_norm(a[i], a[j])) for i, j in pairs]
    largest = jnp.max(jnp.stack(worst)) if worst else jnp.zeros((), jnp.float32)
    return Spectrum(jnp.asarray(values, jnp.float32), largest)


def nyquist_coverage(
    frequencies: Float[Array, "*b m"], spacing: float | Sequence[float]
) -> Float[Array, ""]:
    r"""Share of frequency vectors that the patch grid can carry.

    .. math:: |\omega_m|\, \delta_m \le \pi \quad\text{for every axis } m

    Those above alias: they look like slower ones, and at a finer resolution they no longer do.

    Args:
        frequencies: Frequency vectors.
        spacing: Patch spacing :math:`\delta`, for all axes or for each.

    Returns:
        Between 0 and 1.

    Examples:
        >>> nyquist_coverage(jnp.array([[1.0, 0.0], [9.0, 0.0]]), 0.5)
        Array(0.5, dtype=float32)
    """
    num_axes = frequencies.shape[-1]
    widths = np.broadcast_to(np.asarray(spacing, np.float32), (num_axes,))
    phase = jnp.abs(frequencies.astype(jnp.float32)) * jnp.asarray(widths).reshape(
        (1,) * (frequencies.ndim - 1) + (-1,)
    )
    return jnp.mean(jnp.all(phase <= np.pi, axis=-1).astype(jnp.float32))
