"""A transformer block that is conditioned token by token, and starts as the identity."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from lejepa_jax.nn.layers import check_sizes, dropout, gelu
from lejepa_jax.nn.normalization import layer_norm
from lejepa_jax.nn.transformers.transformer import Attention


class ConditionedBlock(nnx.Module):
    r"""Transformer block whose norms are modulated by a condition of each token (AdaLN-zero).

    With :math:`(\beta_1, \gamma_1, g_1, \beta_2, \gamma_2, g_2) = W \mathrm{silu}(c)` and
    :math:`W = 0` at first,

    .. math:: x \leftarrow x + g_1 A(N(x) (1 + \gamma_1) + \beta_1), \qquad
        x \leftarrow x + g_2 M(N(x) (1 + \gamma_2) + \beta_2)

    where :math:`N` is LayerNorm without gain and offset, and :math:`A` (causal attention) and
    :math:`M` (two linear maps about a GELU) each begin with a LayerNorm of their own, as published.

    Args:
        width: Width of the tokens, and of their conditions.
        num_heads: Number of heads.
        inner_width: Width of all heads together.
        mlp_width: Width of the hidden layer of the MLP.
        dropout_rate: After the attention, after the GELU and after the MLP. The published code
            also drops weights of the attention.
        dtype: Type in which the matrix products compute.
        rngs: Source of the initial parameters.

    Raises:
        ValueError: If a width is not positive, or heads do not divide the inner width.

    References:
        W. Peebles, S. Xie, "Scalable Diffusion Models with Transformers", arXiv 2212.09748, 2022,
        section 3.2 (adaLN-Zero).
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        inner_width: int,
        mlp_width: int,
        dropout_rate: float = 0.0,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_sizes(width=width, mlp_width=mlp_width)
        self.dropout_rate = dropout_rate
        self.norm = nnx.LayerNorm(
            width, epsilon=1e-6, use_bias=False, use_scale=False, dtype=jnp.float32, rngs=rngs
        )
        zeros = nnx.initializers.zeros
        self.modulation = nnx.Linear(
            width, 6 * width, kernel_init=zeros, bias_init=zeros, dtype=dtype, rngs=rngs
        )
        self.attention_norm = layer_norm(width, epsilon=1e-5, rngs=rngs)
        self.attention = Attention(
            width,
            num_heads,
            inner_width=inner_width,
            qkv_bias=False,
            causal=True,
            dtype=dtype,
            rngs=rngs,
        )
        self.mlp_norm = layer_norm(width, epsilon=1e-5, rngs=rngs)
        self.expand = nnx.Linear(width, mlp_width, dtype=dtype, rngs=rngs)
        self.contract = nnx.Linear(mlp_width, width, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "b n w"],
        condition: Float[Array, "b n w"],
        *,
        keys: Key[Array, " b"] | None = None,
        number: int = 0,
    ) -> Float[Array, "b n w"]:
        """Transform tokens.

        Args:
            x: Tokens, in float32.
            condition: What each is conditioned on.
            keys: One key an example; None for no dropout.
            number: Which block of a network this is, so that their dropouts differ.

        Returns:
            Tokens.
        """
        modulation = self.modulation(jax.nn.silu(condition)).astype(jnp.float32)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = jnp.split(modulation, 6, axis=-1)
        mixed = self.attention(self.attention_norm(self.norm(x) * (1 + scale) + shift))
        x = x + gate * self._drop(mixed, keys, 3 * number).astype(jnp.float32)
        hidden = gelu(self.expand(self.mlp_norm(self.norm(x) * (1 + mlp_scale) + mlp_shift)))
        hidden = self.contract(self._drop(hidden, keys, 3 * number + 1))
        return x + mlp_gate * self._drop(hidden, keys, 3 * number + 2).astype(jnp.float32)

    def _drop(self, x: Array, keys: Array | None, number: int) -> Array:
        if keys is None or not self.dropout_rate:
            return x
        return dropout(x, keys, number, self.dropout_rate)
