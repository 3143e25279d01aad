"""The predictor: from what was seen and done to what will be seen, in the latent space."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from lejepa_jax.nn.layers import check_sizes, dropout
from lejepa_jax.nn.normalization import layer_norm
from lejepa_jax.nn.projector import Projector
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.worldmodels.networks.conditioning import ConditionedBlock


class ActionEncoder(nnx.Module):
    """A linear map of a block of actions, then a perceptron of one hidden layer.

    Args:
        action_features: Numbers in a block of actions.
        features: Width of what comes out.
        hidden_features: Width of the hidden layer.
        dtype: Type in which the layers compute.
        rngs: Source of the initial parameters.
    """

    def __init__(
        self,
        action_features: int,
        features: int,
        *,
        hidden_features: int,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.mix = nnx.Linear(action_features, action_features, dtype=dtype, rngs=rngs)
        self.expand = nnx.Linear(action_features, hidden_features, dtype=dtype, rngs=rngs)
        self.contract = nnx.Linear(hidden_features, features, dtype=dtype, rngs=rngs)

    def __call__(self, actions: Float[Array, "*b a"]) -> Float[Array, "*b w"]:
        """Encode blocks of actions."""
        return self.contract(jax.nn.silu(self.expand(self.mix(actions))))


class Predictor(nnx.Module):
    r"""Causal transformer over latents, each conditioned on the action taken there.

    Token :math:`i` of the output predicts latent :math:`i + 1` from latents and actions up to
    :math:`i`: one pass gives predictions from contexts of every length up to `history`. The output
    goes through a perceptron with BatchNorm, as the latents it predicts do.

    Args:
        latent_features: Width of the latents.
        action_features: Numbers in a block of actions.
        history: Latents that it looks back at most.
        width: Width of the tokens; latents of another width go through a linear map.
        depth: Number of blocks.
        num_heads: Heads of each block.
        inner_width: Width of all heads together; `width` by default.
        mlp_width: Width of the hidden layer of the MLPs.
        action_hidden: Width of the hidden layer of the encoder of actions.
        head_features: Width of the hidden layer of the perceptron behind.
        dropout_rate: See `ConditionedBlock`; also of the tokens that come in.
        dtype: Type in which the matrix products compute.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.

    Raises:
        ValueError: If a size is not positive, heads do not divide the inner width, or the dropout
            rate is not in [0, 1).

    Examples:
        >>> def predict(latents, actions):
        ...     return Predictor(8, 4, width=8, depth=1, num_heads=2, rngs=nnx.Rngs(0))(
        ...         latents, actions)
        >>> jax.eval_shape(predict, jnp.ones((2, 3, 8)), jnp.ones((2, 3, 4))).shape
        (2, 3, 8)

    References:
        LeWorldModel, arXiv 2603.19312, 2026.
    """

    def __init__(
        self,
        latent_features: int,
        action_features: int,
        *,
        history: int = 3,
        width: int = 192,
        depth: int = 6,
        num_heads: int = 16,
        inner_width: int | None = None,
        mlp_width: int = 2048,
        action_hidden: int = 768,
        head_features: int = 2048,
        dropout_rate: float = 0.0,
        dtype: DTypeLike = jnp.float32,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes(latent_features=latent_features, action_features=action_features)
        check_sizes(history=history, depth=depth, width=width)
        if not 0 <= dropout_rate < 1:
            raise ValueError(f"dropout_rate must be in [0, 1), got {dropout_rate}")
        self.history, self.dropout_rate, self.features = history, dropout_rate, latent_features
        self.actions = ActionEncoder(
            action_features, width, hidden_features=action_hidden, dtype=dtype, rngs=rngs
        )
        self.widen = (
            None
            if latent_features == width
            else nnx.Linear(latent_features, width, dtype=dtype, rngs=rngs)
        )
        start = nnx.initializers.normal(1.0)
        self.positions = nnx.Param(start(rngs.params(), (history, width), jnp.float32))
        self.blocks = nnx.List(
            ConditionedBlock(
                width,
                num_heads,
                inner_width=width if inner_width is None else inner_width,
                mlp_width=mlp_width,
                dropout_rate=dropout_rate,
                dtype=dtype,
                rngs=rngs,
            )
            for _ in range(depth)
        )
        self.norm = layer_norm(width, epsilon=1e-5, rngs=rngs)
        self.head = Projector(
            width,
            latent_features,
            hidden_features=head_features,
            num_layers=2,
            hidden_bias=True,
            activation="gelu",
            dtype=dtype,
            axis_name=axis_name,
            rngs=rngs,
        )

    def __call__(
        self,
        latents: Float[Array, "b n d"],
        actions: Float[Array, "b n a"],
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b n d"]:
        """Predict the next latent from each beginning of a sequence.

        Args:
            latents: What was seen, at most `history` of it.
            actions: What was done there.
            train: Whether BatchNorm uses this batch, and dropout is on.
            keys: One key an example, from its index in the global batch; to train with dropout.

        Returns:
            Predictions of latents 1 to n, in float32.

        Raises:
            ValueError: If the sequence is longer than `history`, or keys are missing.
        """
        batch, count, _ = latents.shape
        if count > self.history:
            raise ValueError(f"latents must be at most history={self.history}, got {count}")
        if not train or not self.dropout_rate:
            keys = None
        elif keys is None:
            raise ValueError("keys must hold one key an example to train with dropout, got None")
        x = (latents if self.widen is None else self.widen(latents)).astype(jnp.float32)
        x = x + self.positions[:count][None]
        if keys is not None:
            x = dropout(x, keys, 3 * len(self.blocks), self.dropout_rate)
        condition = self.actions(actions)
        for number, block in enumerate(self.blocks):
            x = block(x, condition, keys=keys, number=number)
        found = self.head(self.norm(x).reshape(batch * count, -1), train=train)
        return found.reshape(batch, count, -1)
