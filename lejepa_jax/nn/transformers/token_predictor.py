"""A small transformer that predicts tokens that were not seen from those that were."""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from lejepa_jax.nn.layers import check_sizes
from lejepa_jax.nn.normalization import layer_norm
from lejepa_jax.nn.transformers.positions import sincos_grid
from lejepa_jax.nn.transformers.token_dropping import take_tokens
from lejepa_jax.nn.transformers.transformer import Block


class TokenPredictor(nnx.Module):
    """Predicts what an encoder says of tokens, from what it says of others.

    A learned token with the position code of what is asked for stands for each token to predict;
    position codes are `sincos_grid`, also of the tokens that are seen.

    Args:
        in_features: Width of the encoder's tokens.
        out_features: Width of the predictions.
        width: Width inside, divisible by 4 and by `num_heads`.
        depth: Number of blocks.
        num_heads: Heads of each block.
        dtype: Type in which the matrix products compute.
        rngs: Source of the initial parameters.

    Raises:
        ValueError: If a size is not positive, or does not divide `width`.

    Examples:
        >>> import jax
        >>> def predict(seen):
        ...     predictor = TokenPredictor(6, 3, width=8, depth=1, num_heads=2, rngs=nnx.Rngs(0))
        ...     kept, asked = jnp.array([[0, 3]]), jnp.array([[1, 2]])
        ...     return predictor(seen, kept, asked, (2, 2))
        >>> jax.eval_shape(predict, jnp.ones((1, 2, 6))).shape
        (1, 2, 3)

    References:
        M. Assran et al., arXiv 2301.08243, 2023, section 3 (predictor). There each block is
        predicted apart from the others; here all of an example's blocks at once.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        width: int,
        depth: int,
        num_heads: int,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_sizes(depth=depth, out_features=out_features)
        if width % 4:
            raise ValueError(f"width must be divisible by 4, got {width}")
        self.width = width
        self.enter = nnx.Linear(in_features, width, dtype=dtype, rngs=rngs)
        start = nnx.initializers.normal(0.02)
        self.mask_token = nnx.Param(start(rngs.params(), (1, width), jnp.float32))
        self.blocks = nnx.List(
            Block(width, num_heads, 4 * width, dtype=dtype, rngs=rngs) for _ in range(depth)
        )
        self.norm = layer_norm(width, epsilon=1e-6, rngs=rngs)
        self.leave = nnx.Linear(width, out_features, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        tokens: Float[Array, "b k d"],
        kept: Int[Array, "b k"],
        asked: Int[Array, "b m"],
        grid: tuple[int, ...],
        *,
        counts: Bool[Array, "b m"] | None = None,
    ) -> Float[Array, "b m e"]:
        """Predict tokens.

        Args:
            tokens: What the encoder says of the tokens that are seen.
            kept: Their numbers.
            asked: Numbers of the tokens to predict.
            grid: Rows and columns of all tokens.
            counts: True for those of `asked` that others may look at; all by default. Predictions
                of those that count do not depend on the others.

        Returns:
            The predictions, in float32.
        """
        places = sincos_grid(grid, self.width).reshape(1, -1, self.width)
        seen = self.enter(tokens).astype(jnp.float32) + take_tokens(places, kept)
        blank = self.mask_token[...][None] + take_tokens(places, asked)
        x, number = jnp.concatenate([seen, blank], 1), kept.shape[1]
        mask = None
        if counts is not None:
            visible = jnp.concatenate([jnp.ones(kept.shape, bool), counts], 1)
            size = x.shape[1]
            mask = jnp.broadcast_to(visible[:, None, None], (len(kept), 1, size, size))
        for block in self.blocks:
            x = block(x, mask=mask)
        return self.leave(self.norm(x[:, number:])).astype(jnp.float32)
