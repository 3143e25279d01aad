"""LeNEPA: predict the next latent token of a series, without views and without masks."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.augment.fields.views import make_field_views
from lejepa_jax.data.fields.normalization import Normalization
from lejepa_jax.data.splits import Splits
from lejepa_jax.diagnostics.spectrum import feature_std
from lejepa_jax.nn.fields import Field, Values
from lejepa_jax.objectives.regularizers.protocol import Regularizer
from lejepa_jax.statistics.reductions import AxisName, global_mean
from lejepa_jax.tasks.fields.pretraining import (
    FieldPretrainingConfig,
    field_modality,
    normalization_of,
)
from lejepa_jax.tasks.pretraining import (
    JointEmbedding,
    embed_jointly,
    kept_parts,
    pretraining_task,
    regularizer_key,
)
from lejepa_jax.training.networks import network
from lejepa_jax.training.task import Batch, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class NextTokenConfig(FieldPretrainingConfig):
    """What to pretrain on series by prediction of the next latent token.

    The one view of `views` is the series itself; a recipe that draws windows of long series gives
    them there, and `num_global` is 1. The encoder is causal and has no class token, such as
    `ViT(causal=True, pooling="mean")` with relative positions (`position="axial"`).
    `trade_off` weighs SIGReg against the prediction, see `lejepa_loss`.
    """

    def __post_init__(self):
        super().__post_init__()
        if len(self.views) != 1 or self.views[0].count != 1:
            raise ValueError("views must be one view: the next token is predicted within it")
        if self.lidar_examples:
            raise ValueError("lidar_examples must be 0: there are no views to compare")
        if self.token_weight:
            raise ValueError("token_weight must be 0: tokens are what is regularized")

    def build(
        self, splits: Splits, *, dtype: DTypeLike = jnp.float32, axis_name: AxisName | None = None
    ) -> Task:
        """Make the task; see `next_token_task`."""
        source, own = splits.train, normalization_of(self, splits.train)
        task = next_token_task(self, own, dtype=dtype, axis_name=axis_name)
        kept = kept_parts(self, self.encoder_maker(source.channels), self.preprocessing(source))
        return task._replace(kept=kept)


def next_token_loss(
    key: PRNGKeyArray,
    before: Float[Array, "b t d"],
    after: Float[Array, "b t d"],
    regularizer: Regularizer,
    *,
    trade_off: float,
    mask: Bool[Array, "b t"] | None = None,
    axis_name: AxisName | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    r"""Prediction of the next token, and SIGReg over the tokens of each sample.

    .. math:: (1 - \lambda) \frac1{B (T - 1)} \sum_{b, t} \| p_{b t} - e_{b, t + 1} \|^2 / d
        + \lambda \frac1{2 B} \sum_b \left( R(\{e_{b t}\}_t) + R(\{p_{b t}\}_t) \right)

    Nothing is stopped in the gradient. Time is the axis of samples of :math:`R`: tokens of one
    series must not collapse to a point, which a regularizer over the batch alone would allow.

    Args:
        key: Random key, the same on every device.
        before: Projected embeddings of the patches, :math:`e`.
        after: Projected outputs of the causal encoder, :math:`p`.
        regularizer: What keeps each cloud from collapsing.
        trade_off: Weight :math:`\lambda`.
        mask: Tokens that exist.
        axis_name: Mapped axis over which the batch is sharded.

    Returns:
        The total, the prediction and the regularizer, the same on every device.

    Examples:
        >>> from lejepa_jax.objectives.regularizers import covariance
        >>> z = jax.random.normal(jax.random.key(0), (2, 9, 3))
        >>> found = next_token_loss(
        ...     jax.random.key(1), z, jnp.roll(z, -1, 1), covariance, trade_off=0.0)
        >>> float(found[1])
        0.0

    References:
        A. Chemeris, M. Jin, R. Balestriero, "LeNEPA", arXiv 2607.00958, 2026. The convex weights
        are those of LeJEPA, arXiv 2511.08544, section 5.1.
    """
    there = jnp.ones(before.shape[:2], bool) if mask is None else mask
    squares = jnp.square(after[:, :-1] - before[:, 1:]).mean(-1)
    prediction = global_mean(squares, mask=there[:, :-1] & there[:, 1:], axis_name=axis_name)
    # Of two tokens nothing can be said; such a series does not count.
    enough = there.sum(1) >= 3

    def one(tokens: Array, mask: Array) -> Array:
        return regularizer(key, tokens, mask=mask)

    values = [jax.vmap(one)(tokens, there) for tokens in (before, after)]
    spread = global_mean(jnp.stack(values).mean(0), mask=enough, axis_name=axis_name)
    return (1 - trade_off) * prediction + trade_off * spread, prediction, spread


def next_token_task(
    config: NextTokenConfig,
    normalization: Normalization,
    *,
    dtype: DTypeLike = jnp.float32,
    axis_name: AxisName | None = None,
) -> Task:
    """Make the task of prediction of the next latent token.

    Args:
        config: What to pretrain.
        normalization: Of the channels.
        dtype: Type in which the networks compute; parameters and statistics are float32.
        axis_name: Mapped axis over which batches are sharded; None where the compiler shards them.

    Returns:
        The task. Batches are those of `FieldSource`.
    """
    regularizer = config.make_regularizer()
    make_encoder = config.encoder_maker(len(normalization.mean))

    def make(key: PRNGKeyArray) -> JointEmbedding:
        rngs = nnx.Rngs(key)
        return embed_jointly(config, make_encoder, dtype=dtype, axis_name=axis_name, rngs=rngs)

    net = network(make)

    def seen(batch: Batch, keys: Array) -> Values | Field:
        values, extent = batch["values"], batch["extent"]
        (view,) = make_field_views(keys, values, extent, config.views, normalization)
        field = jax.tree.map(lambda x: x[0], view)
        return field if config.weigh else field.values

    def encode(params: Any, state: Any, key: PRNGKeyArray, batch: Batch):
        model = net.merge(params, state)
        keys = example_keys(jax.random.split(key)[0], batch["index"])
        depth_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, jnp.uint32(2**20))
        before, after, exists = model.encoder.embeddings_and_tokens(
            seen(batch, keys), train=True, keys=depth_keys
        )
        outputs = {"tokens": jnp.stack([before, after], 1), "exists": exists}
        return outputs, net.state_of(model, "encoder")

    def loss(params: Any, state: Any, key: PRNGKeyArray, outputs: Any, batch: Batch):
        del batch
        model = net.merge(params, state)
        tokens, exists = outputs["tokens"], outputs["exists"]
        shape = tokens.shape
        flat = model.projector(tokens.reshape(-1, shape[-1]), train=True)
        projected = flat.reshape(*shape[:-1], -1)
        total, prediction, spread = next_token_loss(
            jax.random.split(key)[1],
            projected[:, 0],
            projected[:, 1],
            regularizer,
            trade_off=config.trade_off,
            mask=exists,
            axis_name=axis_name,
        )
        std = feature_std(lax.stop_gradient(flat), axis_name=axis_name).min()
        named = regularizer_key(regularizer)
        metrics = {"prediction": prediction, named: spread, "embedding_std": std}
        return total, (net.state_of(model, "projector"), metrics)

    modality = field_modality(config, normalization)
    return pretraining_task(config, modality, net, encode, loss)
