r"""What a cloud of embeddings looks like, without labels: rank, scale, roundness.

Two kinds of functions. Those that take embeddings reduce over the global sample (`mask`,
`axis_name`): any number of devices gives the same answer. Those that take a spectrum (the
eigenvalues of :func:`covariance_spectrum`) are plain functions of d numbers.

**Precision.** Singular values come from :mod:`lejepa_jax.diagnostics.factorization`, resolved down
to :math:`\sqrt d\, \epsilon`, about 1e-6, of the largest one; what is below is rounding and exactly
0. Eigenvalues of a covariance are their squares, resolved down to 1e-12 of the largest.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_positive, check_samples
from lejepa_jax.diagnostics.factorization import EPSILON, singular_values
from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.reductions import (
    AxisName,
    center_rows,
    masked_rows,
    over_devices,
    row_count,
)


@accept_explicit_axes
def rankme(
    embeddings: Float[Array, "*batch n d"],
    *,
    eps: float = 1e-7,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch"]:
    r"""Effective rank of a matrix of embeddings: the exponential entropy of its singular values.

    .. math:: \exp\Big(-\sum_k p_k \log p_k\Big), \qquad
        p_k = \frac{\sigma_k}{\sum_j \sigma_j} + \epsilon ,

    with :math:`\sigma_k` the min(n, d) singular values of the *uncentered* matrix. Between 1 and d
    (up to :math:`d \epsilon`).

    Args:
        embeddings: Samples on the last axis but one; leading axes are separate samples.
        eps: The :math:`\epsilon` above, that of the paper for float32.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        One value a leading index, float32; 1 or less when all embeddings are 0.

    Raises:
        ValueError: If the shapes do not fit or `eps` is not positive.

    Examples:
        >>> print(f"{rankme(jnp.eye(4)):.3f}, {rankme(jnp.ones((4, 4))):.3f}")
        4.000, 1.000

    References:
        Q. Garrido, R. Balestriero, L. Najman, Y. LeCun, RankMe: Assessing the Downstream
        Performance of Pretrained Self-Supervised Representations by Their Rank, arXiv 2210.02885,
        2022, Equation 1.
    """
    check_samples("embeddings", embeddings, mask)
    check_positive("eps", eps)
    x = masked_rows(embeddings, mask)
    values = singular_values(x, axis_name=axis_name)
    # Fewer samples than features have as many singular values as there are samples.
    num_values = row_count(x, mask=mask, axis_name=axis_name)
    index = jnp.broadcast_to(jnp.arange(x.shape[-1], dtype=jnp.float32), values.shape)
    return _exp_entropy(values, jnp.where(index < num_values, eps, 0.0))


@accept_explicit_axes
def feature_std(
    embeddings: Float[Array, "*batch n d"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch d"]:
    r"""Standard deviation of each feature over the global sample.

    .. math:: s_j = \sqrt{\tfrac1n \sum_i (x_{ij} - \bar x_j)^2}

    in two passes (mean, then squared deviations), which keeps its digits when the mean is large. A
    value near 0 is a dead feature, all near 0 is collapse; SIGReg drives all of them to 1.

    Args:
        embeddings: Samples on the last axis but one; leading axes are separate samples.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        One value a feature, float32.

    Raises:
        ValueError: If the shapes do not fit.

    Examples:
        >>> feature_std(jnp.array([[1.0, 5.0], [3.0, 5.0]]))
        Array([1., 0.], dtype=float32)
    """
    check_samples("embeddings", embeddings, mask)
    x, _, count = center_rows(embeddings, mask=mask, axis_name=axis_name)
    return jnp.sqrt(over_devices(jnp.square(x).sum(-2), axis_name) / count)


@accept_explicit_axes
def covariance_spectrum(
    embeddings: Float[Array, "*batch n d"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch d"]:
    r"""Eigenvalues of the covariance of the global sample, largest first.

    .. math:: \Sigma = \tfrac1n \sum_i (x_i - \bar x)(x_i - \bar x)^\top

    All 1 where the embeddings are isotropic with unit variance, the aim of SIGReg. A sample of
    n < d points has at most n - 1 that are not 0.

    Args:
        embeddings: Samples on the last axis but one; leading axes are separate samples.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        Eigenvalues, float32, never negative; those that are rounding are 0.

    Raises:
        ValueError: If the shapes do not fit.

    Examples:
        >>> cloud = jnp.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
        >>> covariance_spectrum(cloud).round(3)
        Array([2., 0.], dtype=float32)
    """
    check_samples("embeddings", embeddings, mask)
    x, mean, count = center_rows(embeddings, mask=mask, axis_name=axis_name)
    # Again, since rounding of the mean would be a direction of its own.
    x, _, _ = center_rows(x, mask=mask, axis_name=axis_name)
    # Far from 0 the samples themselves are rounded: a random matrix of this norm, about.
    largest = jnp.abs(mean).max(-1)
    rounding = 0.5 * EPSILON * largest * (jnp.sqrt(count[..., 0]) + x.shape[-1] ** 0.5)
    values = singular_values(x, absolute=lax.stop_gradient(rounding), axis_name=axis_name)
    return jnp.square(values) / count


def condition_number(spectrum: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
    r"""Ratio of the largest to the smallest eigenvalue, :math:`\lambda_{\max}/\lambda_{\min}`.

    Args:
        spectrum: Eigenvalues of a covariance, in any order.

    Returns:
        At least 1, and 1 where all are equal; infinite where one is 0.

    Examples:
        >>> print(condition_number(jnp.array([4.0, 2.0, 1.0])))
        4.0

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Lemmas 1 and 2: what unequal
        eigenvalues cost a linear probe.
    """
    smallest = jnp.min(spectrum, axis=-1)
    return _ratio(jnp.max(spectrum, axis=-1), smallest)


def isotropy(spectrum: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
    r"""Distance from a round cloud that no scale and no rotation changes.

    .. math:: \frac{\operatorname{tr}(\Sigma^{-1}) \operatorname{tr}(\Sigma)}{d^2} \ge 1

    with equality if and only if all eigenvalues are equal. The trace of the inverse is the Fisher
    information of the Gaussian with this covariance, which the nearest-neighbor bias is
    proportional to, and the total variance of ordinary least squares up to the noise.

    Args:
        spectrum: Eigenvalues of a covariance, in any order.

    Returns:
        At least 1; infinite where an eigenvalue is 0.

    Examples:
        >>> print(isotropy(jnp.array([2.0, 2.0, 2.0])), isotropy(jnp.array([3.0, 1.0])))
        1.0 1.3333334

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Lemmas 2 and 6, Theorem 9.
    """
    # Not infinity times a mean, which of a cloud that is a point would be NaN.
    whole = jnp.min(spectrum, axis=-1) > 0
    inverse = 1 / jnp.where(whole[..., None], spectrum, 1.0)
    found = jnp.mean(inverse, axis=-1) * jnp.mean(spectrum, axis=-1)
    return jnp.where(whole, found, jnp.inf)


def effective_rank(spectrum: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
    r"""Exponential entropy of the normalized eigenvalues.

    .. math:: \exp\Big(-\sum_k p_k \log p_k\Big), \qquad p_k = \frac{\lambda_k}{\sum_j \lambda_j}

    :func:`rankme` is the same of the *singular values* of the *uncentered* matrix: the square root
    makes it kinder to small directions, and a common mean counts there as a direction.

    Args:
        spectrum: Eigenvalues of a covariance, in any order.

    Returns:
        Between 1 and d; r where r eigenvalues are equal and the others 0, 0 where all are 0.

    Examples:
        >>> print(f"{effective_rank(jnp.array([5.0, 5.0, 0.0])):.2f}")
        2.00

    References:
        O. Roy, M. Vetterli, The effective rank: A measure of effective dimensionality, EUSIPCO,
        2007, Definition 1, with eigenvalues of the covariance for singular values.
    """
    return _exp_entropy(spectrum, 0.0)


def alpha_req(spectrum: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
    r"""Decay exponent of the spectrum: how fast log eigenvalues fall with log rank.

    The least-squares :math:`\alpha` of :math:`\log \lambda_k = c - \alpha \log k` over the
    eigenvalues that are not 0. A flat spectrum has 0, and features in which few directions carry
    all have a large one; representations that transfer well were found near 1.

    Args:
        spectrum: Eigenvalues of a covariance, largest first.

    Returns:
        The exponent; 0 where fewer than two eigenvalues are positive.

    Examples:
        >>> print(f"{alpha_req(jnp.arange(1.0, 100.0) ** -1.5):.3f}")
        1.500

    References:
        K. K. Agrawal, A. K. Mondal, A. Ghosh, B. A. Richards, alpha-ReQ: Assessing Representation
        Quality in Self-Supervised Learning by measuring eigenspectrum decay, NeurIPS, 2022,
        Section 2. There the fit is over a range of ranks chosen by eye; here over all of them.
    """
    positive = spectrum > 0
    weight = positive.astype(jnp.float32)
    count = jnp.maximum(jnp.sum(weight, axis=-1, keepdims=True), 1)
    rank = jnp.log(jnp.arange(1, spectrum.shape[-1] + 1, dtype=jnp.float32))
    x = jnp.broadcast_to(rank, spectrum.shape)
    y = jnp.log(jnp.where(positive, spectrum, 1.0))
    x = x - jnp.sum(weight * x, axis=-1, keepdims=True) / count
    y = y - jnp.sum(weight * y, axis=-1, keepdims=True) / count
    variance = jnp.sum(weight * x * x, axis=-1)
    # 0 - : a flat spectrum is 0 and not -0.
    return 0.0 - jnp.sum(weight * x * y, axis=-1) / jnp.where(variance > 0, variance, 1.0)


@accept_explicit_axes
def lidar(
    embeddings: Float[Array, "v n d"],
    *,
    delta: float = 1e-4,
    eps: float = 1e-8,
    mask: Bool[Array, " n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Effective rank of what tells samples apart, in units of how much their views differ.

    With :math:`\mu_i` the mean of the views of sample i and :math:`\mu` the mean of those,

    .. math::
        \Sigma_b = \frac1n \sum_i (\mu_i - \mu)(\mu_i - \mu)^\top, \quad
        \Sigma_w = \frac1{nv} \sum_{i,a} (z_{ai} - \mu_i)(z_{ai} - \mu_i)^\top + \delta I,

    and :math:`\lambda` the eigenvalues of :math:`\Sigma_w^{-1/2} \Sigma_b \Sigma_w^{-1/2}`,

    .. math:: \exp\Big(-\sum_k p_k \log p_k\Big), \qquad
        p_k = \frac{\lambda_k}{\sum_j \lambda_j} + \epsilon .

    Unlike :func:`rankme` it gives no credit to directions that are noise of the views.

    Args:
        embeddings: Views of samples; every sample in all of its views on one device.
        delta: Ridge on the within-sample scatter.
        eps: The :math:`\epsilon` above.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        Between 1 and d, float32.

    Raises:
        ValueError: If there are fewer than two views, the shapes do not fit, or `delta` or `eps`
            is not positive.

    Examples:
        >>> signal = jnp.concatenate([jnp.eye(4), -jnp.eye(4)])
        >>> print(f"{lidar(jnp.stack([signal, signal])):.2f}")
        4.00

    References:
        V. Thilak, C. Huang, O. Saremi, L. Dinh, H. Goh, P. Nakkiran, J. M. Susskind, E. Littwin,
        LiDAR: Sensing Linear Probing Performance in Joint Embedding SSL Architectures,
        arXiv 2312.04000, 2023, Equations 1 to 4. We divide the scatters by n and n v; the papers'
        unbiased factors cancel in p, up to the ridge.
    """
    if embeddings.ndim != 3:
        raise ValueError(f"embeddings must have shape (v, n, d), got {embeddings.shape}")
    if len(embeddings) < 2:
        raise ValueError(f"embeddings must hold at least 2 views, got shape {embeddings.shape}")
    check_samples("embeddings", embeddings[0], mask)
    check_positive("delta", delta)
    check_positive("eps", eps)
    every_view = None if mask is None else jnp.broadcast_to(mask, embeddings.shape[:-1])
    z = masked_rows(embeddings, every_view)
    means = jnp.mean(z, axis=0)
    centered, _, count = center_rows(means, mask=mask, axis_name=axis_name)
    between = _second_moment(centered, count, axis_name)
    within = jnp.mean(
        jnp.stack([_second_moment(view - means, count, axis_name) for view in z]), axis=0
    )
    values, vectors = jnp.linalg.eigh(within + delta * jnp.eye(z.shape[-1], dtype=jnp.float32))
    # Rounding may leave an eigenvalue below the ridge it contains.
    whiten = vectors / jnp.sqrt(jnp.maximum(values, delta))[None, :]
    left = jnp.matmul(whiten.T, between, precision=lax.Precision.HIGHEST)
    return _exp_entropy(
        _eigenvalues(jnp.matmul(left, whiten, precision=lax.Precision.HIGHEST)), eps
    )


