"""What a cloud of embeddings looks like, in the few numbers worth a line in a log."""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float

from lejepa_jax.diagnostics.spectrum import (
    alpha_req,
    condition_number,
    covariance_spectrum,
    effective_rank,
    feature_std,
    isotropy,
    rankme,
)
from lejepa_jax.statistics.reductions import AxisName


class CloudSummary(NamedTuple):
    """Numbers without labels; see the functions of :mod:`lejepa_jax.diagnostics.spectrum`.

    Attributes:
        rankme: Effective rank, singular values of the uncentered embeddings.
        effective_rank: Effective rank, eigenvalues of their covariance.
        alpha_req: Decay exponent of those eigenvalues; 0 is flat.
        condition_number: Largest over smallest eigenvalue, infinite where rank is missing.
        isotropy: 1 for a round cloud, infinite where rank is missing.
        smallest_std: Standard deviation of the feature that varies least; 0 is collapse.
        mean_std: Mean standard deviation; SIGReg drives it to 1.
    """

    rankme: Float[Array, "*batch"]
    effective_rank: Float[Array, "*batch"]
    alpha_req: Float[Array, "*batch"]
    condition_number: Float[Array, "*batch"]
    isotropy: Float[Array, "*batch"]
    smallest_std: Float[Array, "*batch"]
    mean_std: Float[Array, "*batch"]


def summarize_cloud(
    embeddings: Float[Array, "*batch n d"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> CloudSummary:
    """Summarize the global sample.

    Args:
        embeddings: Samples on the last axis but one; leading axes are separate samples.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        The numbers, float32; `summarize_cloud(z)._asdict()` is a dictionary by name.

    Raises:
        ValueError: If the shapes do not fit.

    Examples:
        >>> import jax
        >>> summary = summarize_cloud(jax.random.normal(jax.random.key(0), (4096, 8)))
        >>> print(f"{summary.effective_rank:.1f} of 8, isotropy {summary.isotropy:.2f}")
        8.0 of 8, isotropy 1.00
    """
    spectrum = covariance_spectrum(embeddings, mask=mask, axis_name=axis_name)
    std = feature_std(embeddings, mask=mask, axis_name=axis_name)
    return CloudSummary(
        rankme=rankme(embeddings, mask=mask, axis_name=axis_name),
        effective_rank=effective_rank(spectrum),
        alpha_req=alpha_req(spectrum),
        condition_number=condition_number(spectrum),
        isotropy=isotropy(spectrum),
        smallest_std=std.min(-1),
        mean_std=std.mean(-1),
    )
