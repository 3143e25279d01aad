"""LeJEPA pretraining as a task of the training loop, whatever the encoder looks at.

Images, point clouds or anything else: a `Modality` says how views are made and what the probes
compare with. `lejepa_jax.tasks.image_pretraining` has the one of images.
"""

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
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.checks import check_choice, check_positive
from lejepa_jax.data.batches import eval_batches
from lejepa_jax.data.source import Source
from lejepa_jax.data.splits import Splits
from lejepa_jax.diagnostics.spectrum import feature_std, rankme
from lejepa_jax.evaluation.probes import probe_suite
from lejepa_jax.nn.projector import Projector
from lejepa_jax.objectives.directions import unit_directions
from lejepa_jax.objectives.lejepa import Target, Weighting, check_trade_off, lejepa_loss
from lejepa_jax.objectives.slicing import paper_epps_pulley, slice_statistics
from lejepa_jax.report.page import assemble_results, results_table, write_report
from lejepa_jax.statistics.normality import epps_pulley, epps_pulley_null_mean
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.training.task import Batch, Evaluation, Task, Variables, fetch

Place = Callable[[Mapping[str, np.ndarray]], Batch]
#: What an encoder takes: an array, examples first, or a pytree of them.
Inputs = Any

# The report shows a sample of the held-out examples.
_MAX_REPORT_EXAMPLES = 2000


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What LeJEPA pretraining has to know of any kind of data.

    Attributes:
        num_global: How many of all views are global.
        embedding_features: Width of the embedding, the output of the projector.
        hidden_features: Width of its hidden layers.
        projector_layers: Number of its linear layers; 0 regularizes the features themselves.
        trade_off: Weight of SIGReg.
        weighting: How the two terms are weighted, see `lejepa_loss`.
        target: What the views are drawn towards, see `prediction_loss`.
        num_slices: Random directions of SIGReg, fresh at every step.
        quadrature: `folded`, 17 knots on [0, 3]; `paper`, Algorithm 1's 17 knots on [-5, 5].
        pool_views: Test all views as one sample.
        eval_batch_size: Examples at a time in evaluation.
        knn_k: Neighbors that vote in the k-NN probe.
        max_probe_examples: Training examples the probes fit; None for all.

    Raises:
        ValueError: For a value out of range.
    """

    evaluation_only: ClassVar[frozenset[str]] = frozenset(
        {"eval_batch_size", "knn_k", "max_probe_examples"}
    )

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
    eval_batch_size: int = 500
    knn_k: int = 20
    max_probe_examples: int | None = 50_000

    def __post_init__(self):
        check_choice("quadrature", self.quadrature, ("folded", "paper"))
        check_choice("target", self.target, ("global", "all", "pairwise"))
        check_trade_off(self.trade_off, self.weighting)
        for name in ("num_global", "embedding_features", "hidden_features", "num_slices"):
            check_positive(name, getattr(self, name))
        for name in ("eval_batch_size", "knn_k"):
            check_positive(name, getattr(self, name))
        if self.projector_layers < 0:
            raise ValueError(f"projector_layers must not be negative, got {self.projector_layers}")


class Modality(NamedTuple):
    """What the objective has to be told of a kind of data.

    Attributes:
        views: Maps a key for each example and a batch to groups of views of one shape each, axes
            (view, example) first, the global views in front.
        seen: What the encoder gets of a batch in evaluation, by condition. Probes are fitted under
            the first and scored under each.
        raw: One row of raw data an example: what the probes of an encoder have to beat.
        raw_name: What those rows are called in the results.
        pictures: Pictures of the examples of a source at some indices, for the report.
    """

    views: Callable[[Array, Batch], tuple[Inputs, ...]]
    seen: Mapping[str, Callable[[Batch], Inputs]]
    raw: Callable[[Batch], Float[Array, "b d"]]
    raw_name: str
    pictures: Callable[[Any, np.ndarray], UInt8[np.ndarray, "n h w c"]]


class _Encoded(NamedTuple):
    """A data set as the networks see it, one row an example."""

    features: np.ndarray
    embeddings: np.ndarray
    raw: np.ndarray
    labels: np.ndarray
    index: np.ndarray


class JointEmbedding(nnx.Module):
    """An encoder and the projector on top of it."""

    def __init__(self, encoder: Any, projector: Projector):
        self.encoder = encoder
        self.projector = projector


def joint_embedding(
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
    is spread over devices. The projector belongs to the loss, not to what is encoded example by
    example: with an encoder that does not normalize over the batch, such as a ViT, the gradient in
    micro-batches is then that of the whole batch.

    Args:
        config: The objective.
        modality: What kind of data.
        make_encoder: Makes the encoder from `dtype`, `axis_name` and `rngs`: a module with
            `features`, called with inputs, `train` and one key an example.
        dtype: Type in which the networks compute; parameters and statistics are float32.
        axis_name: Mapped axis over which batches are spread; None where the compiler spreads them.

    Returns:
        The task. A batch has `index` (b) and what the modality wants.

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Section 5.1 and Algorithm 2.
    """
    statistic = paper_epps_pulley if config.quadrature == "paper" else epps_pulley

    def build(key: PRNGKeyArray) -> JointEmbedding:
        rngs = nnx.Rngs(key)
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
        return JointEmbedding(encoder, projector)

    graphdef, _, _ = nnx.split(nnx.eval_shape(lambda: build(jax.random.key(0))), nnx.Param, ...)

    def init(key: PRNGKeyArray) -> Variables:
        _, params, state = nnx.split(build(key), nnx.Param, ...)
        return Variables(nnx.to_pure_dict(params), nnx.to_pure_dict(state))

    def model(params: Any, state: Any) -> JointEmbedding:
        # Without the copy, BatchNorm would write into arrays of an outer trace.
        return nnx.merge(graphdef, params, state, copy=True)

    def changed(network: JointEmbedding, part: str) -> dict[str, Any]:
        _, _, state = nnx.split(network, nnx.Param, ...)
        return {k: v for k, v in nnx.to_pure_dict(state).items() if k == part}

    def encode(params: Any, state: Any, key: PRNGKeyArray, batch: Batch):
        network = model(params, state)
        view_key, _ = jax.random.split(key)
        keys = example_keys(view_key, batch["index"])
        features, first = [], 0
        for group in modality.views(keys, batch):
            count, size = jax.tree.leaves(group)[0].shape[:2]
            # Examples in front of views: a batch spread over devices then stays where it is.
            inputs = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]), group)
            # Apart from the keys of the views themselves, which count up from 0.
            numbers = jnp.arange(first, first + count) + 2**20
            depth_keys = jax.vmap(
                lambda k, n=numbers: jax.vmap(jax.random.fold_in, (None, 0))(k, n)
            )
            encoded = network.encoder(inputs, train=True, keys=depth_keys(keys).reshape(-1))
            features.append(encoded.reshape(size, count, -1))
            first += count
        return jnp.concatenate(features, axis=1), changed(network, "encoder")

    def loss(params: Any, state: Any, key: PRNGKeyArray, features: Array, batch: Batch):
        del batch
        network = model(params, state)
        _, slice_key = jax.random.split(key)
        size, count, width = features.shape
        embeddings = network.projector(features.reshape(size * count, width), train=True)
        embeddings = jnp.swapaxes(embeddings.reshape(size, count, -1), 0, 1)
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
        return objective.total, (changed(network, "projector"), metrics)

    @jax.jit
    def see(variables: Variables, inputs: Inputs) -> tuple[Array, Array]:
        """Features and embeddings of what is seen of a batch."""
        network = model(*variables)
        features = network.encoder(inputs)
        return features, network.projector(features)

    raw = jax.jit(modality.raw)
    seen = {condition: jax.jit(view) for condition, view in modality.seen.items()}

    def encode_all(variables: Variables, source: Source, place: Place, condition: str) -> _Encoded:
        """Encode every readable example of a source, or the first of many."""
        rows, wanted = [], config.max_probe_examples or len(source)
        for batch in eval_batches(source, batch_size=config.eval_batch_size):
            keep = batch.pop("mask")
            placed = place(batch)
            encoded = *see(variables, seen[condition](placed)), raw(placed)
            encoded = *map(fetch, encoded), batch["label"], batch["index"]
            rows.append([array[keep] for array in encoded])
            wanted -= len(rows[-1][0])
            if wanted <= 0:
                break
        return _Encoded(*(np.concatenate(parts) for parts in zip(*rows, strict=True)))

    def evaluate(
        key: PRNGKeyArray,
        trained: Variables,
        untrained: Variables,
        splits: Splits,
        place: Place,
    ) -> Evaluation:
        probe_key, slice_key, report_key = jax.random.split(key, 3)
        both = {"encoder": trained, "untrained": untrained}
        first = next(iter(seen))
        test = {name: encode_all(v, splits.test, place, first) for name, v in both.items()}
        labeled = splits.train.num_classes > 1
        suites = {}
        if labeled:
            train = {name: encode_all(v, splits.train, place, first) for name, v in both.items()}
            labels, known = train["encoder"].labels, train["encoder"].labels >= 0

            def probe(fit_on: np.ndarray, score_on: np.ndarray, true: np.ndarray):
                sets = fit_on[known], labels[known], score_on[true >= 0], true[true >= 0]
                classes, k = splits.train.num_classes, config.knn_k
                return probe_suite(probe_key, *sets, num_classes=classes, k=k)

            for condition in seen:
                for name, variables in both.items():
                    scored = test[name]
                    if condition != first:
                        scored = encode_all(variables, splits.test, place, condition)
                    source = name if condition == first else f"{name}, {condition}"
                    suites[source] = probe(train[name].features, scored.features, scored.labels)
            raw_test = test["encoder"]
            suites[modality.raw_name] = probe(train["encoder"].raw, raw_test.raw, raw_test.labels)
        null_mean = _null_mean(config)
        roundness = {
            name: _roundness(slice_key, encoded.embeddings, statistic)
            for name, encoded in test.items()
        }
        results = assemble_results(suites, diagnostics={**roundness, "sigreg_null": null_mean})

        def report(path: Path, title: str, recipe: dict, metrics: list[dict]) -> Path:
            after = test["encoder"]
            # Evenly from the whole set, which may be sorted by class.
            number = len(after.labels)
            shown = np.linspace(0, number - 1, min(number, _MAX_REPORT_EXAMPLES)).astype(int)
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
                labels=after.labels[shown] if labeled else None,
                images=modality.pictures(splits.test, after.index[shown]),
                class_names=splits.class_names,
                patch_features=patch_maps(trained, splits.test, after.index[shown[:8]]),
                sigreg_null=null_mean,
            )

        return Evaluation(results, results_table(results), report)

    def patch_maps(variables: Variables, source: Source, index: np.ndarray):
        """Patch features of a few examples, if the encoder has any."""
        if not hasattr(model(*variables).encoder, "patch_features"):
            return None

        @jax.jit
        def patches(variables: Variables, batch: Batch) -> Array:
            return model(*variables).encoder.patch_features(next(iter(seen.values()))(batch))

        return fetch(patches(variables, source.gather(index)))

    return Task(init, encode, loss, evaluate)


def _smallest_std(embeddings: Array, axis_name: AxisName | None) -> Array:
    flat = embeddings.reshape(-1, embeddings.shape[-1])
    return feature_std(flat, axis_name=axis_name).min()


def _null_mean(config: ObjectiveConfig) -> float:
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
