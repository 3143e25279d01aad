r"""Singular values of a matrix whose rows are samples, sharded over devices or not.

By QR and not by the Gram matrix, whose eigenvalues are their squares: in float32 that would lose
what lies below 1e-3 of the largest, and a cloud with a mean has all but one there. Each device
factors its own rows, the triangles :math:`R_i` are gathered (:math:`d^2` floats a device) and
factored again:

.. math:: X = \begin{pmatrix} X_1 \\ \vdots \end{pmatrix}
    = \begin{pmatrix} Q_1 R_1 \\ \vdots \end{pmatrix}, \qquad
    X^\top X = \sum_i R_i^\top R_i = R^\top R

so that R has the singular values of X, on any number of devices and with empty shards.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lejepa_jax.statistics.reductions import AxisName, gather_over_devices, over_devices

EPSILON = 1.1920929e-07  # float32


def singular_values(
    rows: Float[Array, "*batch n d"],
    *,
    absolute: float | Float[Array, "*batch"] = 0.0,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch d"]:
    r"""Singular values of the global matrix, largest first.

    Values below :math:`\sqrt d\, \epsilon \sigma_{\max}`, :math:`\epsilon = 1.2 \cdot 10^{-7}`,
    are rounding of the factorization and become exactly 0: a collapsed cloud has the rank it has.

    Args:
        rows: Samples on the last axis but one, masked ones 0.
        absolute: Values below this are rounding of the samples, and become 0 too.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        As many as there are features, float32; 0 for those that few samples leave open.
        Differentiable; where values are equal or 0 the derivative is one of several.

    Examples:
        >>> singular_values(jnp.array([[3.0, 0.0], [4.0, 0.0]]))
        Array([5., 0.], dtype=float32)

    References:
        J. Demmel, L. Grigori, M. Hoemmen, J. Langou, Communication-optimal parallel and sequential
        QR and LU factorizations, arXiv 0808.2664, 2008 (TSQR).
    """
    values = _singular_values(rows.astype(jnp.float32), axis_name)
    floor = EPSILON * rows.shape[-1] ** 0.5 * values[..., :1]
    absolute = jnp.broadcast_to(jnp.asarray(absolute, jnp.float32), rows.shape[:-2])
    floor = jnp.maximum(floor, absolute[..., None])
    return jnp.where(values > floor, values, 0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _singular_values(x: Array, axis_name: AxisName | None) -> Array:
    return jnp.linalg.svd(_triangle(x, axis_name), compute_uv=False)


@_singular_values.defjvp
def _singular_values_jvp(axis_name, primals, tangents):
    r"""Evaluate :math:`d\sigma_k = u_k^\top dX\, v_k`, without the derivative of QR.

    That one needs full rank.
    """
    (x,), (tangent,) = primals, tangents
    _, values, vectors = jnp.linalg.svd(_triangle(x, axis_name), full_matrices=False)
    project = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    scaled = project(x, vectors.mT) * project(tangent, vectors.mT)
    change = over_devices(scaled.sum(-2), axis_name)
    return values, jnp.where(values > 0, change / jnp.where(values > 0, values, 1), 0)


def _triangle(x: Array, axis_name: AxisName | None) -> Array:
    """The square factor R of all rows."""
    factor = _square(jnp.linalg.qr(x, mode="r"))
    if axis_name is None:
        return factor
    factors = jnp.moveaxis(gather_over_devices(factor, axis_name), 0, -3)
    stacked = factors.reshape(*factors.shape[:-3], -1, x.shape[-1])
    return _square(jnp.linalg.qr(stacked, mode="r"))


def _square(factor: Array) -> Array:
    missing = factor.shape[-1] - factor.shape[-2]
    return jnp.pad(factor, [(0, 0)] * (factor.ndim - 2) + [(0, missing), (0, 0)])
