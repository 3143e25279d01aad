"""The parts of a transformer: attention with mask, bias and weights of its keys, and the block."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

import rope_jax
from lejepa_jax.checks import check_choice
from lejepa_jax.nn.layers import check_sizes, gelu, quick_gelu, repeat_rows
from lejepa_jax.nn.normalization import layer_norm

Rotate = Callable[[Array], Array]

_IMPLEMENTATIONS = (None, "xla", "cudnn")
#: What stands between the two maps of an MLP.
ACTIVATIONS = ("gelu", "quick_gelu", "swiglu")


class Attention(nnx.Module):
    """Multi-head self-attention; softmax in float32.

    Args:
        width: Width of the tokens.
        num_heads: Number of heads.
        inner_width: Width of all heads together; that of the tokens by default.
        qk_norm: Whether queries and keys are LayerNorm-ed head by head, before any rotation.
        qk_norm_bias: Whether these norms add a learned offset.
        qkv_bias: Whether the map to queries, keys and values adds one.
        epsilon: Of the norms of queries and keys.
        causal: Whether a token sees only itself and the tokens before it.
        implementation: Passed to `jax.nn.dot_product_attention`: None or "xla", or "cudnn" for
            flash attention on GPUs in bfloat16.
        dtype: Type in which the matrix products compute.
        rngs: Source of the initial parameters.

    Raises:
        ValueError: If heads do not divide the width, or `implementation` is unknown.

    Examples:
        >>> def attend(tokens):
        ...     return Attention(8, 2, causal=True, rngs=nnx.Rngs(0))(tokens)
        >>> jax.eval_shape(attend, jnp.ones((1, 3, 8))).shape
        (1, 3, 8)

    References:
        A. Dosovitskiy et al., "An Image is Worth 16x16 Words", arXiv 2010.11929, 2020, appendix A.
        M. Dehghani et al., "Scaling Vision Transformers to 22 Billion Parameters",
        arXiv 2302.05442, 2023, section 2 (norm of queries and keys).
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        inner_width: int | None = None,
        qk_norm: bool = False,
        qk_norm_bias: bool = False,
        qkv_bias: bool = True,
        epsilon: float = 1e-6,
        causal: bool = False,
        implementation: str | None = None,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        inner = width if inner_width is None else inner_width
        check_sizes(width=width, num_heads=num_heads, inner_width=inner)
        if inner % num_heads:
            name = "width" if inner_width is None else "inner_width"
            raise ValueError(f"{name} must be divisible by num_heads={num_heads}, got {inner}")
        if implementation not in _IMPLEMENTATIONS:
            raise ValueError(
                f"attention_implementation must be None, 'xla' or 'cudnn', got {implementation!r}"
            )
        self.num_heads = num_heads
        self.causal = causal
        self.implementation = implementation
        self.dtype = dtype
        self.qkv = nnx.Linear(width, 3 * inner, use_bias=qkv_bias, dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(inner, width, dtype=dtype, rngs=rngs)
        # By default without offsets: softmax does not see one that all keys share.
        head_norm = functools.partial(
            layer_norm, inner // num_heads, use_bias=qk_norm_bias, epsilon=epsilon, rngs=rngs
        )
        self.query_norm = head_norm() if qk_norm else None
        self.key_norm = head_norm() if qk_norm else None

    def project(
        self, x: Float[Array, "b n w"], rotate: Rotate | None = None
    ) -> tuple[Float[Array, "b n h d"], Float[Array, "b n h d"], Float[Array, "b n h d"]]:
        """Compute queries, keys and values; `rotate` acts on the first two, after their norm."""
        # Split before the heads: the gradient is one concatenation.
        query, key, value = (
            rearrange(part, "b n (h d) -> b n h d", h=self.num_heads)
            for part in jnp.split(self.qkv(x), 3, axis=-1)
        )
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        if rotate is not None:
            query, key = rotate(query), rotate(key)
        return query.astype(self.dtype), key.astype(self.dtype), value

    def __call__(
        self,
        x: Float[Array, "b n w"],
        *,
        rotate: Rotate | None = None,
        log_measure: Float[Array, "*w n"] | None = None,
        bias: Float[Array, "*c n n"] | None = None,
        mask: Bool[Array, "*m n n"] | None = None,
    ) -> Float[Array, "b n w"]:
        """Attend from every token to every token.

        Args:
            x: Tokens.
            rotate: Acts on queries and keys.
            log_measure: Log weights of the tokens as keys, of all examples (n) or each (b, n).
            bias: Added to the scores: (n, n), (h, n, n) or (b, h, n, n).
            mask: Which tokens (last axis) a token sees; shapes as for `bias`. Each must see one.

        Returns:
            The mixed tokens.
        """
        query, key, value = self.project(x, rotate)
        mixed = rope_jax.attention(
            query,
            key,
            value,
            log_measure=log_measure,
            bias=bias,
            mask=self._visible(mask, x.shape[1]),
            implementation="cudnn" if self.implementation == "cudnn" else "xla",
        )
        return self.out(rearrange(mixed, "b n h d -> b n (h d)"))

    def weights(
        self,
        x: Float[Array, "b n w"],
        *,
        rotate: Rotate | None = None,
        log_measure: Float[Array, "*w n"] | None = None,
        bias: Float[Array, "*c n n"] | None = None,
        mask: Bool[Array, "*m n n"] | None = None,
    ) -> Float[Array, "b h n n"]:
        """Compute the attention of each token (third axis) to each token (last axis)."""
        query, key, _ = self.project(x, rotate)
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key, preferred_element_type=jnp.float32)
        scores = scores / math.sqrt(query.shape[-1])
        if log_measure is not None:
            scores = scores + log_measure.reshape(-1, 1, 1, log_measure.shape[-1])
        if bias is not None:
            scores = scores + bias.astype(jnp.float32).reshape(_in_front(bias))
        mask = self._visible(mask, x.shape[1])
        if mask is not None:
            scores = jnp.where(mask.reshape(_in_front(mask)), scores, -1e9)
        return jax.nn.softmax(scores, -1)

    def _visible(self, mask: Array | None, count: int) -> Array | None:
        if not self.causal:
            return mask
        before = jnp.tril(jnp.ones((count, count), bool))
        return (
            before if mask is None else mask & before.reshape((1,) * (mask.ndim - 2) + before.shape)
        )


