"""The projector: from the encoder's features to the embedding on which the loss is computed."""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lejepa_jax.checks import check_choice
from lejepa_jax.nn.layers import check_sizes, gelu
from lejepa_jax.nn.normalization import batch_norm, normalize
from lejepa_jax.statistics.reductions import AxisName


class Projector(nnx.Module):
    """Multi-layer perceptron of 0 to 3 layers with BatchNorm and ReLU between them.

    Each hidden layer is linear -> BatchNorm -> ReLU, the last one linear with a bias and no
    normalization. By default hidden layers carry no bias: BatchNorm would remove it.

    Kernels start at variance 1 / fan-in, the last one too. It must not start at zero: where all
    embeddings coincide, the gradient of SIGReg vanishes by symmetry, so an embedding that starts at
    exact collapse can never leave it by that force.

    Args:
        in_features: Width of the encoder's features.
        out_features: Width of the embedding.
        hidden_features: Width of the hidden layers.
        num_layers: Number of linear layers; 0 is the identity.
        hidden_bias: Whether hidden layers carry a bias, as in published networks.
        activation: What follows BatchNorm, "relu" or "gelu".
        dtype: Type in which the layers compute; parameters and BatchNorm are float32.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.

    Raises:
        ValueError: If a width is not positive, `num_layers` is not 0, 1, 2 or 3, it is 0 and the
            widths differ, or `activation` is unknown.

    Examples:
        >>> def project(features):
        ...     projector = Projector(8, 4, hidden_features=16, rngs=nnx.Rngs(0))
        ...     return projector(features, train=True)
        >>> jax.eval_shape(project, jnp.ones((2, 8))).shape
        (2, 4)

    References:
        R. Balestriero, Y. LeCun, "LeJEPA", arXiv 2511.08544, 2025, section 6 (depth and width).
        S. Ioffe, C. Szegedy, "Batch Normalization", arXiv 1502.03167, 2015.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden_features: int = 2048,
        num_layers: int = 3,
        hidden_bias: bool = False,
        activation: str = "relu",
        dtype: DTypeLike = jnp.float32,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes(in_features=in_features, out_features=out_features)
        check_sizes(hidden_features=hidden_features)
        if num_layers not in (0, 1, 2, 3):
            raise ValueError(f"num_layers must be 0, 1, 2 or 3, got {num_layers}")
        if num_layers == 0 and in_features != out_features:
            raise ValueError(
                f"out_features must equal in_features = {in_features} when num_layers is 0, "
                f"got {out_features}"
            )
        check_choice("activation", activation, ("relu", "gelu"))
        self.activation = activation
        hidden = max(num_layers - 1, 0)
        widths = (in_features,) + (hidden_features,) * hidden
        self.features = out_features
        self.hidden = nnx.List(
            nnx.Linear(*pair, use_bias=hidden_bias, dtype=dtype, rngs=rngs)
            for pair in itertools.pairwise(widths)
        )
        self.norms = nnx.List(
            batch_norm(width, axis_name=axis_name, rngs=rngs) for width in widths[1:]
        )
        self.last = (
            nnx.Linear(widths[-1], out_features, dtype=dtype, rngs=rngs) if num_layers else None
        )

    def __call__(self, x: Float[Array, "b d"], *, train: bool = False) -> Float[Array, "b k"]:
        """Project features to embeddings.

        Args:
            x: Features.
            train: Whether BatchNorm uses this batch and updates its running statistics.

        Returns:
            Embeddings in float32.
        """
        activate = jax.nn.relu if self.activation == "relu" else gelu
        for linear, norm in zip(self.hidden, self.norms, strict=True):
            x = activate(normalize(norm, linear(x), train=train))
        if self.last is not None:
            x = self.last(x)
        return x.astype(jnp.float32)
