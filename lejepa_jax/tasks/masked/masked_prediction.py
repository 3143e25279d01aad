"""Masked prediction with SIGReg in place of a teacher and of a stopped gradient."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, PRNGKeyArray

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.checks import check_positive
from lejepa_jax.data.splits import Splits
from lejepa_jax.diagnostics.spectrum import feature_std
from lejepa_jax.nn.encoder import MasksTokens
from lejepa_jax.nn.transformers.token_blocks import check_blocks, draw_blocks, split_tokens
from lejepa_jax.nn.transformers.token_dropping import kept_count, take_tokens
from lejepa_jax.nn.transformers.token_predictor import TokenPredictor
from lejepa_jax.objectives.regularizers.names import embedding_transform
from lejepa_jax.objectives.token_clouds import regularize_token_groups
from lejepa_jax.statistics.reductions import AxisName, global_mean
from lejepa_jax.tasks.image_pretraining import PretrainingConfig, image_modality
from lejepa_jax.tasks.pretraining import (
    JointEmbedding,
    embed_jointly,
    pretraining_task,
    regularizer_key,
)
from lejepa_jax.training.networks import network
from lejepa_jax.training.task import Batch, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedPredictionConfig(PretrainingConfig):
    """What to pretrain on images by prediction of the tokens in masked blocks.

    There is one view, and the encoder gives the tokens of a part of an image, as a ViT does. What
    probes read is its feature vector, so that it should be the mean of the tokens
    (`pooling="mean"`): no prediction reaches a class token.

    Attributes:
        context_tokens: Part of the tokens that the prediction is made from, drawn outside the
            blocks. Where these leave fewer, some inside are seen, and are not predicted.
        num_blocks: Blocks of tokens to predict, see `draw_blocks`.
        block_scale: Smallest and largest part of the grid of tokens that a block covers.
        block_ratio: Smallest and largest ratio of its height to its width.
        predictor_width: Width of the predictor, see `TokenPredictor`.
        predictor_depth: Its blocks.
        predictor_heads: Heads of each.
        pooled_weight: Weight of the regularizer on the projected feature vector, beside
            `token_weight` of the one on tokens; both times `trade_off`. At 0 the projector stays
            as it was drawn, and the measures of its embeddings say nothing.

    Raises:
        ValueError: For a value out of range, more than one view, or tokens that nothing keeps
            apart.
    """

    num_global: int = 1
    token_weight: float = 1.0
    lidar_examples: int = 0
    context_tokens: float = 0.4
    num_blocks: int = 4
    block_scale: tuple[float, float] = (0.15, 0.2)
    block_ratio: tuple[float, float] = (0.75, 1.5)
    predictor_width: int = 96
    predictor_depth: int = 2
    predictor_heads: int = 4
    pooled_weight: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if len(self.view_specs) != 1 or self.view_specs[0].count != 1:
            raise ValueError("views must be one view: tokens are predicted within it")
        if self.lidar_examples:
            raise ValueError("lidar_examples must be 0: there are no views to compare")
        if self.keep_tokens < 1:
            raise ValueError(
                "keep_tokens must be 1: context_tokens says what part the prediction is made from, "
                f"got {self.keep_tokens}"
            )
        if not 0 < self.context_tokens < 1:
            raise ValueError(f"context_tokens must be between 0 and 1, got {self.context_tokens}")
        # At 0 the map of the tokens could shrink to nothing, which is easily predicted.
        check_positive("token_weight", self.token_weight)
        if not self.pooled_weight >= 0:
            raise ValueError(f"pooled_weight must not be negative, got {self.pooled_weight}")
        for name in ("predictor_width", "predictor_depth", "predictor_heads"):
            check_positive(name, getattr(self, name))
        if self.predictor_width % 4 or self.predictor_width % self.predictor_heads:
            raise ValueError(
                f"predictor_width must be divisible by 4 and by predictor_heads, "
                f"got {self.predictor_width} and {self.predictor_heads}"
            )
        check_blocks(self.num_blocks, self.block_scale, self.block_ratio)

    def build(
        self, splits: Splits, *, dtype: DTypeLike = jnp.float32, axis_name: AxisName | None = None
    ) -> Task:
        """Make the task; see `masked_prediction_task`."""
        task = masked_prediction_task(
            self, channels=splits.train.channels, dtype=dtype, axis_name=axis_name
        )
        return task._replace(kept=self.kept(splits))


class MaskedPrediction(JointEmbedding):
    """An encoder, its projectors, and what predicts tokens."""

    def __init__(self, parts: JointEmbedding, predictor: TokenPredictor):
        super().__init__(parts.encoder, parts.projector, parts.token_projector)
        self.predictor = predictor

    def predict(
        self,
        config: MaskedPredictionConfig,
        views: Float[Array, "b h w c"],
        keys: Key[Array, " b"],
        transform: Callable[[Array], Array] = lambda z: z,
    ) -> dict[str, Array]:
        """Encode views and a part of each, and predict the tokens of the blocks.

        Args:
            config: The task.
            views: A view of each example.
            keys: One key an example, made from its index in the data set.
            transform: Of what is compared, see `lejepa_loss`.

        Returns:
            `features` of the views and their `tokens` (b, n, d), mapped; of those that the part
            lacks, the `errors` (b, m), and in `counts` whether they are in a block.
        """
        # Apart from the keys of the views, which count up from 0.
        whole_keys, part_keys, block_keys, split_keys = (
            jax.vmap(jax.random.fold_in, (0, None))(keys, 2**20 + number) for number in range(4)
        )
        rows, columns = self.encoder.token_grid(views)
        scale, ratio = config.block_scale, config.block_ratio
        masked = draw_blocks(
            block_keys, (rows, columns), count=config.num_blocks, scale=scale, ratio=ratio
        )
        number = kept_count(rows * columns, config.context_tokens)
        kept, asked = split_tokens(split_keys, masked, number)
        counts = jnp.take_along_axis(masked, asked, 1)
        features, tokens = self.encoder.features_and_tokens(views, train=True, keys=whole_keys)
        _, context = self.encoder.features_and_tokens(views, train=True, keys=part_keys, kept=kept)
        targets = jax.vmap(self.token_projector)(tokens)
        predicted = self.predictor(context, kept, asked, (rows, columns), counts=counts)
        apart = transform(predicted) - transform(take_tokens(targets, asked))
        errors = jnp.square(apart).mean(-1)
        return {"features": features, "tokens": targets, "errors": errors, "counts": counts}


def masked_prediction_task(
    config: MaskedPredictionConfig,
    *,
    channels: int,
    dtype: DTypeLike = jnp.float32,
    axis_name: AxisName | None = None,
) -> Task:
    r"""Make the task of masked prediction on images.

    .. math:: (1 - \lambda)\, \frac1{|M|} \sum_{(n, p) \in M} \frac1d \| q(c_n)_p - t_{n p} \|^2
        + \lambda \left( w_z R(\{z_n\}_n) + \frac{w_t}{P} \sum_p R(\{t_{n p}\}_n) \right)

    :math:`t_{n p}` is the linear map of the encoder's token at position p of the whole view n,
    :math:`c_n` the tokens that the same encoder makes of a part of it, q the predictor, M the
    positions inside the blocks that are not in that part, and :math:`z_n` the projected feature
    vector of the whole view. There is no teacher and no stopped gradient: R (SIGReg by default)
    keeps the targets from collapsing. With `weighting="additive"` the first factor is 1.

    Views, blocks and the part that is seen are keyed by the example's `index` in the data set:
    nothing depends on how the batch is sharded over devices.

    Args:
        config: What to pretrain.
        channels: Channels of the images, 1 or 3.
        dtype: Type in which the networks compute; parameters and statistics are float32.
        axis_name: Mapped axis over which batches are sharded; None where the compiler shards them.

    Returns:
        The task. Batches are those of `lejepa_jax.data`: `image`, `index` and `aspect`.

    Raises:
        ValueError: If the encoder does not give the tokens of a part of an image.

    References:
        M. Assran et al., I-JEPA, arXiv 2301.08243, 2023, section 3 (blocks, predictor).
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025 (SIGReg in place of heuristics).
    """
    regularizer = config.make_regularizer()
    transform = embedding_transform(regularizer) or (lambda z: z)
    modality = image_modality(config, channels=channels)
    make_encoder = config.encoder_maker(in_channels=channels)

    def make(key: PRNGKeyArray) -> MaskedPrediction:
        rngs = nnx.Rngs(key)
        parts = embed_jointly(config, make_encoder, dtype=dtype, axis_name=axis_name, rngs=rngs)
        predictor = TokenPredictor(
            parts.encoder.features,
            config.embedding_features,
            width=config.predictor_width,
            depth=config.predictor_depth,
            num_heads=config.predictor_heads,
            dtype=dtype,
            rngs=rngs,
        )
        return MaskedPrediction(parts, predictor)

    net = network(make)
    if not isinstance(net.shape.encoder, MasksTokens):
        raise ValueError(
            "encoder must give the tokens of a part of an image, as a ViT does, "
            f"got {type(net.shape.encoder).__name__}"
        )

    def encode(params: Any, state: Any, key: PRNGKeyArray, batch: Batch):
        model = net.merge(params, state)
        keys = example_keys(jax.random.split(key)[0], batch["index"])
        (views,) = modality.views(keys, batch)  # one group of one view
        outputs = model.predict(config, views[0], keys, transform)
        return outputs, net.state_of(model, "encoder")

    def loss(params: Any, state: Any, key: PRNGKeyArray, outputs: Any, batch: Batch):
        del batch
        model = net.merge(params, state)
        _, slice_key = jax.random.split(key)
        tokens = outputs["tokens"]
        prediction = global_mean(outputs["errors"], mask=outputs["counts"], axis_name=axis_name)
        token_value = regularize_token_groups(
            jax.random.fold_in(slice_key, 1),
            [tokens[:, None]],
            regularizer,
            project=lambda x: x,
            num_positions=config.token_positions,
            axis_name=axis_name,
        )
        metrics = {"prediction": prediction, "token_regularizer": token_value}
        spread, cloud = config.token_weight * token_value, tokens.reshape(-1, tokens.shape[-1])
        if config.pooled_weight:
            cloud = model.projector(outputs["features"], train=True)
            pooled = regularizer(slice_key, cloud, axis_name=axis_name)
            spread += config.pooled_weight * pooled
            metrics[regularizer_key(regularizer)] = pooled
        cloud = transform(lax.stop_gradient(cloud))
        metrics["embedding_std"] = feature_std(cloud, axis_name=axis_name).min()
        share = 1 - config.trade_off if config.weighting == "convex" else 1.0
        total = share * prediction + config.trade_off * spread
        return total, (net.state_of(model, "projector"), metrics)

    return pretraining_task(config, modality, net, encode, loss)
