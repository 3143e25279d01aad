"""Supervised image classification, as a task of the training loop."""

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
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.augment.specs import ViewSpec
from lejepa_jax.augment.views import eval_view, make_views
from lejepa_jax.checks import check_positive
from lejepa_jax.data import loading as data
from lejepa_jax.data.batches import eval_batches
from lejepa_jax.data.splits import Splits
from lejepa_jax.report.page import assemble_results, results_table, write_report
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.training.task import Batch, Evaluation, Task, Variables, fetch

# Views of an example and its stochastic depth count up from 0; what a pair draws lies apart.
_DEPTH, _PAIR = 2**20, 2**21


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationConfig:
    """What to classify, and how.

    Attributes:
        image_size: Side at which images are stored and put on the devices, in pixels.
        encoder: Makes an encoder from `in_channels`, `dtype`, `axis_name` and `rngs`.
        encoding: Handed to the encoder as `position`: a name of `rope_jax.ENCODINGS`, alone or
            called with options. None leaves the encoder's own.
        view: The one random view of an image to train on; its `count` must be 1.
        label_smoothing: Part of the target that is spread over all classes.
        mixup: Parameter of the Beta distribution of mixing two images; 0 for none.
        cutmix: The same for pasting a box of one into another. With both, pairs draw which.
        eval_size: Side of the images in evaluation, in pixels.
        eval_sizes: Further sides to test at. An encoder that can weigh its tokens by their measure
            (`ViT`) is tested with and without.
        eval_crop: Part of the shorter side that is seen in evaluation.
        eval_batch_size: Images at a time in evaluation.

    Raises:
        ValueError: For a value out of range.

    References:
        C. Szegedy et al., "Rethinking the Inception Architecture", arXiv 1512.00567, 2015 (label
        smoothing).
        H. Zhang et al., "mixup", arXiv 1710.09412, 2017. S. Yun et al., "CutMix", arXiv 1905.04899,
        2019.
    """

    evaluation_only: ClassVar[frozenset[str]] = frozenset(
        {"eval_size", "eval_sizes", "eval_crop", "eval_batch_size"}
    )

    image_size: int
    encoder: Callable[..., Any]
    view: ViewSpec
    encoding: str | None = None
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    eval_size: int = 32
    eval_sizes: tuple[int, ...] = ()
    eval_crop: float = 1.0
    eval_batch_size: int = 500

    def __post_init__(self):
        for name in ("image_size", "eval_size", "eval_batch_size"):
            check_positive(name, getattr(self, name))
        for size in self.eval_sizes:
            check_positive("eval_sizes", size)
        for name in ("mixup", "cutmix"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
        if not 0 < self.eval_crop <= 1:
            raise ValueError(f"eval_crop must be above 0 and at most 1, got {self.eval_crop}")
        if self.view.count != 1:
            raise ValueError(f"view must draw 1 view of an image, got count={self.view.count}")

    def load(
        self,
        name: str,
        *,
        data_dir: str | None = None,
        holdout: Literal["test", "validation"] = "test",
        max_bad_records: int = 0,
    ) -> Splits:
        """Load images; see `lejepa_jax.data.loading.load`."""
        return data.load(
            name,
            image_size=self.image_size,
            data_dir=data_dir,
            holdout=holdout,
            max_bad_records=max_bad_records,
        )

    def build(
        self, splits: Splits, *, dtype: DTypeLike = jnp.float32, axis_name: AxisName | None = None
    ) -> Task:
        """Make the task; see `classification`."""
        if splits.train.num_classes < 2:
            raise ValueError(
                f"{splits.name} must have at least 2 classes to tell apart, "
                f"got {splits.train.num_classes}"
            )
        return classification(
            self,
            channels=splits.train.channels,
            num_classes=splits.train.num_classes,
            dtype=dtype,
            axis_name=axis_name,
        )


class Classifier(nnx.Module):
    """An encoder and a linear map to a score for each class, which starts at zero."""

    def __init__(self, encoder: Any, num_classes: int, *, rngs: nnx.Rngs):
        self.encoder = encoder
        self.head = nnx.Linear(
            encoder.features, num_classes, kernel_init=nnx.initializers.zeros, rngs=rngs
        )


def soft_targets(
    labels: Int[Array, " b"], num_classes: int, *, smoothing: float = 0.0
) -> Float[Array, "b {num_classes}"]:
    r"""Make the distributions to learn: :math:`(1 - \epsilon)\, e_y + \epsilon / C`.

    Args:
        labels: Classes; -1 where unknown.
        num_classes: How many there are.
        smoothing: :math:`\epsilon`.

    Returns:
        One distribution an example; zeros where the class is unknown.

    Examples:
        >>> soft_targets(jnp.array([1, -1]), 2, smoothing=0.5)
        Array([[0.25, 0.75],
               [0.  , 0.  ]], dtype=float32)
    """
    hot = jax.nn.one_hot(labels, num_classes)
    spread = smoothing / num_classes * (labels >= 0).astype(jnp.float32)
    return (1 - smoothing) * hot + spread[:, None]


def cross_entropy(
    logits: Float[Array, "b c"], targets: Float[Array, "b c"], *, axis_name: AxisName | None = None
) -> Float[Array, ""]:
    r"""Mean cross-entropy :math:`-\sum_i \sum_c t_{ic} \log p_{ic} / \sum_{ic} t_{ic}`, in float32.

    Args:
        logits: Scores.
        targets: Distributions, see `soft_targets`; rows of zeros do not count.
        axis_name: Mapped axis over which examples are spread; the mean is the global one.

    Returns:
        The loss, the same on every device.

    Examples:
        >>> cross_entropy(jnp.zeros((1, 4)), jnp.array([[0.0, 1.0, 0.0, 0.0]])).round(4)
        Array(1.3863, dtype=float32)
    """
    total = -jnp.sum(targets * jax.nn.log_softmax(logits.astype(jnp.float32), -1))
    return _mean(total, jnp.sum(targets), axis_name)


def mix_pairs(
    keys: Key[Array, " b"],
    images: Float[Array, "b h w c"],
    targets: Float[Array, "b k"],
    *,
    mixup: float = 0.0,
    cutmix: float = 0.0,
) -> tuple[Float[Array, "b h w c"], Float[Array, "b k"]]:
    r"""Mix example :math:`2i` with :math:`2i + 1`, images and targets alike.

    With :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)`, one for each pair, mixup makes
    :math:`\lambda x_{2i} + (1 - \lambda) x_{2i+1}` and the mirror image of that; CutMix replaces a
    box of :math:`1 - \lambda` of the area, at most, by that of the other, and weighs the targets by
    the area that was left. Neighbors of a shuffled batch are random partners, and they lie on one
    device: what is mixed does not depend on how many devices there are.

    Args:
        keys: One an example; the first of each pair counts.
        images: An even number of them.
        targets: Distributions over classes.
        mixup: :math:`\alpha` of mixup, 0 for none.
        cutmix: :math:`\alpha` of CutMix, 0 for none. With both, a pair draws either.

    Returns:
        Mixed images and targets.

    Raises:
        ValueError: If the number of examples is odd.

    Examples:
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> mix = jax.jit(mix_pairs, static_argnames=("mixup", "cutmix"))
        >>> images, targets = mix(keys, jnp.eye(2)[:, None, None], jnp.eye(2), mixup=1.0)
        >>> bool(jnp.allclose(images[:, 0, 0], targets)), float(targets[0].sum())
        (True, 1.0)

    References:
        H. Zhang et al., "mixup", arXiv 1710.09412, 2017. S. Yun et al., "CutMix", arXiv 1905.04899,
        2019, algorithm 1.
    """
    if mixup == 0 and cutmix == 0:
        return images, targets
    size, height, width, _ = images.shape
    if size % 2:
        raise ValueError(f"mixup and cutmix need an even number of examples a device, got {size}")

    def draw(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        """Share of the own image, the mask of what is pasted, and whether to paste."""
        which, share, place = jax.random.split(key, 3)
        pastes = jnp.bool_(cutmix > 0)
        if mixup and cutmix:
            pastes = jax.random.bernoulli(which)
        alpha = jnp.where(pastes, jnp.float32(cutmix), jnp.float32(mixup))
        left = jax.random.beta(share, alpha, alpha)
        half = jnp.sqrt(1 - left) / 2
        center = jax.random.uniform(place, (2,))
        rows = (jnp.arange(height, dtype=jnp.float32) + 0.5) / height
        columns = (jnp.arange(width, dtype=jnp.float32) + 0.5) / width
        inside_rows = jnp.abs(rows - center[0]) < half
        inside_columns = jnp.abs(columns - center[1]) < half
        mask = inside_rows[:, None] & inside_columns[None]
        return jnp.where(pastes, 1 - mask.mean(), left), mask, pastes

    share, mask, pastes = jax.vmap(draw)(keys[::2])
    per_pixel = jnp.where(pastes[:, None, None], 1 - mask.astype(jnp.float32), share[:, None, None])

    def mix(x: Array, weight: Array) -> Array:
        pairs = x.reshape(size // 2, 2, *x.shape[1:])
        weight = weight[:, None]
        return (weight * pairs + (1 - weight) * pairs[:, ::-1]).reshape(x.shape)

    return mix(images, per_pixel[..., None]), mix(targets, share[:, None])


class _Scored(NamedTuple):
    """Held-out images as a network scores them."""

    correct: np.ndarray
    loss: np.ndarray

    def summary(self) -> dict[str, float]:
        return {"accuracy": float(self.correct.mean()), "loss": float(self.loss.mean())}


def classification(
    config: ClassificationConfig,
    *,
    channels: int,
    num_classes: int,
    dtype: DTypeLike = jnp.float32,
    axis_name: AxisName | None = None,
) -> Task:
    """Make the task of supervised image classification.

    Views, stochastic depth and mixing are keyed by the example's `index` in the data set and the
    loss is a mean over the global batch: it does not depend on how the batch is spread over
    devices. (Micro-batches mix each example with another partner than the whole batch does.)

    Args:
        config: What to classify.
        channels: Channels of the images, 1 or 3.
        num_classes: Number of classes.
        dtype: Type in which the encoder computes; parameters, scores and the loss are float32.
        axis_name: Mapped axis over which batches are spread; None where the compiler spreads them.

    Returns:
        The task. Batches are those of `lejepa_jax.data.loading`: `image`, `label`, `index` and `aspect`.
        Images whose label is -1 do not count.

    Examples:
        >>> from functools import partial
        >>> from lejepa_jax.augment.presets import digits_view
        >>> from lejepa_jax.nn.vision_transformer import ViT
        >>> tiny = partial(ViT, width=12, depth=1, num_heads=2, patch_size=4, image_size=8)
        >>> config = ClassificationConfig(image_size=8, encoder=tiny, view=digits_view(1, 8),
        ...     encoding="spherical", eval_size=8)
        >>> task = classification(config, channels=1, num_classes=3)
        >>> batch = {"image": jnp.zeros((4, 8, 8, 1), jnp.uint8), "index": jnp.arange(4),
        ...     "aspect": jnp.ones(4), "label": jnp.array([0, 1, 2, 0])}
        >>> def scores(key):
        ...     return task.encode(*task.init(key), key, batch)[0]["logits"]
        >>> jax.eval_shape(scores, jax.random.key(0)).shape
        (4, 3)
    """

    def build(key: PRNGKeyArray) -> Classifier:
        rngs = nnx.Rngs(key)
        position = {} if config.encoding is None else {"position": config.encoding}
        encoder = config.encoder(
            in_channels=channels, dtype=dtype, axis_name=axis_name, rngs=rngs, **position
        )
        return Classifier(encoder, num_classes, rngs=rngs)

    graphdef, _, _ = nnx.split(nnx.eval_shape(lambda: build(jax.random.key(0))), nnx.Param, ...)

    def init(key: PRNGKeyArray) -> Variables:
        _, params, state = nnx.split(build(key), nnx.Param, ...)
        return Variables(nnx.to_pure_dict(params), nnx.to_pure_dict(state))

    def model(params: Any, state: Any) -> Classifier:
        # Without the copy, BatchNorm would write into arrays of an outer trace.
        return nnx.merge(graphdef, params, state, copy=True)

    def encode(params: Any, state: Any, key: PRNGKeyArray, batch: Batch):
        network = model(params, state)
        keys = example_keys(key, batch["index"])
        (views,) = make_views(keys, batch["image"], (config.view,), aspect=batch["aspect"])
        targets = soft_targets(batch["label"], num_classes, smoothing=config.label_smoothing)
        images, targets = mix_pairs(
            _apart(keys, _PAIR), views[0], targets, mixup=config.mixup, cutmix=config.cutmix
        )
        features = network.encoder(images, train=True, keys=_apart(keys, _DEPTH))
        outputs = {"logits": network.head(features), "targets": lax.stop_gradient(targets)}
        _, _, state = nnx.split(network, nnx.Param, ...)
        return outputs, nnx.to_pure_dict(state)

    def loss(params: Any, state: Any, key: PRNGKeyArray, outputs: dict[str, Array], batch: Batch):
        del params, state, key
        logits, labels = outputs["logits"], batch["label"]
        correct = (logits.argmax(-1) == labels).astype(jnp.float32).sum()
        known = (labels >= 0).astype(jnp.float32).sum()
        metrics = {"accuracy": _mean(correct, known, axis_name)}
        return cross_entropy(logits, outputs["targets"], axis_name=axis_name), ({}, metrics)

    def seen(batch: Batch, size: int) -> Array:
        return eval_view(
            batch["image"],
            size,
            mean=config.view.mean,
            std=config.view.std,
            aspect=batch["aspect"],
            crop=config.eval_crop,
        )

    def score(variables: Variables, splits: Splits, place: Any, size: int, *, weigh: bool):
        """Score all held-out images with a label at some side."""

        @jax.jit
        def scores(variables: Variables, batch: Batch) -> Array:
            network = model(*variables)
            if hasattr(network.encoder, "log_measure"):
                network.encoder.log_measure = weigh
            return jax.nn.log_softmax(network.head(network.encoder(seen(batch, size))), -1)

        correct, losses = [], []
        for batch in eval_batches(splits.test, batch_size=config.eval_batch_size):
            keep = batch.pop("mask") & (batch["label"] >= 0)
            logs, labels = fetch(scores(variables, place(batch)))[keep], batch["label"][keep]
            correct.append(logs.argmax(-1) == labels)
            losses.append(-np.take_along_axis(logs, labels[:, None], -1)[:, 0])
        return _Scored(np.concatenate(correct), np.concatenate(losses))

    def evaluate(
        key: PRNGKeyArray,
        trained: Variables,
        untrained: Variables,
        splits: Splits,
        place: Callable[[Mapping[str, np.ndarray]], Batch],
    ) -> Evaluation:
        network = nnx.eval_shape(lambda: build(key))
        # With no token beside the patches all weights are equal, and change nothing.
        weighs = getattr(network.encoder, "num_prefix", 0) > 0
        own = getattr(network.encoder, "log_measure", False)
        scored = {"encoder": score(trained, splits, place, config.eval_size, weigh=own)}
        for size in config.eval_sizes:
            for weigh in (False, True) if weighs else (False,):
                name = f"encoder, {size} px" + (", weighted" if weigh else "")
                scored[name] = score(trained, splits, place, size, weigh=weigh)
        scored["untrained"] = score(untrained, splits, place, config.eval_size, weigh=own)
        summaries = {name: found.summary() for name, found in scored.items()}
        results = assemble_results(
            {name: {"accuracy": summary["accuracy"]} for name, summary in summaries.items()},
            diagnostics={
                "loss": {name: summary["loss"] for name, summary in summaries.items()},
                "parameters": sum(leaf.size for leaf in jax.tree.leaves(trained.params)),
                "images": len(scored["encoder"].correct),
            },
        )

        def report(path: Path, title: str, recipe: dict, metrics: list[dict]) -> Path:
            few = splits.test.gather(np.linspace(0, len(splits.test) - 1, 8).astype(int))
            maps = None
            if hasattr(model(*trained).encoder, "patch_features"):

                @jax.jit
                def patches(variables: Variables, batch: Batch) -> Array:
                    encoder = model(*variables).encoder
                    return encoder.patch_features(seen(batch, config.eval_size))

                maps = fetch(patches(trained, few))
            return write_report(
                key,
                path,
                title=title,
                config=recipe,
                metrics=metrics,
                results=results,
                images=few["image"],
                class_names=splits.class_names,
                patch_features=maps,
            )

        return Evaluation(results, results_table(results), report)

    return Task(init, encode, loss, evaluate)


def _apart(keys: Key[Array, " b"], number: int) -> Key[Array, " b"]:
    return jax.vmap(jax.random.fold_in, (0, None))(keys, number)


def _mean(total: Array, count: Array, axis_name: AxisName | None) -> Array:
    """Sum by number over the global batch; 0 where there is nothing."""
    if axis_name is not None:
        total, count = lax.psum((total, count), axis_name)
    return total / jnp.maximum(count, 1e-6)
