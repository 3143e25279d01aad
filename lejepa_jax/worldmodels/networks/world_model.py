"""A world model: encoder, projector, predictor, and maybe inverse dynamics, in one module."""

import dataclasses
import functools
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from lejepa_jax.nn.encoder import encoder_by_name
from lejepa_jax.nn.layers import gelu
from lejepa_jax.nn.projector import Projector
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.worldmodels.networks.predictor import Predictor


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSizes:
    """The sizes of a world model.

    Attributes:
        encoder: Name of the encoder of frames, alone or called with options, see
            `lejepa_jax.nn.encoder_by_name`; or what makes one.
        latent_features: Width of the latents.
        hidden_features: Width of the hidden layers of the projector and of the perceptron behind
            the predictor.
        history: Latents that the predictor looks back at most.
        width: Width of its tokens.
        depth: Number of its blocks.
        num_heads: Its heads.
        inner_width: Width of all heads together.
        mlp_width: Width of the hidden layers of its MLPs.
        action_hidden: Width of the hidden layer of the encoder of actions.
        dropout_rate: Of the predictor.
    """

    encoder: str | Callable[..., Any] = "convnet-small"
    latent_features: int = 32
    hidden_features: int = 256
    history: int = 3
    width: int = 64
    depth: int = 2
    num_heads: int = 4
    inner_width: int = 64
    mlp_width: int = 128
    action_hidden: int = 64
    dropout_rate: float = 0.0


#: The sizes by name: the published one of 18,034,478 parameters for blocks of 10 numbers, and
#: smaller ones.
SIZES = MappingProxyType(
    {
        "lewm": NetworkSizes(
            encoder="vit-Ti(patch_size=14)",
            latent_features=192,
            hidden_features=2048,
            width=192,
            depth=6,
            num_heads=16,
            inner_width=1024,
            mlp_width=2048,
            action_hidden=768,
            dropout_rate=0.1,
        ),
        "small": NetworkSizes(),
        "tiny": NetworkSizes(
            encoder="convnet-tiny(features=32)", latent_features=16, hidden_features=64, width=32,
            inner_width=32, mlp_width=64, action_hidden=32, depth=1,
        ),
    }
)  # fmt: skip


class InverseDynamics(nnx.Module):
    """A perceptron that says which action led from one latent to the next.

    Args:
        latent_features: Width of the latents.
        action_features: Numbers in a block of actions.
        hidden_features: Width of the hidden layer.
        dtype: Type in which the layers compute.
        rngs: Source of the initial parameters.
    """

    def __init__(
        self,
        latent_features: int,
        action_features: int,
        *,
        hidden_features: int,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.expand = nnx.Linear(2 * latent_features, hidden_features, dtype=dtype, rngs=rngs)
        self.contract = nnx.Linear(hidden_features, action_features, dtype=dtype, rngs=rngs)

    def __call__(
        self, before: Float[Array, "*b d"], after: Float[Array, "*b d"]
    ) -> Float[Array, "*b a"]:
        """Give the actions between latents, in float32."""
        pairs = jnp.concatenate([before, after], -1)
        return self.contract(gelu(self.expand(pairs))).astype(jnp.float32)


class WorldModel(nnx.Module):
    """What encodes frames, and predicts what they become.

    Args:
        sizes: The sizes.
        action_features: Numbers in a block of actions.
        image_size: Side of the frames, or height and width.
        in_channels: Channels of the frames.
        inverse: Whether there is inverse dynamics.
        dtype: Type in which the networks compute; parameters and statistics are float32.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.

    Examples:
        >>> import jax
        >>> model = nnx.eval_shape(lambda: WorldModel(SIZES["lewm"], action_features=10,
        ...     image_size=224, rngs=nnx.Rngs(0)))
        >>> sum(x.size for x in jax.tree.leaves(nnx.state(model, nnx.Param)))
        18034478

    References:
        LeWorldModel, arXiv 2603.19312, 2026.
    """

    def __init__(
        self,
        sizes: NetworkSizes,
        *,
        action_features: int,
        image_size: int | tuple[int, int],
        in_channels: int = 3,
        inverse: bool = False,
        dtype: DTypeLike = jnp.float32,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        options: dict[str, Any] = {"dtype": dtype, "axis_name": axis_name, "rngs": rngs}
        make = encoder_maker(sizes, image_size=image_size, in_channels=in_channels)
        self.encoder = make(**options)
        self.projector = Projector(
            self.encoder.features,
            sizes.latent_features,
            hidden_features=sizes.hidden_features,
            num_layers=2,
            hidden_bias=True,
            activation="gelu",
            **options,
        )
        self.predictor = Predictor(
            sizes.latent_features,
            action_features,
            history=sizes.history,
            width=sizes.width,
            depth=sizes.depth,
            num_heads=sizes.num_heads,
            inner_width=sizes.inner_width,
            mlp_width=sizes.mlp_width,
            action_hidden=sizes.action_hidden,
            head_features=sizes.hidden_features,
            dropout_rate=sizes.dropout_rate,
            **options,
        )
        self.inverse = (
            InverseDynamics(
                sizes.latent_features,
                action_features,
                hidden_features=sizes.hidden_features,
                dtype=dtype,
                rngs=rngs,
            )
            if inverse
            else None
        )

    def project(self, features: Float[Array, "*b f"], *, train: bool) -> Float[Array, "*b d"]:
        """Make latents of features of the encoder, any number of axes in front."""
        rows = self.projector(features.reshape(-1, features.shape[-1]), train=train)
        return rows.reshape(*features.shape[:-1], -1)

    def latents(
        self,
        frames: Float[Array, "b h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b d"]:
        """Make latents of normalized frames."""
        return self.project(self.encoder(frames, train=train, keys=keys), train=train)


def encoder_maker(
    sizes: NetworkSizes, *, image_size: int | tuple[int, int], in_channels: int
) -> Callable[..., Any]:
    """Bind what is known of the encoder; `dtype`, `axis_name` and `rngs` are still wanted.

    Args:
        sizes: The sizes.
        image_size: Side of the frames, or height and width.
        in_channels: Their channels.

    Returns:
        What makes it.
    """
    make = sizes.encoder
    if isinstance(make, str):
        make = encoder_by_name(make, image_size=image_size)
    return functools.partial(make, in_channels=in_channels)
