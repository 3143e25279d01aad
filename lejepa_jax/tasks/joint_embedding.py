"""LeJEPA pretraining as a task of the training loop, whatever the encoder looks at.

Images, point clouds or anything else: a `Modality` says how views are made and what the probes
compare with. `lejepa_jax.tasks.image_pretraining` has the one of images.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, PRNGKeyArray

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.diagnostics.spectrum import feature_std, label_free_score
from lejepa_jax.nn.encoder import DropsTokens, HasLayers, TrainsTokens
from lejepa_jax.objectives.lejepa import lejepa_loss
from lejepa_jax.objectives.regularizers.names import embedding_transform, regularizer_null_mean
from lejepa_jax.objectives.regularizers.protocol import Regularizer
from lejepa_jax.objectives.token_clouds import regularize_token_groups
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.tasks.modality import Modality
from lejepa_jax.tasks.objective import ObjectiveConfig
from lejepa_jax.tasks.pretraining import (
    JointEmbedding,
    embed_jointly,
    pretraining_task,
    regularizer_key,
)
from lejepa_jax.training.networks import network
from lejepa_jax.training.task import Batch, Task


def joint_embedding_task(
    config: ObjectiveConfig,
    modality: Modality,
    make_encoder: Callable[..., Any],
    *,
    dtype: DTypeLike = jnp.float32,
    axis_name: AxisName | None = None,
) -> Task:
    """Make the task of LeJEPA pretraining.

    Views of one shape go through the encoder together, all of them through the projector together,
    so that its BatchNorm sees every view. Views and stochastic depth are keyed by the example's
    `index` in the data set, the slices by the step alone: the loss does not depend on how the batch
    is sharded over devices. The projector belongs to the loss, not to what is encoded example by
    example: with an encoder that does not normalize over the batch, such as a ViT, the gradient in
    micro-batches is then that of the whole batch.

    Args:
        config: The objective.
        modality: What kind of data.
        make_encoder: Makes the encoder from `dtype`, `axis_name` and `rngs`: a module with
            `features`, called with inputs, `train` and one key an example.
        dtype: Type in which the networks compute; parameters and statistics are float32.
        axis_name: Mapped axis over which batches are sharded; None where the compiler shards them.

    Returns:
        The task. With `token_weight` above 0, `encode` gives `features` and `tokens` by name. A
        batch has `index` (b) and what the modality wants.

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Section 5.1 and Algorithm 2.
    """
    regularizer = config.make_regularizer()

    def make(key: PRNGKeyArray) -> JointEmbedding:
        rngs = nnx.Rngs(key)
        return embed_jointly(config, make_encoder, dtype=dtype, axis_name=axis_name, rngs=rngs)

    net = network(make)
    _check_encoder(config, net.shape.encoder)

    def encode(params: Any, state: Any, key: PRNGKeyArray, batch: Batch):
        model = net.merge(params, state)
        view_key, _ = jax.random.split(key)
        keys = example_keys(view_key, batch["index"])
        features, tokens = encode_views(
            model.encoder,
            keys,
            modality.views(keys, batch),
            keep_tokens=config.keep_tokens,
            with_tokens=config.token_weight > 0,
        )
        outputs = features
        if config.token_weight:
            outputs = {"features": features, "tokens": tokens}
        return outputs, net.state_of(model, "encoder")

    def loss(params: Any, state: Any, key: PRNGKeyArray, outputs: Any, batch: Batch):
        del batch
        model = net.merge(params, state)
        _, slice_key = jax.random.split(key)
        total, metrics = joint_embedding_loss(
            slice_key, model, outputs, config=config, regularizer=regularizer, axis_name=axis_name
        )
        return total, (net.state_of(model, "projector"), metrics)

    return pretraining_task(config, modality, net, encode, loss)


def joint_embedding_loss(
    key: PRNGKeyArray,
    model: JointEmbedding,
    outputs: Any,
    *,
    config: ObjectiveConfig,
    regularizer: Regularizer,
    axis_name: AxisName | None = None,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Project encoded views, and apply the objective to them and to their tokens.

    Args:
        key: Random key of the slices, the same on every device.
        model: Whose projector, in training, and whose map of tokens.
        outputs: What `encode` of the task gives: features (b, v, d), or with `token_weight` these
            and tokens by name.
        config: The objective.
        regularizer: The one that the configuration makes.
        axis_name: Mapped axis over which the batch is sharded.

    Returns:
        The loss and the metrics, the same on every device.
    """
    features = outputs["features"] if config.token_weight else outputs
    size, count, width = features.shape
    embeddings = model.projector(features.reshape(size * count, width), train=True)
    embeddings = jnp.swapaxes(embeddings.reshape(size, count, -1), 0, 1)
    objective = lejepa_loss(
        key,
        embeddings,
        num_global=config.num_global,
        trade_off=config.trade_off,
        weighting=config.weighting,
        target=config.target,
        regularizer=regularizer,
        pool_views=config.pool_views,
        axis_name=axis_name,
    )
    transform = embedding_transform(regularizer) or (lambda z: z)
    flat = transform(lax.stop_gradient(embeddings)).reshape(-1, embeddings.shape[-1])
    named = regularizer_key(regularizer)
    metrics = {
        "prediction": objective.prediction,
        named: objective.regularizer,
        # 1 where the cloud is round, 0 in a collapse, where the gradient of SIGReg vanishes.
        "embedding_std": feature_std(flat, axis_name=axis_name).min(),
    }
    total = objective.total
    if config.token_weight:
        metrics["token_regularizer"] = regularize_token_groups(
            jax.random.fold_in(key, 1),
            outputs["tokens"],
            regularizer,
            project=model.token_projector,
            num_positions=config.token_positions,
            axis_name=axis_name,
        )
        total += config.trade_off * config.token_weight * metrics["token_regularizer"]
    if named != "sigreg":
        devices = 1 if axis_name is None else lax.axis_size(axis_name)
        samples = size * devices * (count if config.pool_views else 1)
        null = regularizer_null_mean(regularizer, num_samples=samples, dim=embeddings.shape[-1])
        if null:
            metrics["regularizer_ratio"] = objective.regularizer / null
    if config.weighting == "convex" and config.trade_off > 0:
        # Of what is logged, the one number that ranks runs of several trade-offs.
        score = label_free_score(objective.total, config.trade_off)
        metrics["label_free_score"] = jnp.asarray(score)
    return total, metrics


