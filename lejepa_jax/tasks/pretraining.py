"""What tasks of pretraining share: encoder and projector, metrics and evaluators, what is kept."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from lejepa_jax.nn.projector import Projector
from lejepa_jax.objectives.regularizers.names import regularizer_null_mean
from lejepa_jax.objectives.regularizers.protocol import Regularizer, bound_options
from lejepa_jax.objectives.slicing import sigreg
from lejepa_jax.report.metric import Metric
from lejepa_jax.statistics.names import null_mean, statistic_by_name
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.tasks.modality import Modality
from lejepa_jax.tasks.objective import ObjectiveConfig
from lejepa_jax.tasks.probing import embedding_evaluators
from lejepa_jax.tasks.watching import quick_embedding_metrics
from lejepa_jax.training.networks import Network
from lejepa_jax.training.task import Kept, Part, Task

# Below this standard deviation in some direction, after warm-up, embeddings have collapsed.
_COLLAPSED = 0.1


class JointEmbedding(nnx.Module):
    """An encoder and the projector on top of it, and a linear one for tokens if they count."""

    def __init__(self, encoder: Any, projector: Projector, token_projector: Any = None):
        self.encoder = encoder
        self.projector = projector
        self.token_projector = token_projector


def embed_jointly(
    config: ObjectiveConfig,
    make_encoder: Callable[..., Any],
    *,
    dtype: DTypeLike,
    axis_name: AxisName | None,
    rngs: nnx.Rngs,
) -> JointEmbedding:
    """Make an encoder and the projector of an objective, and a linear map of tokens if they count.

    Args:
        config: The objective.
        make_encoder: Makes the encoder from `dtype`, `axis_name` and `rngs`.
        dtype: Type in which they compute.
        axis_name: Mapped axis over which batches are sharded.
        rngs: Source of the initial parameters.

    Returns:
        Both together.
    """
    encoder = make_encoder(dtype=dtype, axis_name=axis_name, rngs=rngs)
    projector = Projector(
        encoder.features,
        config.embedding_features,
        hidden_features=config.hidden_features,
        num_layers=config.projector_layers,
        dtype=dtype,
        axis_name=axis_name,
        rngs=rngs,
    )
    if not config.token_weight:
        return JointEmbedding(encoder, projector)
    width = config.embedding_features
    tokens = Projector(encoder.features, width, num_layers=1, dtype=dtype, rngs=rngs)
    return JointEmbedding(encoder, projector, tokens)


def pretraining_task(
    config: ObjectiveConfig,
    modality: Modality,
    net: Network,
    encode: Callable[..., Any],
    loss: Callable[..., Any],
) -> Task:
    """Make a task of what is trained, with the metrics and evaluators of its objective.

    Args:
        config: The objective.
        modality: What kind of data.
        net: The network, an `encoder` and a `projector`.
        encode: That of the task.
        loss: That of the task.

    Returns:
        The task.
    """
    statistic = statistic_by_name(config.statistic)
    null = null_mean(statistic)
    evaluators, quick = embedding_evaluators(
        config, modality, net, statistic=statistic, null_mean=null
    )
    metrics = objective_metrics(config, null)
    return Task(net.init, encode, loss, net.kinds, metrics, evaluators, quick)


def regularizer_key(regularizer: Regularizer) -> str:
    """Name the metric of a regularizer: `sigreg` of SIGReg, `regularizer` of any other.

    Args:
        regularizer: The regularizer, its options bound.

    Returns:
        The name.

    Examples:
        >>> regularizer_key(functools.partial(sigreg, num_slices=8))
        'sigreg'
    """
    return "sigreg" if bound_options(regularizer)[0] is sigreg else "regularizer"


def objective_metrics(config: ObjectiveConfig, null_mean: float | None) -> dict[str, Metric]:
    """Say how all metrics of an objective are shown, those of the quick evaluation too.

    Args:
        config: The objective.
        null_mean: Mean of its statistic on exact normal samples, if it is known.

    Returns:
        How each is shown, by name.
    """
    regularizer = config.make_regularizer()
    is_sigreg = regularizer_key(regularizer) == "sigreg"
    # That of SIGReg does not depend on the number of samples; others are shown relative to theirs.
    reference = regularizer_null_mean(regularizer, num_samples=1, dim=1) if is_sigreg else None
    named = config.regularizer if isinstance(config.regularizer, str) else "own"
    named = "" if is_sigreg else named
    shown = embedding_metrics(reference, regularizer=named)
    if config.token_weight:
        shown["token_regularizer"] = Metric("Regularizer of tokens", "mean over positions", True)
    return shown | quick_embedding_metrics(null_mean, regularizer=named)


def embedding_metrics(null_mean: float | None, *, regularizer: str = "") -> dict[str, Metric]:
    """Say how the metrics of LeJEPA are shown.

    Args:
        null_mean: Mean of SIGReg on exact normal samples, if it is known.
        regularizer: What the regularizer is called, if it is another than SIGReg.

    Returns:
        How each is shown, by name.
    """
    terms = {
        "sigreg": Metric("SIGReg", "mean over slices", True, null_mean, "N(0, I)", progress=True)
    }
    if regularizer:
        terms = {
            "regularizer": Metric(f"Regularizer: {regularizer}", "value", progress=True),
            "regularizer_ratio": Metric(
                "Regularizer, relative", "over its null mean", True, 1.0, "the law that is wanted"
            ),
        }
    return {
        "prediction": Metric("Prediction", "mean squared distance", log_scale=True, progress=True),
        **terms,
        "label_free_score": Metric(
            "Label-free score",
            "lower is better",
            log_scale=True,
            higher_is_better=False,
            in_results=True,
        ),
        "embedding_std": Metric(
            "Smallest standard deviation",
            "of an embedding dimension",
            reference=1.0,
            reference_name="N(0, I)",
            warn_below=_COLLAPSED,
            warning="embeddings collapse: where they vary this little, SIGReg has almost no "
            "gradient; raise --task.trade-off or lower --learning-rate",
        ),
    }


def kept_parts(
    config: ObjectiveConfig,
    make_encoder: Callable[..., Any],
    preprocessing: Mapping[str, Any],
    path: tuple[str, ...] = ("encoder",),
) -> Kept:
    """Say what a run of LeJEPA leaves behind: the encoder and the projector.

    Args:
        config: The objective.
        make_encoder: Makes the encoder from `rngs`, and of images also `dtype`.
        preprocessing: What an example goes through, see `Kept`.
        path: Where the encoder is in the variables.

    Returns:
        What is kept.
    """
    # As a model makes it later; networks on clouds compute in float32 alone, and are not asked.
    dtype = {} if preprocessing["kind"] == "clouds" else {"dtype": jnp.float32}
    features = nnx.eval_shape(
        lambda: make_encoder(axis_name=None, rngs=nnx.Rngs(0), **dtype)
    ).features
    projector = functools.partial(
        Projector,
        features,
        config.embedding_features,
        hidden_features=config.hidden_features,
        num_layers=config.projector_layers,
    )
    parts = {"encoder": Part(make_encoder, path), "projector": Part(projector, ("projector",))}
    return Kept(parts, preprocessing)