def label_free_score(
    loss: float | Float[Array, "*batch"],
    trade_off: float | Float[Array, "*#batch"],
    alpha: float = 0.4,
) -> float | Float[Array, "*batch"]:
    r"""Score that ranks runs of different trade-off without labels: lower is better.

    .. math:: \mathrm{loss} / \lambda^\alpha

    The training loss alone ranks runs of one :math:`\lambda`; this scaling makes runs of several
    comparable. Published rank correlations with the accuracy of a linear probe are 93 to 98 %
    with :math:`\alpha = 0.4`, against 60 to 90 % with 0.

    Args:
        loss: Training loss (1 - trade_off) * prediction + trade_off * sigreg.
        trade_off: The :math:`\lambda` of that run.
        alpha: Exponent.

    Returns:
        The score.

    Examples:
        >>> round(label_free_score(0.08, 0.05), 4)
        0.2652

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Equation 8 and Figures 11 and 19.
    """
    return loss / trade_off**alpha


def _second_moment(x, count, axis_name) -> Float[Array, "*batch d d"]:
    total = jnp.einsum("...nd,...ne->...de", x, x, precision=lax.Precision.HIGHEST)
    return over_devices(total, axis_name) / count[..., None]


def _eigenvalues(moment: Float[Array, "*batch d d"]) -> Float[Array, "*batch d"]:
    """Eigenvalues of a symmetric matrix without negative ones, largest first, rounding as 0."""
    values = jnp.linalg.eigvalsh(moment)[..., ::-1]
    floor = EPSILON * moment.shape[-1] ** 0.5 * values[..., :1]
    return jnp.where(values > floor, values, 0.0)


def _exp_entropy(values: Float[Array, "*batch d"], eps: float | Array) -> Float[Array, "*batch"]:
    total = jnp.sum(values, axis=-1, keepdims=True)
    p = values / jnp.where(total > 0, total, 1.0) + eps
    entropy = -jnp.sum(jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1.0)), 0.0), axis=-1)
    return jnp.where(total[..., 0] > 0, jnp.exp(entropy), 0.0)


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Division that is infinite, and not NaN, where the denominator is 0."""
    positive = denominator > 0
    return jnp.where(positive, numerator / jnp.where(positive, denominator, 1.0), jnp.inf)
