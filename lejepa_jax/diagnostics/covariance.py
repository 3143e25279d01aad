r"""Mean and covariance of a stream of embeddings: exact, or sketched where d is large.

Each summary is made from a batch, on one device or many, and merged with the one so far: in any
order, the result is the same (for frequent directions: the same up to its error bound). All are
centered exactly, by the identity for scatter matrices

.. math:: S_{a \cup b} = S_a + S_b + \frac{n_a n_b}{n_a + n_b}
    (\mu_a - \mu_b)(\mu_a - \mu_b)^\top

and a summary of zeros, `jax.tree.map(jnp.zeros_like, summary)`, is what a stream starts from.
"""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_positive, check_samples
from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.reductions import (
    AxisName,
    gather_over_devices,
    masked_rows,
    over_devices,
)

_EXACT = lax.Precision.HIGHEST


class Covariance(NamedTuple):
    """Count, mean and scatter matrix (covariance times count)."""

    count: Float[Array, ""]
    mean: Float[Array, " d"]
    scatter: Float[Array, "d d"]


class ProjectedCovariance(NamedTuple):
    """Count, mean, trace of the scatter matrix, and its product with a fixed test matrix."""

    count: Float[Array, ""]
    mean: Float[Array, " d"]
    trace: Float[Array, ""]
    product: Float[Array, "d r"]


class FrequentDirections(NamedTuple):
    """Count, mean, and few rows whose Gram matrix is the scatter matrix up to `slack`."""

    count: Float[Array, ""]
    mean: Float[Array, " d"]
    rows: Float[Array, "r d"]
    slack: Float[Array, ""]  # along any direction the scatter is larger by 0 to this


Summary = TypeVar("Summary", Covariance, ProjectedCovariance, FrequentDirections)


@accept_explicit_axes
def sample_covariance(
    samples: Float[Array, "n d"],
    *,
    mask: Bool[Array, " n"] | None = None,
    axis_name: AxisName | None = None,
) -> Covariance:
    """Summarize a batch exactly.

    Args:
        samples: One sample a row.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; `d^2 + d` floats cross devices.

    Returns:
        Count, mean and scatter matrix of the global batch; differentiable.

    Raises:
        ValueError: For a wrong rank, dtype or mask.

    Examples:
        >>> covariance = sample_covariance(jnp.array([[0.0, 1.0], [2.0, 1.0]]))
        >>> print(covariance.mean, covariance.scatter[0])
        [1. 1.] [2. 0.]
    """
    count, mean, centered = _center(samples, mask, axis_name)
    scatter = over_devices(jnp.matmul(centered.T, centered, precision=_EXACT), axis_name)
    return Covariance(count, mean, scatter)


@accept_explicit_axes
def project_covariance(
    samples: Float[Array, "n d"],
    test_matrix: Float[Array, "d r"],
    *,
    mask: Bool[Array, " n"] | None = None,
    axis_name: AxisName | None = None,
) -> ProjectedCovariance:
    r"""Summarize a batch by the product of its scatter matrix with a test matrix.

    :math:`S\,\Omega` is linear in S, takes d r numbers, and gives the leading eigenvalues by the
    Nystrom approximation :math:`S \Omega (\Omega^\top S\, \Omega)^{+} (S \Omega)^\top`, which is
    exact when S has rank r or less and below S always.

    Args:
        samples: One sample a row.
        test_matrix: :math:`\Omega`, orthonormal columns, the same for the whole stream:
            `orthogonal_directions(key, d, r).T`.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; `d r + d + 1` floats cross
            devices.

    Returns:
        The summary of the global batch.

    Raises:
        ValueError: If the test matrix has another height; for a wrong rank, dtype or mask.

    Examples:
        >>> summary = project_covariance(jnp.array([[0.0, 1.0], [2.0, 1.0]]), jnp.eye(2)[:, :1])
        >>> print(summary.trace, summary.product[:, 0])
        2.0 [2. 0.]

    References:
        J. A. Tropp, A. Yurtsever, M. Udell, V. Cevher, Fixed-rank approximation of a
        positive-semidefinite matrix from streaming data, arXiv 1706.05736, 2017.
    """
    if test_matrix.ndim != 2 or test_matrix.shape[0] != samples.shape[-1]:
        raise ValueError(
            f"test_matrix must have shape ({samples.shape[-1]}, r), got {test_matrix.shape}"
        )
    count, mean, centered = _center(samples, mask, axis_name)
    projected = jnp.matmul(centered, test_matrix.astype(jnp.float32), precision=_EXACT)
    product = jnp.matmul(centered.T, projected, precision=_EXACT)
    trace, product = over_devices((jnp.square(centered).sum(), product), axis_name)
    return ProjectedCovariance(count, mean, trace, product)