def encode_views(
    encoder: Any,
    keys: Key[Array, " b"],
    groups: tuple[Any, ...],
    *,
    keep_tokens: float = 1.0,
    with_tokens: bool = False,
) -> tuple[Float[Array, "b v d"], list[Array]]:
    """Encode groups of views in training; views of one shape go through the encoder together.

    Args:
        encoder: The encoder.
        keys: One key an example, those the views were made from.
        groups: Views of each shape, `(v, b, ...)`.
        keep_tokens: Part of the tokens of each view that is encoded.
        with_tokens: Whether the tokens are wanted too.

    Returns:
        Features of every view, and tokens `(b, v, n, d)` of each group if they are wanted.
    """
    features, tokens, first = [], [], 0
    for group in groups:
        count, size = jax.tree.leaves(group)[0].shape[:2]
        # Examples in front of views: a batch sharded over devices then stays where it is.
        inputs = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]), group)
        # Apart from the keys of the views themselves, which count up from 0.
        numbers = jnp.arange(first, first + count) + 2**20
        depth_keys = jax.vmap(lambda k, n=numbers: jax.vmap(jax.random.fold_in, (None, 0))(k, n))
        view_keys = depth_keys(keys).reshape(-1)
        options = {"train": True, "keys": view_keys}
        if keep_tokens < 1:
            kept_keys = jax.vmap(jax.random.fold_in, (0, None))(view_keys, 1)
            options["kept"] = encoder.draw_kept(kept_keys, inputs, keep_tokens)
        if with_tokens:
            encoded, parts = encoder.features_and_tokens(inputs, **options)
            tokens.append(parts.reshape(size, count, *parts.shape[1:]))
        else:
            encoded = encoder(inputs, **options)
        features.append(encoded.reshape(size, count, -1))
        first += count
    return jnp.concatenate(features, axis=1), tokens


def _check_encoder(config: ObjectiveConfig, encoder: Any) -> None:
    """Require of the encoder what the configuration reads of it."""
    if config.probe_layers > 1 and not isinstance(encoder, HasLayers):
        raise ValueError(
            "probe_layers must be 1 with an encoder whose layers cannot be read, "
            f"got {config.probe_layers}"
        )
    if config.keep_tokens < 1 and not isinstance(encoder, DropsTokens):
        raise ValueError(
            "keep_tokens must be 1 with an encoder that cannot drop tokens, "
            f"got {config.keep_tokens}"
        )
    if config.token_weight and not isinstance(encoder, TrainsTokens):
        raise ValueError(
            "token_weight must be 0 with an encoder that does not give its tokens in training, "
            f"got {config.token_weight}"
        )