def _in_front(x: Array) -> tuple[int, ...]:
    """Shape of scores (b, h, n, n), with 1 for the axes that are not there."""
    return (1,) * (4 - x.ndim) + x.shape


def activate(x: Float[Array, "*batch w"], activation: str) -> Float[Array, "*batch e"]:
    """Apply what stands between the two maps of an MLP.

    Args:
        x: Result of the first map; under "swiglu" the gate, then what it lets through.
        activation: One of `ACTIVATIONS`.

    Returns:
        Input of the second map: of the width of `x`, under "swiglu" of half of it.

    Examples:
        >>> activate(jnp.array([0.0, 2.0, 3.0, 5.0]), "swiglu").shape
        (2,)
    """
    if activation == "swiglu":
        gate, value = jnp.split(x, 2, axis=-1)
        return jax.nn.silu(gate) * value
    return gelu(x) if activation == "gelu" else quick_gelu(x)


class Block(nnx.Module):
    r"""Transformer block with the norms before: :math:`x + A(N x)`, then :math:`x + M(N x)`.

    Args:
        width: Width of the tokens.
        num_heads: Number of heads.
        mlp_width: Width of the hidden layer of the MLP.
        activation: What stands between the two maps of the MLP: "gelu"; "quick_gelu", see
            `quick_gelu`; "swiglu", where the first map gives a gate and what it lets through, each
            `mlp_width` wide: :math:`\mathrm{silu}(g) \, v`.
        qk_norm: Whether queries and keys are normalized.
        qk_norm_bias: Whether these norms add a learned offset.
        qkv_bias: Whether the map to queries, keys and values adds one.
        epsilon: Of all norms.
        layer_scale: Initial value of the learned gain of each branch's channels; None for no gain.
        causal: Whether a token sees only itself and the tokens before it.
        implementation: Of the attention.
        dtype: Type in which the matrix products compute.
        rngs: Source of the initial parameters.

    Raises:
        ValueError: If `layer_scale` is not finite, `activation` is unknown, and as `Attention`
            does.

    Examples:
        >>> def transform(tokens):
        ...     return Block(8, 2, 32, rngs=nnx.Rngs(0))(tokens)
        >>> jax.eval_shape(transform, jnp.ones((1, 3, 8))).shape
        (1, 3, 8)

    References:
        A. Dosovitskiy et al., "An Image is Worth 16x16 Words", arXiv 2010.11929, 2020, eq. 2, 3.
        H. Touvron et al., "Going deeper with Image Transformers", arXiv 2103.17239, 2021, eq. 4
        (LayerScale).
        N. Shazeer, "GLU Variants Improve Transformer", arXiv 2002.05202, 2020, eq. 6 (SwiGLU).
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        mlp_width: int,
        *,
        activation: str = "gelu",
        qk_norm: bool = False,
        qk_norm_bias: bool = False,
        qkv_bias: bool = True,
        epsilon: float = 1e-6,
        layer_scale: float | None = None,
        causal: bool = False,
        implementation: str | None = None,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_sizes(width=width, mlp_width=mlp_width)
        check_choice("activation", activation, ACTIVATIONS)
        if layer_scale is not None and not math.isfinite(layer_scale):
            raise ValueError(f"layer_scale must be finite or None, got {layer_scale}")
        self.activation = activation
        self.attention_norm = layer_norm(width, epsilon=epsilon, rngs=rngs)
        self.attention = Attention(
            width,
            num_heads,
            qk_norm=qk_norm,
            qk_norm_bias=qk_norm_bias,
            qkv_bias=qkv_bias,
            epsilon=epsilon,
            causal=causal,
            implementation=implementation,
            dtype=dtype,
            rngs=rngs,
        )
        self.mlp_norm = layer_norm(width, epsilon=epsilon, rngs=rngs)
        hidden = 2 * mlp_width if activation == "swiglu" else mlp_width
        self.expand = nnx.Linear(width, hidden, dtype=dtype, rngs=rngs)
        self.contract = nnx.Linear(mlp_width, width, dtype=dtype, rngs=rngs)
        self.layer_scales = (
            None
            if layer_scale is None
            else nnx.List(nnx.Param(jnp.full(width, layer_scale, jnp.float32)) for _ in range(2))
        )

    def __call__(
        self,
        x: Float[Array, "b n w"],
        *,
        rotate: Rotate | None = None,
        log_measure: Float[Array, "*w n"] | None = None,
        scales: Float[Array, "b 2"] | None = None,
        bias: Float[Array, "*c n n"] | None = None,
        mask: Bool[Array, "*m n n"] | None = None,
    ) -> Float[Array, "b n w"]:
        """Add both branches, each times its column of `scales` (stochastic depth).

        Args:
            x: Tokens.
            rotate: Acts on queries and keys.
            log_measure: Log weights of the tokens as keys.
            scales: Factors of the two branches of each example.
            bias: Added to the scores of the attention, see `Attention`.
            mask: Which tokens a token sees.

        Returns:
            The tokens.
        """
        mixed = self.attention(
            self.attention_norm(x), rotate=rotate, log_measure=log_measure, bias=bias, mask=mask
        )
        x = self._add(x, mixed, 0, scales)
        hidden = activate(self.expand(self.mlp_norm(x)), self.activation)
        return self._add(x, self.contract(hidden), 1, scales)

    def _add(self, x: Array, branch: Array, which: int, scales: Array | None) -> Array:
        branch = branch.astype(x.dtype)
        if self.layer_scales is not None:
            branch = branch * self.layer_scales[which][...][None, None]
        if scales is not None:
            branch = branch * scales[:, which, None, None]
        return x + branch


class AttentionPooling(nnx.Module):
    r"""Read tokens by one learned query: :math:`y + M(N y)` with :math:`y = A(q, x)`.

    Args:
        width: Width of the tokens.
        num_heads: Number of heads.
        mlp_width: Width of the hidden layer of the MLP.
        activation: See `Block`; not "swiglu".
        epsilon: Of the norm.
        dtype: Type in which the matrix products compute.
        rngs: Source of the initial parameters.

    Raises:
        ValueError: If heads do not divide the width, or `activation` is none of the two.

    Examples:
        >>> def pool(tokens):
        ...     return AttentionPooling(8, 2, 32, rngs=nnx.Rngs(0))(tokens)
        >>> jax.eval_shape(pool, jnp.ones((3, 5, 8))).shape
        (3, 8)

    References:
        J. Lee et al., "Set Transformer", arXiv 1810.00825, 2018, section 3.2.
        X. Zhai et al., "Scaling Vision Transformers", arXiv 2106.04560, 2021, section 2.2.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        mlp_width: int,
        *,
        activation: str = "gelu",
        epsilon: float = 1e-6,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_sizes(width=width, num_heads=num_heads, mlp_width=mlp_width)
        check_choice("activation", activation, ACTIVATIONS[:2])
        if width % num_heads:
            raise ValueError(f"width must be divisible by num_heads={num_heads}, got {width}")
        self.num_heads = num_heads
        self.activation = activation
        self.dtype = dtype
        start = nnx.initializers.normal(width**-0.5)
        self.latent = nnx.Param(start(rngs.params(), (1, width), jnp.float32))
        self.query = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.key_value = nnx.Linear(width, 2 * width, dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.norm = layer_norm(width, epsilon=epsilon, rngs=rngs)
        self.expand = nnx.Linear(width, mlp_width, dtype=dtype, rngs=rngs)
        self.contract = nnx.Linear(mlp_width, width, dtype=dtype, rngs=rngs)

    def __call__(
        self, x: Float[Array, "b n w"], *, log_measure: Float[Array, "b n"] | None = None
    ) -> Float[Array, "b w"]:
        """Pool tokens, in float32, as keys of these log weights."""
        latent = repeat_rows(self.latent[...], x)
        query, key, value = (
            rearrange(part, "b n (h d) -> b n h d", h=self.num_heads).astype(self.dtype)
            for part in (self.query(latent), *jnp.split(self.key_value(x), 2, axis=-1))
        )
        mixed = rope_jax.attention(query, key, value, log_measure=log_measure)
        y = self.out(rearrange(mixed, "b n h d -> b n (h d)"))[:, 0].astype(jnp.float32)
        hidden = activate(self.expand(self.norm(y)), self.activation)
        return y + self.contract(hidden).astype(jnp.float32)
