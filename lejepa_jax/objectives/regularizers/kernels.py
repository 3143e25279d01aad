r"""Kernel distances of a whole cloud from N(0, I), without slices: MMD and Stein discrepancy.

Both look at all pairs in blocks of rows: time :math:`n^2 d`, memory linear in n. Sharded over
devices, each handles the pairs of its own rows with all samples, which are gathered: n d floats,
and n more for those that count; the gradient sends n d back, divided by the number of devices. In
micro-batches the gradient is exact when the embeddings of all are kept, as
`microbatched_value_and_grad` does.

A kernel has a width. Distances of normal samples are near :math:`\sqrt{2 d}`, so that a fixed width
goes blind in many dimensions; the default is :math:`h = \sqrt d`.
"""

import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from lejepa_jax.checks import check_choice, check_positive, check_samples
from lejepa_jax.objectives.regularizers.protocol import over_clouds
from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.multivariate.characteristic_tests import bhep
from lejepa_jax.statistics.multivariate.distances import energy_distance
from lejepa_jax.statistics.multivariate.pairs import Pair, expm1, mean_over_pairs
from lejepa_jax.statistics.reductions import AxisName

Kernel = Literal["imq", "gaussian", "energy"]
SteinKernel = Literal["imq", "gaussian"]


@accept_explicit_axes
def mmd(
    key: PRNGKeyArray,
    embeddings: Float[Array, "*batch n d"],
    *,
    kernel: Kernel = "imq",
    bandwidth: float | None = None,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Squared maximum mean discrepancy of a cloud from N(0, I), times n.

    .. math:: n \left[\overline{k(z_i, z_j)} - 2\, \overline{E\, k(z_i, Z)} + E\, k(Z, Z')\right]

    with :math:`k = e^{-r^2 / 2 h^2}` (`gaussian`, see `bhep`), :math:`(1 + r^2 / h^2)^{-1/2}`
    (`imq`), or :math:`-r` (`energy`, see `energy_distance`). The means over the prior have closed
    forms, or are one-dimensional integrals: no sample of it is drawn. SIGReg is the sliced form
    with a Gaussian kernel. The factor n, as SIGReg has it, makes the null mean the same for every
    n; published weights are for the mean without it.

    Args:
        key: Unused: nothing is random.
        embeddings: Samples on the last axis but one.
        kernel: The kernel.
        bandwidth: h; by default the square root of d. `energy` has none.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; n d + n floats cross devices.

    Returns:
        The mean over leading axes, float32.

    Raises:
        ValueError: For an unknown kernel, or a bandwidth that is not positive or not needed; for a
            wrong rank, dtype or mask.

    Examples:
        >>> cloud = jax.random.normal(jax.random.key(0), (256, 8))
        >>> values = mmd(jax.random.key(1), cloud), mmd(jax.random.key(1), cloud / 10)
        >>> print("round {:.1f}, narrow {:.1f}".format(*values))
        round 0.3, narrow 38.1

    References:
        KerJEPA, arXiv 2512.19605, 2025. A. Gretton et al., A kernel two-sample test, JMLR 13, 2012.
    """
    del key
    check_choice("kernel", kernel, ("imq", "gaussian", "energy"))
    check_samples("embeddings", embeddings, mask)
    width = _width(bandwidth, embeddings.shape[-1])
    if kernel == "energy":
        if bandwidth is not None:
            raise ValueError(f"bandwidth must be None with the energy kernel, got {bandwidth}")
        function = energy_distance
    elif kernel == "gaussian":
        function = functools.partial(bhep, beta=1 / width)
    else:
        function = functools.partial(_imq_distance, width=width)
    return over_clouds(
        lambda x, mask: function(x, mask=mask, axis_name=axis_name), embeddings, mask=mask
    )


def mmd_null_mean(
    num_samples: int, dim: int, *, kernel: Kernel = "imq", bandwidth: float | None = None
) -> float:
    r"""Mean of :func:`mmd` on independent N(0, I) samples, for any number of them.

    .. math:: k(Z, Z) - E\, k(Z, Z')

    Args:
        num_samples: Samples over all devices; it does not matter.
        dim: Dimension of the embeddings.
        kernel: As in :func:`mmd`.
        bandwidth: As in :func:`mmd`.

    Returns:
        The mean.

    Examples:
        >>> round(mmd_null_mean(256, 8), 3), round(mmd_null_mean(256, 8, kernel="energy"), 2)
        (0.4, 3.88)
    """
    del num_samples
    width = _width(bandwidth, dim)
    if kernel == "energy":
        return 2 * math.exp(math.lgamma((dim + 1) / 2) - math.lgamma(dim / 2))
    if kernel == "gaussian":
        return -math.expm1(-dim / 2 * math.log1p(2 / width**2))
    t, weights = _scales()
    return float(-weights @ np.expm1(-dim / 2 * np.log1p(4 * t / width**2)))


@accept_explicit_axes
def ksd(
    key: PRNGKeyArray,
    embeddings: Float[Array, "*batch n d"],
    *,
    kernel: SteinKernel = "imq",
    bandwidth: float | None = None,
    debias: bool = False,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Squared kernel Stein discrepancy of a cloud from N(0, I), times n / d.

    .. math:: \frac nd\, \overline{k_0(z_i, z_j)}, \qquad k_0(x, y) = x^\top y\, \kappa
        + 2 r^2 \kappa' - 2 d\, \kappa' - 4 r^2 \kappa''

    for a kernel :math:`\kappa(r^2)`, since the score of N(0, I) is -z. The mean of :math:`k_0` over
    the prior is 0 in either argument, so that no sample and no integral of it is needed. The pull
    on samples far out grows with their distance.

    Args:
        key: Unused: nothing is random.
        embeddings: Samples on the last axis but one.
        kernel: `imq`, :math:`(1 + r^2/h^2)^{-1/2}`, or `gaussian`, :math:`e^{-r^2 / 2 h^2}`.
        bandwidth: h; by default the square root of d.
        debias: Leave out the pairs of a sample with itself (U-statistic): the null mean is then 0,
            and single values may be negative.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; n d + n floats cross devices.

    Returns:
        The mean over leading axes, float32.

    Raises:
        ValueError: For an unknown kernel, or a bandwidth that is not positive; for a wrong rank,
            dtype or mask.

    Examples:
        >>> cloud = jax.random.normal(jax.random.key(0), (256, 8))
        >>> values = ksd(jax.random.key(1), cloud), ksd(jax.random.key(1), cloud / 10)
        >>> print("round {:.1f}, narrow {:.1f}".format(*values))
        round 0.8, narrow 30.2

    References:
        Q. Liu, J. Lee, M. Jordan, A kernelized Stein discrepancy for goodness-of-fit tests, ICML
        2016. J. Gorham, L. Mackey, Measuring sample quality with kernels, ICML 2017. KerJEPA, arXiv
        2512.19605, 2025.
    """
    del key
    check_choice("kernel", kernel, ("imq", "gaussian"))
    check_samples("embeddings", embeddings, mask)
    d = embeddings.shape[-1]
    width = _width(bandwidth, d)

    def term(pair: Pair) -> Array:
        squared = jnp.where(pair.same, 0, _squared_distance(pair))
        value, first, second = _radial(kernel, squared / width**2)
        stein = pair.inner * value + 2 * (squared - d) * first / width**2
        stein -= 4 * squared * second / width**4
        return jnp.where(pair.same & debias, 0, stein / d)

    def one(x: Array, mask: Array | None) -> Array:
        mean, count = mean_over_pairs(term, x, mask, axis_name)
        factor = jnp.square(count) / jnp.maximum(count - 1, 1) if debias else count
        return factor * mean

    return over_clouds(one, embeddings, mask=mask)


def ksd_null_mean(
    num_samples: int,
    dim: int,
    *,
    kernel: SteinKernel = "imq",
    bandwidth: float | None = None,
    debias: bool = False,
) -> float:
    r"""Mean of :func:`ksd` on independent N(0, I) samples, for any number of them.

    .. math:: \tfrac1d E\, k_0(Z, Z) = 1 + h^{-2}

    Args:
        num_samples: Samples over all devices; it does not matter.
        dim: Dimension of the embeddings.
        kernel: As in :func:`ksd`; it does not matter.
        bandwidth: As in :func:`ksd`.
        debias: As in :func:`ksd`.

    Returns:
        The mean.

    Examples:
        >>> ksd_null_mean(256, 8)
        1.125
    """
    del num_samples, kernel
    return 0.0 if debias else 1 + 1 / _width(bandwidth, dim) ** 2


def _width(bandwidth: float | None, dim: int) -> float:
    if bandwidth is None:
        return math.sqrt(dim)
    check_positive("bandwidth", bandwidth)
    return bandwidth


def _squared_distance(pair: Pair) -> Array:
    # Far from the origin rounding could make it negative.
    return jnp.maximum(pair.row + pair.column - 2 * pair.inner, 0)


def _radial(kernel: SteinKernel, s: Array) -> tuple[Array, Array, Array]:
    """Evaluate a kernel of s and its first two derivatives."""
    if kernel == "gaussian":
        value = jnp.exp(-s / 2)
        return value, -value / 2, value / 4
    root = jax.lax.rsqrt(1 + s)
    return root, -(root**3) / 2, 3 * root**5 / 4


def _imq_distance(
    samples: Array, *, width: float, mask: Array | None, axis_name: AxisName | None
) -> Array:
    r"""Evaluate the distance by the kernel :math:`(1 + r^2/h^2)^{-1/2}`, all of its terms less 1.

    It is a mixture of Gaussian kernels, :math:`\int e^{-t (1 + r^2/h^2)} (\pi t)^{-1/2} dt`, so
    that its means over N(0, I) are one-dimensional integrals.
    """
    d = samples.shape[1]
    t, weights = _scales()
    spread = 1 + 2 * t / width**2
    log_single = jnp.asarray(-d / 2 * np.log(spread), jnp.float32)
    rate = jnp.asarray(t / width**2 / spread, jnp.float32)
    mixture = jnp.asarray(weights, jnp.float32)
    constant = float(weights @ np.expm1(-d / 2 * np.log1p(4 * t / width**2)))

    def feature(squared: Array) -> Array:
        exponent = log_single[None, :] - squared[:, None] * rate[None, :]
        return jnp.matmul(expm1(exponent), mixture, precision="highest")

    def term(pair: Pair) -> Array:
        s = _squared_distance(pair) / width**2
        both = jnp.where(pair.same, 0, jnp.expm1(-0.5 * jnp.log1p(s)))
        return both - pair.row_feature - pair.column_feature + constant

    mean, count = mean_over_pairs(term, samples, mask, axis_name, feature)
    return count * mean


def _scales() -> tuple[np.ndarray, np.ndarray]:
    r"""Nodes and weights of :math:`\int_0^\infty f(t) e^{-t} (\pi t)^{-1/2} dt`; they sum to 1."""
    # With t = u^2 / 2 it is the mean of f over a normal u, of which half is enough. Small u matter
    # in many dimensions: crowded there by another square.
    v, weights = np.polynomial.legendre.leggauss(96)
    v, weights = (v + 1) / 2, weights / 2
    u = 8.5 * v**2
    density = np.exp(-np.square(u) / 2) * math.sqrt(2 / math.pi)
    return np.square(u) / 2, weights * 17 * v * density