@accept_explicit_axes
def frequent_directions(
    samples: Float[Array, "n d"],
    num_rows: int,
    *,
    mask: Bool[Array, " n"] | None = None,
    axis_name: AxisName | None = None,
) -> FrequentDirections:
    r"""Summarize a batch by few rows, with an error bound that holds always.

    The rows B are the leading singular vectors of all samples so far, shrunk:
    :math:`0 \preceq S - B^\top B \preceq \delta I` with
    :math:`\delta \le \sum_{i > j} \lambda_i(S) / (r + 1 - j)` for every j up to r.

    Args:
        samples: One sample a row.
        num_rows: Rows r that are kept.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; `r d` floats a device cross.

    Returns:
        The summary of the global batch; `slack` is :math:`\delta`.

    Raises:
        ValueError: If `num_rows` is not positive; for a wrong rank, dtype or mask.

    Examples:
        >>> summary = frequent_directions(jnp.array([[0.0, 1.0], [2.0, 1.0]]), 1)
        >>> print(jnp.abs(summary.rows).round(3), summary.slack)
        [[1.414 0.   ]] 0.0

    References:
        M. Ghashami, E. Liberty, J. M. Phillips, D. P. Woodruff, Frequent directions: simple and
        deterministic matrix sketching, arXiv 1501.01711, 2015.
    """
    check_positive("num_rows", num_rows)
    count, mean, centered = _center(samples, mask, None)
    rows, slack = _shrink(centered, num_rows)
    if axis_name is None:
        return FrequentDirections(count, mean, rows, slack)
    counts, means, blocks, slacks = (
        gather_over_devices(part, axis_name) for part in (count, mean, rows, slack)
    )
    total = counts.sum()
    mean = (counts[:, None] * means).sum(0) / jnp.maximum(total, 1)
    between = jnp.sqrt(counts)[:, None] * (means - mean[None, :])
    rows = jnp.concatenate([blocks.reshape(-1, blocks.shape[-1]), between])
    rows, more = _shrink(rows, num_rows)
    return FrequentDirections(total, mean, rows, slacks.sum() + more)


def merge_covariances(
    first: Summary, second: Summary, *, test_matrix: Float[Array, "d r"] | None = None
) -> Summary:
    """Merge the summaries of two disjoint sets of samples.

    Args:
        first: A summary; one of zeros changes nothing.
        second: Another of the same kind.
        test_matrix: That of the projected summaries, needed for them only.

    Returns:
        The summary of the union.

    Raises:
        ValueError: For summaries of different kinds or shapes, or projected ones without their test
            matrix.

    Examples:
        >>> x = jnp.array([[0.0], [2.0], [7.0]])
        >>> merged = merge_covariances(sample_covariance(x[:1]), sample_covariance(x[1:]))
        >>> print(f"{merged.count:.0f} {merged.mean[0]:.2f} {merged.scatter[0, 0]:.2f}")
        3 3.00 26.00
    """
    if type(first) is not type(second) or first.mean.shape != second.mean.shape:
        raise ValueError(
            f"second must be a {type(first).__name__} of {first.mean.shape[0]} features, got "
            f"{type(second).__name__} of {second.mean.shape[0]}"
        )
    count = first.count + second.count
    safe = jnp.maximum(count, 1)
    difference = second.mean - first.mean
    mean = first.mean + difference * (second.count / safe)
    # Times itself, what the distance of the means adds to the scatter.
    row = difference * jnp.sqrt(first.count * second.count / safe)
    if isinstance(first, FrequentDirections) and isinstance(second, FrequentDirections):
        rows = jnp.concatenate([first.rows, second.rows, row[None, :]])
        rows, more = _shrink(rows, first.rows.shape[0])
        return FrequentDirections(count, mean, rows, first.slack + second.slack + more)
    if isinstance(first, ProjectedCovariance) and isinstance(second, ProjectedCovariance):
        if test_matrix is None:
            raise ValueError("test_matrix must be given to merge projected covariances, got None")
        trace = first.trace + second.trace + jnp.square(row).sum()
        projected = jnp.matmul(row, test_matrix.astype(jnp.float32), precision=_EXACT)
        product = first.product + second.product + row[:, None] * projected[None, :]
        return ProjectedCovariance(count, mean, trace, product)
    if isinstance(first, Covariance) and isinstance(second, Covariance):
        scatter = first.scatter + second.scatter + row[:, None] * row[None, :]
        return Covariance(count, mean, scatter)
    raise ValueError(f"first must be a summary of this module, got {type(first).__name__}")


def summary_spectrum(
    summary: Covariance | ProjectedCovariance | FrequentDirections,
    *,
    test_matrix: Float[Array, "d r"] | None = None,
) -> Float[Array, " eigenvalues"]:
    """Eigenvalues of the covariance matrix (divisor n), as many as the summary knows.

    Args:
        summary: Any summary.
        test_matrix: That of a projected summary.

    Returns:
        Eigenvalues, descending: all d of an exact summary, the r leading ones of a sketch, which
        never exceed the true ones.

    Raises:
        ValueError: For a projected summary without its test matrix.

    Examples:
        >>> print(summary_spectrum(sample_covariance(jnp.array([[0.0, 1.0], [2.0, 1.0]]))))
        [1. 0.]
    """
    count = jnp.maximum(summary.count, 1)
    if isinstance(summary, Covariance):
        return jnp.maximum(jnp.linalg.eigvalsh(summary.scatter)[::-1], 0) / count
    if isinstance(summary, FrequentDirections):
        return jnp.square(jnp.linalg.svd(summary.rows, compute_uv=False)) / count
    if test_matrix is None:
        raise ValueError("test_matrix must be given for a projected covariance, got None")
    test_matrix = test_matrix.astype(jnp.float32)
    # Shifted by rounding times the trace, so that the Cholesky factor exists for any rank.
    shift = 1e-6 * jnp.maximum(summary.trace, 1e-30)
    product = summary.product + shift * test_matrix
    core = jnp.matmul(test_matrix.T, product, precision=_EXACT)
    factor = jnp.linalg.cholesky((core + core.T) / 2)
    half = jax.scipy.linalg.solve_triangular(factor, product.T, lower=True)
    return jnp.maximum(jnp.square(jnp.linalg.svd(half, compute_uv=False)) - shift, 0) / count


