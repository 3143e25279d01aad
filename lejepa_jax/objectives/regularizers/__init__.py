"""What keeps embeddings from collapsing: SIGReg, and what came after it."""

from lejepa_jax.objectives.regularizers.covariances import covariance
from lejepa_jax.objectives.regularizers.kernels import ksd, mmd
from lejepa_jax.objectives.regularizers.names import (
    REGULARIZERS,
    embedding_transform,
    regularizer_by_name,
    regularizer_null_mean,
    sample_null,
    simulate_null_mean,
)
from lejepa_jax.objectives.regularizers.protocol import DescribedRegularizer, Regularizer
from lejepa_jax.objectives.regularizers.quantiles import (
    quantile_distance,
    quantile_distance_null_mean,
)
from lejepa_jax.objectives.regularizers.rectified import rdmreg
from lejepa_jax.objectives.regularizers.spherical import sphere, to_sphere
from lejepa_jax.objectives.regularizers.subspaces import subspace
from lejepa_jax.objectives.regularizers.variance_shape import visreg

__all__ = [
    "REGULARIZERS",
    "DescribedRegularizer",
    "Regularizer",
    "covariance",
    "embedding_transform",
    "ksd",
    "mmd",
    "quantile_distance",
    "quantile_distance_null_mean",
    "rdmreg",
    "regularizer_by_name",
    "regularizer_null_mean",
    "sample_null",
    "simulate_null_mean",
    "sphere",
    "subspace",
    "to_sphere",
    "visreg",
]
