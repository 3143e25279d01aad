"""Probes of frozen features: nearest neighbors, a linear classifier, a few labels a class.

A probe reads features that were computed once and never changes them, so everything here takes
arrays and returns numbers. All of it runs on the device that holds the arrays; a row without a
label (label -1) is dropped by the caller before it gets here.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

_logger = logging.getLogger(__name__)

# Numbers below this, relative to the size of a feature, are rounding and not variation.
_CONSTANT = 1e-6
# Largest number of similarities held at a time by the nearest neighbors: 256 MiB of float32.
_MAX_SIMILARITIES = 2**26
_HIGHEST = lax.Precision.HIGHEST

L2_GRID = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


class LinearProbe(NamedTuple):
    """A multinomial logistic regression on standardized features.

    The standardization is kept beside the weights instead of being folded into them: features with
    a large mean would otherwise lose digits to cancellation.
    """

    mean: Float[Array, " d"]
    scale: Float[Array, " d"]  # 1 / standard deviation, 0 where a feature is constant
    weights: Float[Array, "d c"]
    bias: Float[Array, " c"]


class FewShot(NamedTuple):
    """Accuracy over random draws of the labeled examples, as fractions."""

    mean: float
    std: float


# --- standardization ----------------------------------------------------------------------------


@jax.jit
def _moments(
    features: Float[Array | np.ndarray, "n d"],
) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    x = jnp.asarray(features, jnp.float32)
    mean = jnp.mean(x, axis=0)
    std = jnp.sqrt(jnp.mean((x - mean[None, :]) ** 2, axis=0))
    constant = std <= _CONSTANT * jnp.maximum(jnp.abs(mean), jnp.max(jnp.abs(x)) * _CONSTANT)
    return mean, jnp.where(constant, 0.0, 1.0 / jnp.where(constant, 1.0, std))


@jax.jit
def _apply_moments(
    features: Float[Array | np.ndarray, "n d"],
    mean: Float[Array, " d"],
    scale: Float[Array, " d"],
) -> Float[Array, "n d"]:
    return (jnp.asarray(features, jnp.float32) - mean[None, :]) * scale[None, :]


def standardize(
    train: Float[Array | np.ndarray, "n d"], test: Float[Array | np.ndarray, "m d"]
) -> tuple[Float[Array, "n d"], Float[Array, "m d"]]:
    r"""Center and scale every feature with the statistics of the training rows.

    .. math:: x_j \mapsto (x_j - \mu_j) / \sigma_j

    with the mean and the (biased, :math:`1/n`) standard deviation over `train`. A feature that
    is constant in `train` is zero in both outputs: it can tell nothing, and dividing what
    `test` has there by a vanishing deviation would let it drown everything else.

    Args:
        train: Features whose statistics are used.
        test: Features that are moved by the same map.

    Returns:
        Both, in float32.

    Examples:
        >>> import jax.numpy as jnp
        >>> train = jnp.array([[0.0, 5.0], [2.0, 5.0]])
        >>> standardize(train, jnp.array([[4.0, 9.0]]))[1]
        Array([[3., 0.]], dtype=float32)
    """
    mean, scale = _moments(train)
    return _apply_moments(train, mean, scale), _apply_moments(test, mean, scale)


# --- nearest neighbors -------------------------------------------------------------------------


def _unit_rows(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


@partial(jax.jit, static_argnames=("k", "metric", "num_classes", "block"))
def _knn_predict(
    train: Array,
    labels: Array,
    test: Array,
    temperature: Array,
    *,
    k: int,
    metric: str,
    num_classes: int,
    block: int,
) -> Int[Array, " m"]:
    train, test = train.astype(jnp.float32), test.astype(jnp.float32)
    if metric == "cosine":
        train, test = _unit_rows(train), _unit_rows(test)
        offset = jnp.zeros(len(train))
    else:
        # |x - y|^2 = |x|^2 - 2 x.y + |y|^2 loses digits when all points share a large mean.
        mean = jnp.mean(train, axis=0, keepdims=True)
        train, test = train - mean, test - mean
        offset = 0.5 * jnp.sum(train**2, axis=-1)

    def predict(row):
        # Larger is nearer; for the Euclidean distance, (|row|^2 - distance^2) / 2.
        nearness = jnp.matmul(train, row, precision=_HIGHEST) - offset
        top, index = lax.top_k(nearness, k)  # equal values: the smaller index first
        if metric == "cosine":
            # A common factor changes no vote, and keeps exp(1 / 0.01) from overflowing. Not top[0]:
            # a slice of the result makes XLA on CPU sort the whole row, ten times slower.
            votes = jnp.exp((top - jnp.max(top)) / temperature)
        else:
            squared = jnp.sum((train[index] - row[None, :]) ** 2, axis=-1)
            votes = 1.0 / (jnp.sqrt(squared) + temperature)
        votes = jnp.where(jnp.isinf(temperature), jnp.ones_like(votes), votes)
        score = jnp.zeros(num_classes).at[labels[index]].add(votes)
        return jnp.argmax(score).astype(jnp.int32)  # equal votes: the smaller class

    return lax.map(predict, test, batch_size=block)


def knn_predict(
    train_features: Float[Array | np.ndarray, "n d"],
    train_labels: Int[Array | np.ndarray, " n"],
    test_features: Float[Array | np.ndarray, "m d"],
    *,
    num_classes: int,
    k: int = 20,
    metric: Literal["cosine", "euclidean"] = "cosine",
    temperature: float | None = 0.07,
) -> Int[Array, " m"]:
    r"""Predict the class of each test row by a weighted vote of its nearest training rows.

    With :math:`\mathcal N_k(x)` the :math:`k` nearest training rows,

    .. math:: \hat y(x) = \arg\max_c \sum_{i \in \mathcal N_k(x)} w_i\, 1[y_i = c], \qquad
        w_i = e^{\cos(x, x_i) / \tau} \;\text{(cosine)}, \quad
        w_i = \frac{1}{\lVert x - x_i \rVert + \tau} \;\text{(Euclidean)} .

    Test rows are handled in blocks, so that no more than 2^26 similarities exist at a time.
    Among equal distances the training row of smaller index is nearer, among equal votes the smaller
    class wins: the same input gives the same answer.

    Args:
        train_features: Rows that vote.
        train_labels: Their classes, 0 to `num_classes - 1`.
        test_features: Rows to classify.
        num_classes: Number of classes.
        k: Number of neighbors that vote.
        metric: `"cosine"` or `"euclidean"`.
        temperature: The :math:`\tau` above; `None` gives every neighbor the same vote.

    Returns:
        The predicted class of each test row.

    Raises:
        ValueError: `k` is not in 1 to n, the metric is unknown, or the temperature not positive.

    Examples:
        >>> import jax.numpy as jnp
        >>> train = jnp.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> knn_predict(train, jnp.array([0, 0, 1]), jnp.array([[0.1, 2.0]]), num_classes=2, k=1)
        Array([1], dtype=int32)

    References:
        Z. Wu, Y. Xiong, S. Yu, D. Lin, Unsupervised Feature Learning via Non-Parametric Instance
        Discrimination, arXiv 1805.01978, 2018, Section 3.4 (the cosine vote and its temperature).
    """
    if not 1 <= k <= len(train_features):
        raise ValueError(
            f"k must be between 1 and the number of training rows ({len(train_features)}), got {k}"
        )
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"metric must be 'cosine' or 'euclidean', got {metric!r}")
    if temperature is not None and not temperature > 0:
        raise ValueError(f"temperature must be positive or None, got {temperature}")
    return _knn_predict(
        jnp.asarray(train_features),
        jnp.asarray(train_labels, jnp.int32),
        jnp.asarray(test_features),
        jnp.float32(jnp.inf if temperature is None else temperature),
        k=k,
        metric=metric,
        num_classes=num_classes,
        block=int(np.clip(_MAX_SIMILARITIES // len(train_features), 1, 1024)),
    )


def knn_accuracy(
    train_features: Float[Array | np.ndarray, "n d"],
    train_labels: Int[Array | np.ndarray, " n"],
    test_features: Float[Array | np.ndarray, "m d"],
    test_labels: Int[Array | np.ndarray, " m"],
    *,
    num_classes: int,
    k: int = 20,
    metric: Literal["cosine", "euclidean"] = "cosine",
    temperature: float | None = 0.07,
) -> float:
    """Fraction of test rows that :func:`knn_predict` gets right.

    Args:
        train_features: Rows that vote.
        train_labels: Their classes.
        test_features: Rows to classify.
        test_labels: Their true classes.
        num_classes: Number of classes.
        k: Number of neighbors that vote; all rows when there are fewer.
        metric: `"cosine"` or `"euclidean"`.
        temperature: Sharpness of the votes, see :func:`knn_predict`.

    Returns:
        The accuracy, in [0, 1].

    Raises:
        ValueError: A label is outside 0 to `num_classes - 1`, or see :func:`knn_predict`.

    Examples:
        >>> import jax.numpy as jnp
        >>> x, y = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([0, 1])
        >>> knn_accuracy(x, y, x, y, num_classes=2, k=1)
        1.0
    """
    _check_labels("train_labels", train_labels, num_classes)
    test_labels = _check_labels("test_labels", test_labels, num_classes)
    predicted = knn_predict(
        train_features,
        train_labels,
        test_features,
        num_classes=num_classes,
        k=min(k, len(train_features)),
        metric=metric,
        temperature=temperature,
    )
    return float(np.mean(np.asarray(predicted) == test_labels))


# --- multinomial logistic regression ------------------------------------------------------------


def _cross_entropy(logits: Float[Array, "n c"], labels: Int[Array, " n"]) -> Float[Array, " n"]:
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)


def _affine(
    features: Float[Array, "n d"], parameters: Float[Array, "d_plus_1 c"]
) -> Float[Array, "n c"]:
    """Logits; the last row of the parameters is the bias."""
    return jnp.matmul(features, parameters[:-1], precision=_HIGHEST) + parameters[-1:]


def _fit(
    features: Float[Array, "n d"],
    labels: Int[Array, " n"],
    weights: Float[Array, " n"],
    penalty: Float[Array, ""],
    init: Float[Array, "d_plus_1 c"],
    tolerance: Float[Array, ""],
    max_steps: Int[Array, ""],
    *,
    precondition: bool = False,
) -> Float[Array, "d_plus_1 c"]:
    """Minimize the weighted mean cross-entropy plus `penalty / 2` times the squared weights.

    Weights and bias live in one array: a single leaf halves the time XLA takes to compile L-BFGS,
    which for small data is far more than the time it takes to run. The objective is convex, so
    sufficient decrease is all the line search has to ensure.

    With `precondition`, the weights are sought in coordinates where the features are white. The
    covariance of the features bounds the curvature of the cross-entropy (Boehning 1992), so that a
    dozen steps do where pixels, whose variances span five decades, would take hundreds.
    """
    weights = weights / jnp.sum(weights)
    start, restore = init, lambda parameters: parameters
    if precondition:
        start, restore = _whitened(features, weights, penalty, init)

    def objective(parameters):
        parameters = restore(parameters)
        data = jnp.sum(weights * _cross_entropy(_affine(features, parameters), labels))
        return data + 0.5 * penalty * jnp.sum(parameters[:-1] ** 2)

    optimizer = optax.lbfgs(
        memory_size=10,
        # The tolerance lets steps through whose gain is lost in float32 rounding; without it the
        # search shrinks the last steps to nothing.
        linesearch=optax.scale_by_backtracking_linesearch(
            max_backtracking_steps=15, store_grad=True, rtol=1e-6
        ),
    )
    value_and_grad = optax.value_and_grad_from_state(objective)

    def unfinished(carry):
        _, _, step, gradient = carry
        return (step < max_steps) & (gradient > tolerance)

    def body(carry):
        parameters, state, step, _ = carry
        value, grad = value_and_grad(parameters, state=state)
        updates, state = optimizer.update(
            grad, state, parameters, value=value, grad=grad, value_fn=objective
        )
        size = jnp.max(jnp.abs(jnp.asarray(grad)))
        return optax.apply_updates(parameters, updates), state, step + 1, size

    carry = (start, optimizer.init(start), jnp.int32(0), jnp.float32(jnp.inf))
    return restore(jnp.asarray(lax.while_loop(unfinished, body, carry)[0]))


def _whitened(
    features: Float[Array, "n d"],
    weights: Float[Array, " n"],
    penalty: Float[Array, ""],
    parameters: Float[Array, "d_plus_1 c"],
) -> tuple[Float[Array, "d_plus_1 c"], Callable[[Array], Array]]:
    """Parameters in coordinates where the curvature is about 1, and the way back."""
    covariance = jnp.matmul((features * weights[:, None]).T, features, precision=_HIGHEST)
    # Half the covariance bounds the curvature. The rest keeps a singular one factorizable.
    ridge = penalty + 1e-6 * jnp.trace(covariance) + jnp.finfo(jnp.float32).tiny
    identity = jnp.eye(len(covariance), dtype=jnp.float32)
    root = jnp.linalg.cholesky(0.5 * covariance + ridge * identity)
    back = lax.linalg.triangular_solve(root, identity, left_side=True, lower=True, transpose_a=True)

    def restore(white: Array) -> Array:
        return jnp.concatenate([jnp.matmul(back, white[:-1], precision=_HIGHEST), white[-1:]])

    start = jnp.matmul(root.T, parameters[:-1], precision=_HIGHEST)
    return jnp.concatenate([start, parameters[-1:]]), restore


_fit_one = jax.jit(partial(_fit, precondition=True))


@jax.jit
def _weighted_loss(
    features: Array, labels: Array, weights: Array, parameters: Array
) -> Float[Array, ""]:
    losses = _cross_entropy(_affine(features, parameters), labels)
    return jnp.sum(weights * losses) / jnp.sum(weights)


def linear_probe(
    train_features: Float[Array | np.ndarray, "n d"],
    train_labels: Int[Array | np.ndarray, " n"],
    *,
    num_classes: int,
    l2: float,
    tolerance: float = 1e-4,
    max_steps: int = 500,
) -> LinearProbe:
    r"""Fit a multinomial logistic regression on standardized features by L-BFGS.

    With :math:`z` the standardized features,

    .. math:: \min_{W, b}\; \frac1n \sum_i -\log \mathrm{softmax}(W^\top z_i + b)_{y_i}
        + \frac{\lambda d}{2} \lVert W \rVert_F^2 .

    The factor :math:`d` is the mean squared norm of :math:`z`: with it, one :math:`\lambda` means
    the same amount of shrinkage for features of 64 and of 1024 dimensions. In scikit-learn's terms,
    `C = 1 / (n * l2 * d)`. The bias is not penalized. The run stops when the largest entry of the
    gradient, in coordinates where the features are white, is below `tolerance`, or after
    `max_steps`.

    Args:
        train_features: Frozen features.
        train_labels: Their classes, 0 to `num_classes - 1`.
        num_classes: Number of classes.
        l2: The :math:`\lambda` above; see :func:`select_l2`.
        tolerance: Largest entry of the gradient at which to stop.
        max_steps: Largest number of L-BFGS steps.

    Returns:
        The probe; it takes raw features, see :func:`probe_logits`.

    Raises:
        ValueError: A label is out of range, or `l2` is negative.

    Examples:
        >>> import jax.numpy as jnp
        >>> x, y = jnp.arange(20.0)[:, None], (jnp.arange(20) >= 10).astype(jnp.int32)
        >>> probe = linear_probe(x, y, num_classes=2, l2=1e-3)
        >>> probe_logits(probe, jnp.array([[8.0], [11.0]])).argmax(axis=-1)
        Array([0, 1], dtype=int32)
    """
    labels = _check_labels("train_labels", train_labels, num_classes)
    if not l2 >= 0:
        raise ValueError(f"l2 must not be negative, got {l2}")
    mean, scale = _moments(train_features)
    features = _apply_moments(train_features, mean, scale)
    n, d = features.shape
    parameters = _fit_one(
        features,
        jnp.asarray(labels),
        jnp.ones(n),
        jnp.float32(l2 * d),
        jnp.zeros((d + 1, num_classes)),
        jnp.float32(tolerance),
        jnp.int32(max_steps),
    )
    return LinearProbe(mean, scale, parameters[:-1], parameters[-1])


@partial(jax.jit, static_argnames=("num_classes", "epochs", "batch_size"))
def _fit_adamw(
    key: PRNGKeyArray,
    features: Array,
    labels: Array,
    learning_rate: Array,
    weight_decay: Array,
    *,
    num_classes: int,
    epochs: int,
    batch_size: int,
) -> LinearProbe:
    n, d = features.shape
    mean, scale = _moments(features)
    steps = n // batch_size
    total = epochs * steps
    warmup = max(1, total // 20)
    schedule = optax.warmup_cosine_decay_schedule(0.0, 1.0, warmup, max(total, warmup + 1))
    optimizer = optax.chain(
        optax.scale_by_adam(),
        optax.add_decayed_weights(weight_decay, mask=(True, False)),
        optax.scale_by_schedule(schedule),
    )

    def loss(parameters, x, y):
        weights, bias = parameters
        logits = jnp.matmul(x, weights, precision=_HIGHEST) + bias[None, :]
        return jnp.mean(_cross_entropy(logits, y))

    def step(carry, index):
        parameters, state = carry
        # Standardized batch by batch: the features are never held a second time.
        x = _apply_moments(features[index], mean, scale)
        grads = jax.grad(loss)(parameters, x, labels[index])
        # Adam's bias correction is a float to an integer power, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(grads, state, parameters)
        updates = jax.tree.map(lambda u: -learning_rate * u, updates)
        return (optax.apply_updates(parameters, updates), state), None

    def epoch(i, carry):
        order = jax.random.permutation(jax.random.fold_in(key, i), n)
        batches = order[: steps * batch_size].reshape(steps, batch_size)
        return lax.scan(step, carry, batches)[0]

    parameters = (jnp.zeros((d, num_classes)), jnp.zeros(num_classes))
    carry = (parameters, optimizer.init(parameters))
    (weights, bias), _ = lax.fori_loop(0, epochs, epoch, carry)
    return LinearProbe(mean, scale, weights, bias)


def linear_probe_adamw(
    key: PRNGKeyArray,
    train_features: Float[Array | np.ndarray, "n d"],
    train_labels: Int[Array | np.ndarray, " n"],
    *,
    num_classes: int,
    epochs: int = 50,
    batch_size: int = 256,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-6,
) -> LinearProbe:
    """Fit the probe by AdamW on minibatches, for more rows than L-BFGS should sweep at every step.

    Warm-up over the first twentieth of the steps, then a cosine down to zero; a new permutation of
    the rows every epoch, whose last incomplete batch is left out; the bias does not decay.

    Args:
        key: Orders the minibatches.
        train_features: Frozen features, kept in their own dtype; standardized batch by batch.
        train_labels: Their classes, 0 to `num_classes - 1`.
        num_classes: Number of classes.
        epochs: Passes over the rows.
        batch_size: Rows a step; all of them when there are fewer.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled decay of the weights.

    Returns:
        The probe; it takes raw features.

    Raises:
        ValueError: A label is out of range, or `epochs` or `batch_size` is not positive.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([0, 0, 1, 1])
        >>> probe = linear_probe_adamw(jax.random.key(0), x, y, num_classes=2, learning_rate=0.1)
        >>> probe_logits(probe, x).argmax(axis=-1)
        Array([0, 0, 1, 1], dtype=int32)

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025: AdamW with weight decay 1e-6 on
        normalized features, warm-up and cosine. The learning rate, the batch and the epochs are not
        given there and are ours.
    """
    labels = _check_labels("train_labels", train_labels, num_classes)
    if epochs < 1:
        raise ValueError(f"epochs must be positive, got {epochs}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be positive, got {batch_size}")
    return _fit_adamw(
        key,
        jnp.asarray(train_features),
        jnp.asarray(labels),
        jnp.float32(learning_rate),
        jnp.float32(weight_decay),
        num_classes=num_classes,
        epochs=epochs,
        batch_size=min(batch_size, len(labels)),
    )


@jax.jit
def probe_logits(
    probe: LinearProbe, features: Float[Array | np.ndarray, "n d"]
) -> Float[Array, "n c"]:
    r"""Logits :math:`W^\top ((x - \mu) / \sigma) + b` of raw features.

    Args:
        probe: A fitted probe.
        features: Raw features, not standardized.

    Returns:
        A logit for each class.

    Examples:
        >>> import jax.numpy as jnp
        >>> probe = LinearProbe(jnp.ones(1), jnp.ones(1), jnp.array([[1.0, -1.0]]), jnp.zeros(2))
        >>> probe_logits(probe, jnp.array([[3.0]]))
        Array([[ 2., -2.]], dtype=float32)
    """
    x = _apply_moments(features, probe.mean, probe.scale)
    return jnp.matmul(x, probe.weights, precision=_HIGHEST) + probe.bias[None, :]


def probe_accuracy(
    probe: LinearProbe,
    features: Float[Array | np.ndarray, "n d"],
    labels: Int[Array | np.ndarray, " n"],
) -> float:
    """Fraction of rows whose largest logit is that of their class.

    Args:
        probe: A fitted probe.
        features: Raw features, not standardized.
        labels: True classes.

    Returns:
        The accuracy, in [0, 1].

    Examples:
        >>> import jax.numpy as jnp
        >>> probe = LinearProbe(jnp.zeros(1), jnp.ones(1), jnp.array([[-1.0, 1.0]]), jnp.zeros(2))
        >>> probe_accuracy(probe, jnp.array([[1.0], [-1.0]]), jnp.array([1, 1]))
        0.5
    """
    predicted = jnp.argmax(probe_logits(probe, features), axis=-1)
    return float(np.mean(np.asarray(predicted) == np.asarray(labels)))


def select_l2(
    key: PRNGKeyArray,
    train_features: Float[Array | np.ndarray, "n d"],
    train_labels: Int[Array | np.ndarray, " n"],
    *,
    num_classes: int,
    grid: Sequence[float] = L2_GRID,
    validation_fraction: float = 0.2,
    tolerance: float = 1e-4,
    max_steps: int = 500,
) -> float:
    """Choose the penalty of :func:`linear_probe` on a validation part of the training rows.

    The penalties are visited from the largest down, each fit starting from the one before. The one
    with the smallest validation cross-entropy is chosen, which on a small part is far less a matter
    of luck than the number of errors.

    Args:
        key: Draws the validation part.
        train_features: Frozen features.
        train_labels: Their classes, 0 to `num_classes - 1`.
        num_classes: Number of classes.
        grid: Penalties to try.
        validation_fraction: Part of each class that is held out, at least one example of every
            class that has two.
        tolerance: See :func:`linear_probe`.
        max_steps: See :func:`linear_probe`.

    Returns:
        The chosen penalty.

    Raises:
        ValueError: No class has two examples, the grid is empty, or the fraction is not in (0, 1).

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x, y = jnp.arange(20.0)[:, None], (jnp.arange(20) >= 10).astype(jnp.int32)
        >>> select_l2(jax.random.key(0), x, y, num_classes=2, grid=(10.0, 1e-3))
        0.001
    """
    labels = _check_labels("train_labels", train_labels, num_classes)
    if not grid:
        raise ValueError("grid must hold at least one penalty, got none")
    if not 0 < validation_fraction < 1:
        raise ValueError(f"validation_fraction must be in (0, 1), got {validation_fraction}")
    held_out = stratified_mask(
        key, jnp.asarray(labels), validation_fraction, num_classes=num_classes
    )
    if not bool(jnp.any(held_out)):
        raise ValueError("train_labels must hold two examples of some class, got one of each")
    mean, scale = _moments(train_features)  # no label is needed for these: all rows
    features = _apply_moments(train_features, mean, scale)
    d = features.shape[1]
    fitted, validation = (~held_out).astype(jnp.float32), held_out.astype(jnp.float32)
    parameters = jnp.zeros((d + 1, num_classes))
    candidates = []
    # A row is left out by weight 0, so that every fit here and the final one share one compilation.
    for l2 in sorted(grid, reverse=True):
        parameters = _fit_one(
            features,
            jnp.asarray(labels),
            fitted,
            jnp.float32(l2 * d),
            parameters,
            jnp.float32(tolerance),
            jnp.int32(max_steps),
        )
        loss = _weighted_loss(features, jnp.asarray(labels), validation, parameters)
        candidates.append((float(loss), -float(l2)))
    return -min(candidates)[1]


def linear_accuracy(
    key: PRNGKeyArray,
    train_features: Float[Array | np.ndarray, "n d"],
    train_labels: Int[Array | np.ndarray, " n"],
    test_features: Float[Array | np.ndarray, "m d"],
    test_labels: Int[Array | np.ndarray, " m"],
    *,
    num_classes: int,
    l2: float | None = None,
    solver: Literal["lbfgs", "adamw"] = "lbfgs",
) -> float:
    """Test accuracy of a linear probe on all training rows.

    Args:
        key: Draws the validation part (`"lbfgs"`) or orders the minibatches (`"adamw"`).
        train_features: Frozen features.
        train_labels: Their classes.
        test_features: Features to classify; they choose nothing.
        test_labels: Their true classes.
        num_classes: Number of classes.
        l2: Penalty of the L-BFGS fit; `None` chooses it by :func:`select_l2`, then fits all rows.
        solver: `"lbfgs"`, or `"adamw"` with the defaults of :func:`linear_probe_adamw`.

    Returns:
        The accuracy, in [0, 1].

    Raises:
        ValueError: A label is out of range, the solver is unknown, or `l2` comes with
            `"adamw"`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x, y = jnp.arange(20.0)[:, None], (jnp.arange(20) >= 10).astype(jnp.int32)
        >>> linear_accuracy(jax.random.key(0), x, y, x, y, num_classes=2, l2=1e-5)
        1.0
    """
    test_labels = _check_labels("test_labels", test_labels, num_classes)
    if solver == "adamw":
        if l2 is not None:
            raise ValueError(f"l2 must be None with solver='adamw' (it decays weights), got {l2}")
        probe = linear_probe_adamw(key, train_features, train_labels, num_classes=num_classes)
    elif solver == "lbfgs":
        if l2 is None:
            l2 = select_l2(key, train_features, train_labels, num_classes=num_classes)
        probe = linear_probe(train_features, train_labels, num_classes=num_classes, l2=l2)
    else:
        raise ValueError(f"solver must be 'lbfgs' or 'adamw', got {solver!r}")
    return probe_accuracy(probe, test_features, test_labels)


# --- few labels ---------------------------------------------------------------------------------


def _shuffle_by_class(
    key: PRNGKeyArray, labels: Int[Array, " n"], num_classes: int
) -> tuple[Int[Array, " n"], Int[Array, " c"], Int[Array, " c"]]:
    """Indices sorted by class and at random within it; where each class starts; its size."""
    order = jnp.lexsort((jax.random.uniform(key, labels.shape), labels))
    counts = jnp.bincount(labels, length=num_classes)
    return order, jnp.cumsum(counts) - counts, counts


@partial(jax.jit, static_argnames=("num_classes",))
def stratified_mask(
    key: PRNGKeyArray,
    labels: Int[Array | np.ndarray, " n"],
    fraction: float | Float[Array, ""],
    *,
    num_classes: int,
) -> Bool[Array, " n"]:
    """Mark a random part of every class.

    Of a class with m examples, `round(fraction * m)` are marked, but at least one and at most
    m - 1 when m > 1, and none when m = 1.

    Args:
        key: Draws the examples.
        labels: Classes, 0 to `num_classes - 1`.
        fraction: Part of each class to mark.
        num_classes: Number of classes.

    Returns:
        True for the examples of the part.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> y = jnp.array([0, 0, 0, 0, 1, 1, 2])
        >>> mask = stratified_mask(jax.random.key(0), y, 0.5, num_classes=3)
        >>> [int((mask & (y == c)).sum()) for c in range(3)]
        [2, 1, 0]
    """
    labels = jnp.asarray(labels, jnp.int32)
    order, starts, counts = _shuffle_by_class(key, labels, num_classes)
    marked = jnp.round(fraction * counts.astype(jnp.float32)).astype(jnp.int32)
    marked = jnp.clip(marked, jnp.minimum(1, counts - 1), jnp.maximum(counts - 1, 0))
    sorted_labels = labels[order]
    rank = jnp.arange(len(labels), dtype=jnp.int32) - starts[sorted_labels].astype(jnp.int32)
    return jnp.zeros(labels.shape, bool).at[order].set(rank < marked[sorted_labels])


@partial(jax.jit, static_argnames=("num_classes", "shots", "num_draws"))
def _few_shot(
    key: PRNGKeyArray,
    train_features: Array,
    train_labels: Array,
    test_features: Array,
    test_labels: Array,
    penalty: Array,
    *,
    num_classes: int,
    shots: tuple[int, ...],
    num_draws: int,
) -> Float[Array, "s {num_draws}"]:
    """Accuracy for each number of shots and each draw.

    Every problem has the rows of the largest number of shots, those beyond its own with weight 0:
    all of them run through one compiled solver. The draws of one number of shots run side by side,
    the numbers of shots one after the other, which bounds memory.
    """
    train, test = standardize(train_features, test_features)
    d = train.shape[1]

    def draw(draw_key):
        order, starts, _ = _shuffle_by_class(draw_key, train_labels, num_classes)
        return order[starts[:, None] + jnp.arange(max(shots))[None, :]]  # (c, shots)

    rows = jax.vmap(draw)(jax.random.split(key, num_draws))
    target = jnp.broadcast_to(
        jnp.arange(num_classes, dtype=jnp.int32)[:, None], (num_classes, max(shots))
    ).reshape(-1)

    def fit(count, index):
        use = jnp.broadcast_to(jnp.arange(max(shots))[None, :] < count, index.shape)
        return _fit(
            train[index.reshape(-1)],
            target,
            use.reshape(-1).astype(jnp.float32),
            penalty,
            jnp.zeros((d + 1, num_classes)),
            jnp.float32(1e-4),
            jnp.int32(200),
        )

    def score(parameters):
        return jnp.mean(jnp.argmax(_affine(test, parameters), axis=-1) == test_labels)

    def all_draws(count):
        fits = jax.vmap(fit, in_axes=(None, 0))(count, rows)
        return lax.map(score, fits)  # one at a time: (draws, m, c) logits would be large

    return lax.map(all_draws, jnp.asarray(shots, jnp.int32))


def _few_shot_accuracies(
    key: PRNGKeyArray,
    train_features: Float[Array | np.ndarray, "n d"],
    train_labels: Int[np.ndarray, " n"],
    test_features: Float[Array | np.ndarray, "m d"],
    test_labels: Int[np.ndarray, " m"],
    *,
    num_classes: int,
    shots: tuple[int, ...],
    num_draws: int,
    l2: float,
) -> dict[int, FewShot]:
    accuracies = np.asarray(
        _few_shot(
            key,
            jnp.asarray(train_features),
            jnp.asarray(train_labels, jnp.int32),
            jnp.asarray(test_features),
            jnp.asarray(test_labels, jnp.int32),
            jnp.float32(l2 * train_features.shape[1]),
            num_classes=num_classes,
            shots=shots,
            num_draws=num_draws,
        )
    )
    return {
        s: FewShot(float(row.mean()), float(row.std()))
        for s, row in zip(shots, accuracies, strict=True)
    }


def few_shot_accuracy(
    key: PRNGKeyArray,
    train_features: Float[Array | np.ndarray, "n d"],
    train_labels: Int[Array | np.ndarray, " n"],
    test_features: Float[Array | np.ndarray, "m d"],
    test_labels: Int[Array | np.ndarray, " m"],
    *,
    num_classes: int,
    shots: int,
    num_draws: int = 10,
    l2: float = 1e-3,
) -> FewShot:
    r"""Test accuracy of a linear probe that sees `shots` labels a class, over random draws.

    Each draw takes `shots` training rows of every class and fits the objective of
    :func:`linear_probe` to them. Features are standardized with the statistics of *all* training
    rows: those need no labels, and ten rows would give poor ones. The penalty is fixed, because one
    label a class leaves nothing to validate on; on handwritten digits (pixels, random and trained
    features) the accuracy moves by at most 0.7 points between 1e-5 and 1e-3.

    The draws depend on `key`, the labels and nothing else: two encoders compared under one key
    see the same labeled examples, and the examples of fewer shots are among those of more.

    Args:
        key: Draws the labeled examples.
        train_features: Frozen features of the rows to draw from.
        train_labels: Their classes.
        test_features: Features to classify.
        test_labels: Their true classes.
        num_classes: Number of classes.
        shots: Labels a class.
        num_draws: Number of draws.
        l2: Penalty, relative to the dimension as in :func:`linear_probe`.

    Returns:
        Mean and standard deviation (over draws, :math:`1/n`) of the accuracy.

    Raises:
        ValueError: A class has fewer than `shots` examples, a label is out of range, or `shots`
            or `num_draws` is not positive.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x, y = jnp.arange(20.0)[:, None], (jnp.arange(20) >= 10).astype(jnp.int32)
        >>> result = few_shot_accuracy(jax.random.key(0), x, y, x, y, num_classes=2, shots=10)
        >>> result.mean, result.std
        (1.0, 0.0)
    """
    train_labels = _check_labels("train_labels", train_labels, num_classes)
    test_labels = _check_labels("test_labels", test_labels, num_classes)
    if shots < 1:
        raise ValueError(f"shots must be positive, got {shots}")
    if num_draws < 1:
        raise ValueError(f"num_draws must be positive, got {num_draws}")
    counts = np.bincount(train_labels, minlength=num_classes)
    if counts.min() < shots:
        c = int(counts.argmin())
        raise ValueError(
            f"shots must be at most the number of training examples of every class, "
            f"got {shots}, and class {c} has {counts[c]}"
        )
    return _few_shot_accuracies(
        key,
        train_features,
        train_labels,
        test_features,
        test_labels,
        num_classes=num_classes,
        shots=(shots,),
        num_draws=num_draws,
        l2=l2,
    )[shots]


# --- all of them --------------------------------------------------------------------------------


def probe_suite(
    key: PRNGKeyArray,
    train_features: Float[Array | np.ndarray, "n d"],
    train_labels: Int[Array | np.ndarray, " n"],
    test_features: Float[Array | np.ndarray, "m d"],
    test_labels: Int[Array | np.ndarray, " m"],
    *,
    num_classes: int,
    shots: Sequence[int] = (1, 5, 10),
    num_draws: int = 10,
    k: int = 20,
    metric: Literal["cosine", "euclidean"] = "cosine",
    temperature: float | None = 0.07,
    l2: float | None = None,
    few_shot_l2: float = 1e-3,
    solver: Literal["lbfgs", "adamw"] = "lbfgs",
) -> dict[str, float]:
    """Run every probe on one set of features.

    Called with the same key and labels for an encoder, the untrained encoder and the pixels, it
    gives numbers that can be compared: the validation part and the few labeled examples are the
    same.

    Args:
        key: Draws the validation part and the few labeled examples.
        train_features: Frozen features.
        train_labels: Their classes; a row without label is the caller's to drop.
        test_features: Features to classify.
        test_labels: Their true classes.
        num_classes: Number of classes.
        shots: Labels a class; a number that some class cannot serve is left out and logged.
        num_draws: Draws of the labeled examples.
        k: Neighbors that vote.
        metric: Metric of the neighbors.
        temperature: Sharpness of the votes.
        l2: Penalty of the linear probe; `None` chooses it on a validation part.
        few_shot_l2: Penalty of the few-shot probes.
        solver: Solver of the linear probe.

    Returns:
        Accuracies in [0, 1]: `knn`, `linear`, and for each number of shots `few_shot_S` with
        its standard deviation over draws `few_shot_S_std`.

    Raises:
        ValueError: A label is out of range or an option is invalid, see the single probes.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x, y = jnp.arange(20.0)[:, None], (jnp.arange(20) >= 10).astype(jnp.int32)
        >>> suite = probe_suite(jax.random.key(0), x, y, x, y, num_classes=2, shots=(10, 99))
        >>> list(suite)
        ['knn', 'linear', 'few_shot_10', 'few_shot_10_std']
    """
    train_labels = _check_labels("train_labels", train_labels, num_classes)
    test_labels = _check_labels("test_labels", test_labels, num_classes)
    # Uploaded once for all probes.
    train_features, test_features = jnp.asarray(train_features), jnp.asarray(test_features)
    data = (train_features, train_labels, test_features, test_labels)
    linear_key, few_shot_key = jax.random.split(key)
    suite = {
        "knn": knn_accuracy(
            *data, num_classes=num_classes, k=k, metric=metric, temperature=temperature
        ),
        "linear": linear_accuracy(linear_key, *data, num_classes=num_classes, l2=l2, solver=solver),
    }
    counts = np.bincount(train_labels, minlength=num_classes)
    smallest = int(counts.argmin())
    served = tuple(s for s in shots if 1 <= s <= counts[smallest])
    for s in shots:
        if s not in served:
            _logger.warning(
                "few_shot_%d is left out: class %d has %d training examples",
                s,
                smallest,
                counts[smallest],
            )
    if served:
        few = _few_shot_accuracies(
            few_shot_key,
            *data,
            num_classes=num_classes,
            shots=served,
            num_draws=num_draws,
            l2=few_shot_l2,
        )
        for s, result in few.items():
            suite[f"few_shot_{s}"] = result.mean
            suite[f"few_shot_{s}_std"] = result.std
    return suite


def _check_labels(
    name: str, labels: Int[Array | np.ndarray, " n"], num_classes: int
) -> Int[np.ndarray, " n"]:
    """Labels on the host as int32, all of them in range."""
    labels = np.asarray(labels)
    if len(labels) == 0:
        raise ValueError(f"{name} must not be empty")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"{name} must be between 0 and {num_classes - 1} (rows without label dropped), "
            f"got {low if low < 0 else high}"
        )
    return labels.astype(np.int32)