@accept_explicit_axes
def whiten(
    samples: Float[Array, "n d"],
    *,
    mask: Bool[Array, " n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "n d"]:
    """Map a cloud to mean 0 and covariance I, by the Cholesky factor of its covariance.

    Before a multivariate statistic it makes a test of normality in general, which no affine map
    changes. It needs more samples than features.

    Args:
        samples: One sample a row.
        mask: True for samples that count; the others are mapped along.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        Whitened samples, float32.

    Raises:
        ValueError: For a wrong rank, dtype or mask.

    Examples:
        >>> print(whiten(jnp.array([[1.0], [5.0]]))[:, 0])
        [-1.  1.]
    """
    count, mean, scatter = sample_covariance(samples, mask=mask, axis_name=axis_name)
    factor = jnp.linalg.cholesky(scatter / jnp.maximum(count, 1))
    centered = samples.astype(jnp.float32) - mean[None, :]
    return jax.scipy.linalg.solve_triangular(factor, centered.T, lower=True).T


@accept_explicit_axes
def isotropy_penalty(
    samples: Float[Array, "n d"],
    *,
    mask: Bool[Array, " n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Mean over all directions of the squared mean and squared excess variance of a slice.

    .. math:: E_a \left[(a \cdot \mu)^2 + (a^\top C a - 1)^2\right]
        = \frac{\|\mu\|^2}d + \frac{2 \|C - I\|_F^2 + \mathrm{tr}(C - I)^2}{d (d + 2)}

    What a regularizer of means and variances along random slices tends to with many of them: the
    second moments of SIGReg, without slices, and no more. It is 0 for every cloud of mean 0 and
    covariance I, the corners of a cube for one, in which SIGReg still sees that it is not round.

    Args:
        samples: One sample a row.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; `d^2 + d` floats cross devices.

    Returns:
        The penalty, float32.

    Raises:
        ValueError: For a wrong rank, dtype or mask.

    Examples:
        >>> corners = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> print(isotropy_penalty(corners), isotropy_penalty(2 * corners))
        0.0 9.0

    References:
        A. Bardes, J. Ponce, Y. LeCun, VICReg, arXiv 2105.04906, 2021. R. Balestriero, Y. LeCun,
        LeJEPA, arXiv 2511.08544, 2025, Section 5.2 and Appendix B.14.
    """
    count, mean, scatter = sample_covariance(samples, mask=mask, axis_name=axis_name)
    d = mean.shape[0]
    excess = scatter / jnp.maximum(count, 1) - jnp.eye(d, dtype=jnp.float32)
    squared = 2 * jnp.square(excess).sum() + jnp.square(jnp.trace(excess))
    return jnp.square(mean).sum() / d + squared / (d * (d + 2))


def _center(
    samples: jax.Array, mask: jax.Array | None, axis_name: AxisName | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the global count and mean, and the local samples less that mean, masked ones 0."""
    check_samples("samples", samples, mask)
    if samples.ndim != 2:
        raise ValueError(f"samples must have shape (n, d), got {samples.shape}")
    x = masked_rows(samples, mask)
    # Not `sample_count`, which is 1 for no sample: merged, that would count.
    count = jnp.float32(x.shape[0]) if mask is None else mask.sum(dtype=jnp.float32)
    count, total = over_devices((count, x.sum(0)), axis_name)
    mean = total / jnp.maximum(count, 1)
    return count, mean, masked_rows(x - mean[None, :], mask)


def _shrink(rows: jax.Array, num_rows: int) -> tuple[jax.Array, jax.Array]:
    """Keep `num_rows` directions, all weakened by the first one that is left out."""
    missing = num_rows + 1 - rows.shape[0]
    if missing > 0:
        rows = jnp.pad(rows, [(0, missing), (0, 0)])
    _, values, vectors = jnp.linalg.svd(rows, full_matrices=False)
    squared = jnp.square(values)
    # With fewer features than rows there is nothing to leave out.
    slack = squared[num_rows] if squared.shape[0] > num_rows else jnp.zeros_like(squared[0])
    kept = jnp.sqrt(jnp.maximum(squared[:num_rows] - slack, 0))[:, None] * vectors[:num_rows]
    return jnp.pad(kept, [(0, num_rows - kept.shape[0]), (0, 0)]), slack
