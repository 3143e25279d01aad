"""Attention of the points to the spectrum of their cloud."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float, Key

from lejepa_jax.nn.layers import dropout
from pointcloud_jax.geometry.sphere import sphere_rule
from pointcloud_jax.nn.dipvnet.configs import DirectionOptions
from pointcloud_jax.nn.layers import linear
from pointcloud_jax.spectra.degrees import degree_spectrum
from pointcloud_jax.spectra.directional import dasft
from pointcloud_jax.spectra.normalization import normalize_radius
from pointcloud_jax.spectra.pairs import debye_spectrum


class SpectrumAttention(nnx.Module):
    """Local features of the points attend to the spectrum of the whole cloud, then a small MLP.

    Args:
        vectors: Vector channels whose spectra are taken.
        features: Width of the local features.
        num_radii: Frequencies from 0 to `options.max_radius`: the tokens.
        num_heads: Attention heads.
        dropout_rate: After the attention and inside the MLP.
        options: How directions are seen.
        rngs: Source of the initial parameters.
    """

    def __init__(
        self,
        vectors: int,
        features: int,
        num_radii: int,
        *,
        num_heads: int,
        dropout_rate: float,
        options: DirectionOptions,
        rngs: nnx.Rngs,
    ):
        width = vectors * (options.max_degree + 1 if options.spectrum == "degrees" else 1)
        self.num_radii = num_radii
        self.num_heads = num_heads
        self.dropout_rate = dropout_rate
        self.options = options
        self.token_norm = (
            None if options.log_spectrum else nnx.LayerNorm(width, epsilon=1e-5, rngs=rngs)
        )
        self.frequency = (
            nnx.Param(0.02 * jax.random.normal(rngs.params(), (num_radii, width), jnp.float32))
            if options.frequency_embedding
            else None
        )
        self.query_norm = nnx.LayerNorm(features, epsilon=1e-5, rngs=rngs)
        self.query = linear(features, 2 * features, use_bias=False, rngs=rngs)
        self.key_value = linear(width, 4 * features, use_bias=False, rngs=rngs)
        self.output = linear(2 * features, features, rngs=rngs)
        self.mlp_norm = nnx.LayerNorm(features, epsilon=1e-5, rngs=rngs)
        self.expand = linear(features, 4 * features, rngs=rngs)
        self.contract = linear(4 * features, features, rngs=rngs)

    def tokens(
        self, vectors: Float[Array, "b n c 3"], mask: Bool[Array, "b n"] | None
    ) -> Float[Array, "b m w"]:
        """Describe the spectrum of every channel, one token a radius."""
        options = self.options
        clouds = jnp.swapaxes(vectors, 1, 2)
        masks = None if mask is None else jnp.broadcast_to(mask[:, None, :], clouds.shape[:3])
        if options.normalize_radius:
            clouds = normalize_radius(clouds, mask=masks)
        radii = np.linspace(0, options.max_radius, self.num_radii)
        if options.spectrum == "dasft":
            energy = dasft(clouds, sphere_rule(options.rule), radii, mask=masks)
        elif options.spectrum == "debye":
            energy = debye_spectrum(clouds, radii, mask=masks)
        else:
            power = degree_spectrum(clouds, radii, max_degree=options.max_degree, mask=masks)
            energy = power.reshape(power.shape[0], -1, self.num_radii)
        tokens = jnp.swapaxes(energy, 1, 2)
        if options.log_spectrum:
            # The floor is where the energy of a thousand points is their number's reciprocal;
            # between it and 1 the logarithm goes from -1 to 1.
            tokens = 1 + jnp.log(tokens + 1e-3) * (2 / math.log(1e3))
        else:
            count = jnp.float32(vectors.shape[1])
            if mask is not None:
                count = mask.sum(1, dtype=jnp.float32)[:, None, None]
            tokens = tokens * jnp.square(count)
        if self.token_norm is not None:
            tokens = self.token_norm(tokens)
        if self.frequency is not None:
            tokens = tokens + self.frequency[...][None]
        return tokens

    def __call__(
        self,
        local: Float[Array, "b n o"],
        vectors: Float[Array, "b n c 3"],
        *,
        train: bool,
        mask: Bool[Array, "b n"] | None,
        keys: Key[Array, " b"] | None,
        number: int,
    ) -> Float[Array, "b n o"]:
        """Add what the points learn from the spectrum to their local features."""

        def thin(x: jax.Array, index: int) -> jax.Array:
            if not train or self.dropout_rate == 0:
                return x
            return dropout(x, keys, number + index, self.dropout_rate)

        def heads(x: jax.Array) -> jax.Array:
            return x.reshape(*x.shape[:2], self.num_heads, -1)

        query = heads(self.query(self.query_norm(jax.nn.relu(local))))
        key, value = jnp.split(self.key_value(self.tokens(vectors, mask)), 2, axis=-1)
        scale = query.shape[-1] ** -0.5
        highest = lax.Precision.HIGHEST
        logits = jnp.einsum("bnhd,bmhd->bhnm", query * scale, heads(key), precision=highest)
        attention = jax.nn.softmax(logits, axis=-1)
        mixed = jnp.einsum("bhnm,bmhd->bnhd", attention, heads(value), precision=highest)
        fused = local + thin(self.output(mixed.reshape(*local.shape[:2], -1)), 0)
        hidden = jax.nn.gelu(self.expand(self.mlp_norm(fused)), approximate=False)
        return fused + thin(self.contract(thin(hidden, 1)), 2)
