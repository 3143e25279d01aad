"""LeJEPA pretraining on images, as a task of the training loop."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, PRNGKeyArray

from lejepa_jax.augment import ViewSpec, eval_view, example_keys, make_views
from lejepa_jax.checks import check_choice, check_positive
from lejepa_jax.data import ImageSource, Splits, eval_batches
from lejepa_jax.diagnostics import feature_std, rankme
from lejepa_jax.directions import unit_directions
from lejepa_jax.normality import epps_pulley, epps_pulley_null_mean
from lejepa_jax.objective import Target, Weighting, check_trade_off, lejepa_loss
from lejepa_jax.probes import probe_suite
from lejepa_jax.projector import Projector
from lejepa_jax.report import assemble_results, results_table, write_report
from lejepa_jax.sigreg import paper_epps_pulley, slice_statistics
from lejepa_jax.task import Batch, Evaluation, Task, Variables

Place = Callable[[Mapping[str, np.ndarray]], Batch]

# Pictures larger than this are shrunk for the probes on raw pixels, which would not fit in memory.
_MAX_PIXEL_SIDE = 32
# The report shows a sample of the held-out images.
_MAX_REPORT_IMAGES = 2000


@dataclasses.dataclass(frozen=True)
class PretrainingConfig:
    """What to pretrain, and how.

    Attributes:
        encoder: Makes an encoder from `in_channels`, `dtype`, `axis_name` and `rngs`.
        views: What views to make; the global ones first.
        num_global: How many of all views are global.
        embedding_features: Width of the embedding, the output of the projector.
        hidden_features: Width of its hidden layers.
        projector_layers: Number of its linear layers; 0 regularises the features themselves.
        trade_off: Weight of SIGReg.
        weighting: How the two terms are weighted, see `lejepa_loss`.
        target: What the views are drawn towards, see `prediction_loss`.
        num_slices: Random directions of SIGReg, fresh at every step.
        quadrature: `folded`, 17 knots on [0, 3]; `paper`, Algorithm 1's 17 knots on [-5, 5].
        pool_views: Test all views as one sample.
        eval_size: Side of the images the probes see, in pixels.
        eval_crop: Part of the shorter side the probes see.
        eval_batch: Images at a time in evaluation.
        neighbours: Neighbours that vote in the k-NN probe.
        max_probe_examples: Training images the probes fit; None for all.

    Raises:
        ValueError: For a value out of range, or more global views than views.
    """

    evaluation_only: ClassVar[frozenset[str]] = frozenset(
        {"eval_size", "eval_crop", "eval_batch", "neighbours", "max_probe_examples"}
    )

    encoder: Callable[..., Any]
    views: tuple[ViewSpec, ...]
    num_global: int
    embedding_features: int = 64
    hidden_features: int = 512
    projector_layers: int = 3
    trade_off: float = 0.05
    weighting: Weighting = "convex"
    target: Target = "global"
    num_slices: int = 1024
    quadrature: Literal["folded", "paper"] = "folded"
    pool_views: bool = False
    eval_size: int = 32
    eval_crop: float = 1.0
    eval_batch: int = 500
    neighbours: int = 20
    max_probe_examples: int | None = 50_000

    def __post_init__(self):
        check_choice("quadrature", self.quadrature, ("folded", "paper"))
        check_choice("target", self.target, ("global", "all", "pairwise"))
        check_trade_off(self.trade_off, self.weighting)
        for name in ("embedding_features", "hidden_features", "num_slices", "eval_size"):
            check_positive(name, getattr(self, name))
        for name in ("eval_batch", "neighbours"):
            check_positive(name, getattr(self, name))
        if not 0 < self.eval_crop <= 1:
            raise ValueError(f"eval_crop must be above 0 and at most 1, got {self.eval_crop}")
        num_views = sum(spec.count for spec in self.views)
        if not 1 <= self.num_global <= num_views:
            raise ValueError(
                f"num_global must be between 1 and {num_views} views, got {self.num_global}"
            )

    def build(
        self, splits: Splits, *, dtype: DTypeLike = jnp.float32, axis_name: str | None = None
    ) -> Task:
        """Make the task; see `lejepa_pretraining`."""
        return lejepa_pretraining(
            self, channels=splits.train.channels, dtype=dtype, axis_name=axis_name
        )


class _Encoded(NamedTuple):
    """A data set as the networks see it, one row an image."""

    features: np.ndarray
    embeddings: np.ndarray
    pixels: np.ndarray
    labels: np.ndarray
    index: np.ndarray


class JointEmbedding(nnx.Module):
    """An encoder and the projector on top of it."""

    def __init__(self, encoder: Any, projector: Projector):
        self.encoder = encoder
        self.projector = projector


def lejepa_pretraining(
    config: PretrainingConfig,
    *,
    channels: int,
    dtype: DTypeLike = jnp.float32,
    axis_name: str | None = None,
) -> Task:
    """Make the task of LeJEPA pretraining on images.

    Views of one size go through the encoder together, all of them through the projector together,
    so that its BatchNorm sees every view. Views and stochastic depth are keyed by the example's
    `index` in the data set, the slices by the step alone: the loss does not depend on how the batch
    is spread over devices.

    Args:
        config: What to pretrain.
        channels: Channels of the images, 1 or 3.
        dtype: Type in which the networks compute; parameters and statistics are float32.
        axis_name: Mapped axis over which batches are spread; None where the compiler spreads them.

    Returns:
        The task. Batches are those of `lejepa_jax.data`: `image`, `index` and `aspect`.

    Examples:
        >>> from functools import partial
        >>> from lejepa_jax.augment import digits_view
        >>> from lejepa_jax.resnet import ResNet
        >>> tiny = partial(ResNet, stage_sizes=(1,), width=4, stem="small")
        >>> config = PretrainingConfig(encoder=tiny, views=(digits_view(2, 8),), num_global=2,
        ...     embedding_features=4, hidden_features=8, num_slices=8)
        >>> task = lejepa_pretraining(config, channels=1)
        >>> batch = {"image": jnp.zeros((4, 8, 8, 1), jnp.uint8), "index": jnp.arange(4),
        ...     "aspect": jnp.ones(4)}
        >>> variables = task.init(jax.random.key(0))
        >>> loss, (state, metrics) = task.loss(*variables, jax.random.key(1), batch)
        >>> sorted(metrics)
        ['embedding_std', 'prediction', 'sigreg']

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Section 5.1 and Algorithm 2.
    """
    statistic = paper_epps_pulley if config.quadrature == "paper" else epps_pulley

    def build(key: PRNGKeyArray) -> JointEmbedding:
        rngs = nnx.Rngs(key)
        encoder = config.encoder(in_channels=channels, dtype=dtype, axis_name=axis_name, rngs=rngs)
        projector = Projector(
            encoder.features,
            config.embedding_features,
            hidden_features=config.hidden_features,
            num_layers=config.projector_layers,
            dtype=dtype,
            axis_name=axis_name,
            rngs=rngs,
        )
        return JointEmbedding(encoder, projector)

    graphdef, _, _ = nnx.split(nnx.eval_shape(lambda: build(jax.random.key(0))), nnx.Param, ...)

    def init(key: PRNGKeyArray) -> Variables:
        _, params, state = nnx.split(build(key), nnx.Param, ...)
        return Variables(nnx.to_pure_dict(params), nnx.to_pure_dict(state))

    def model(variables: Variables) -> JointEmbedding:
        # Without the copy, BatchNorm would write into arrays of an outer trace.
        return nnx.merge(graphdef, *variables, copy=True)

    def loss(params: Any, state: Any, key: PRNGKeyArray, batch: Batch):
        network = model(Variables(params, state))
        view_key, slice_key = jax.random.split(key)
        keys = example_keys(view_key, batch["index"])
        views = make_views(keys, batch["image"], config.views, aspect=batch["aspect"])
        size = batch["image"].shape[0]

        features, first = [], 0
        for group in views:
            count = group.shape[0]
            # Examples in front of views: a batch spread over devices then stays where it is.
            images = jnp.swapaxes(group, 0, 1).reshape(size * count, *group.shape[2:])
            # Apart from the keys of the views themselves, which count up from 0.
            numbers = jnp.arange(first, first + count) + 2**20
            depth_keys = jax.vmap(
                lambda k, n=numbers: jax.vmap(jax.random.fold_in, (None, 0))(k, n)
            )
            encoded = network.encoder(images, train=True, keys=depth_keys(keys).reshape(-1))
            features.append(encoded.reshape(size, count, -1))
            first += count
        stacked = jnp.concatenate(features, axis=1)
        embeddings = network.projector(stacked.reshape(size * first, -1), train=True)
        embeddings = jnp.swapaxes(embeddings.reshape(size, first, -1), 0, 1)

        objective = lejepa_loss(
            slice_key,
            embeddings,
            num_global=config.num_global,
            trade_off=config.trade_off,
            weighting=config.weighting,
            target=config.target,
            num_slices=config.num_slices,
            statistic=statistic,
            pool_views=config.pool_views,
            axis_name=axis_name,
        )
        metrics = {
            "prediction": objective.prediction,
            "sigreg": objective.sigreg,
            # 1 where the cloud is round, 0 in a collapse, whose gradient would vanish.
            "embedding_std": _smallest_std(lax.stop_gradient(embeddings), axis_name),
        }
        _, _, state = nnx.split(network, nnx.Param, ...)
        return objective.total, (nnx.to_pure_dict(state), metrics)

    @jax.jit
    def encode(variables: Variables, batch: Batch) -> tuple[Array, Array, Array]:
        """Features, embeddings and small pictures of a batch."""
        network = model(variables)
        features = network.encoder(_seen(config, batch["image"], batch["aspect"]))
        small = min(config.eval_size, _MAX_PIXEL_SIDE)
        pixels = eval_view(batch["image"], small, aspect=batch["aspect"], crop=config.eval_crop)
        pixels = pixels.reshape(pixels.shape[0], -1)
        return features, network.projector(features), pixels

    def encode_all(variables: Variables, source: ImageSource, place: Place) -> _Encoded:
        """Encode every readable image of a source, or the first of many."""
        rows, wanted = [], config.max_probe_examples or len(source)
        for batch in eval_batches(source, batch_size=config.eval_batch):
            keep = batch.pop("mask")
            encoded = *encode(variables, place(batch)), batch["label"], batch["index"]
            rows.append([np.asarray(array)[keep] for array in encoded])
            wanted -= len(rows[-1][0])
            if wanted <= 0:
                break
        return _Encoded(*(np.concatenate(parts) for parts in zip(*rows, strict=True)))

    def probe(key: PRNGKeyArray, train: dict[str, _Encoded], test: dict[str, _Encoded], classes):
        """Probe the features of both encoders and the pixels in the same way."""
        sets = {name: (train[name].features, test[name].features) for name in test}
        sets["pixels"] = (train["encoder"].pixels, test["encoder"].pixels)
        labels, test_labels = train["encoder"].labels, test["encoder"].labels
        known, known_test = labels >= 0, test_labels >= 0
        return {
            name: probe_suite(
                key,
                fit_on[known],
                labels[known],
                score_on[known_test],
                test_labels[known_test],
                num_classes=classes,
                k=config.neighbours,
            )
            for name, (fit_on, score_on) in sets.items()
        }

    def evaluate(
        key: PRNGKeyArray,
        trained: Variables,
        untrained: Variables,
        splits: Splits,
        place: Place,
    ) -> Evaluation:
        probe_key, slice_key, report_key = jax.random.split(key, 3)
        both = {"encoder": trained, "untrained": untrained}
        test = {name: encode_all(v, splits.test, place) for name, v in both.items()}
        labelled = splits.train.num_classes > 1
        suites = {"encoder": {}, "untrained": {}, "pixels": {}}
        if labelled:
            train = {name: encode_all(v, splits.train, place) for name, v in both.items()}
            suites = probe(probe_key, train, test, splits.train.num_classes)
        null_mean = _null_mean(config)
        roundness = {
            name: _roundness(slice_key, encoded.embeddings, statistic)
            for name, encoded in test.items()
        }
        results = assemble_results(**suites, diagnostics={**roundness, "sigreg_null": null_mean})

        def report(path: Path, title: str, recipe: dict, metrics: list[dict]) -> Path:
            after = test["encoder"]
            # Evenly from the whole set, which may be sorted by class.
            number = len(after.labels)
            shown = np.linspace(0, number - 1, min(number, _MAX_REPORT_IMAGES)).astype(int)
            return write_report(
                report_key,
                path,
                title=title,
                config=recipe,
                metrics=metrics,
                results=results,
                embeddings_before=test["untrained"].embeddings[shown],
                embeddings_after=after.embeddings[shown],
                features=after.features[shown],
                labels=after.labels[shown] if labelled else None,
                images=splits.test.gather(after.index[shown])["image"],
                class_names=splits.class_names,
                patch_features=patch_maps(trained, splits.test, after.index[shown[:8]]),
                sigreg_null=null_mean,
            )

        return Evaluation(results, results_table(results), report)

    def patch_maps(variables: Variables, source: ImageSource, index: np.ndarray):
        """Patch features of a few images, if the encoder has any."""
        network = model(variables)
        if not hasattr(network.encoder, "patch_features"):
            return None
        batch = source.gather(index)
        images = _seen(config, jnp.asarray(batch["image"]), jnp.asarray(batch["aspect"]))
        return np.asarray(network.encoder.patch_features(images))

    return Task(init, loss, evaluate)


def _smallest_std(embeddings: Array, axis_name: str | None) -> Array:
    flat = embeddings.reshape(-1, embeddings.shape[-1])
    return feature_std(flat, axis_name=axis_name).min()


def _null_mean(config: PretrainingConfig) -> float:
    if config.quadrature == "paper":
        return epps_pulley_null_mean(**paper_epps_pulley.keywords)
    return epps_pulley_null_mean()


def _roundness(key: PRNGKeyArray, embeddings: np.ndarray, statistic: Any) -> dict[str, float]:
    """How far held-out embeddings are from N(0, I)."""
    cloud = jnp.asarray(embeddings)
    directions = unit_directions(key, cloud.shape[-1], 1024)
    slices = slice_statistics(cloud, directions, statistic=statistic)
    std = feature_std(cloud)
    return {
        "rankme": float(rankme(cloud)),
        "sigreg": float(slices.mean()),
        "sigreg_worst_slice": float(slices.max()),
        "std_smallest": float(std.min()),
        "std_largest": float(std.max()),
    }


def _seen(config: PretrainingConfig, images: Array, aspect: Array) -> Array:
    """What the encoder sees of images in evaluation."""
    mean, std = config.views[0].mean, config.views[0].std
    return eval_view(
        images, config.eval_size, mean=mean, std=std, aspect=aspect, crop=config.eval_crop
    )
