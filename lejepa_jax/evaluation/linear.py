"""A linear classifier on frozen features, fitted by L-BFGS."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from lejepa_jax.checks import check_positive
from lejepa_jax.evaluation.labels import check_labels, check_penalty, stratified_mask
from lejepa_jax.evaluation.standardization import apply_moments, feature_moments

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


def _cross_entropy(logits: Float[Array, "n c"], labels: Int[Array, " n"]) -> Float[Array, " n"]:
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)


def affine_logits(
    features: Float[Array, "n d"], parameters: Float[Array, "d_plus_1 c"]
) -> Float[Array, "n c"]:
    """Logits; the last row of the parameters is the bias."""
    return jnp.matmul(features, parameters[:-1], precision=_HIGHEST) + parameters[-1:]


def fit_logistic(
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
        data = jnp.sum(weights * _cross_entropy(affine_logits(features, parameters), labels))
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


_fit_whitened = jax.jit(partial(fit_logistic, precondition=True))


def _fit_one(*arguments: Array) -> Float[Array, "d_plus_1 c"]:
    # The line search of optax would mix numbers of 32 and 64 bits, where those are enabled.
    with jax.enable_x64(False):
        return _fit_whitened(*arguments)


@jax.jit
def _weighted_loss(
    features: Array, labels: Array, weights: Array, parameters: Array
) -> Float[Array, ""]:
    losses = _cross_entropy(affine_logits(features, parameters), labels)
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
        ValueError: A label is out of range, `l2` is negative or not finite, or `max_steps` is not
            positive.

    Examples:
        >>> x, y = jnp.arange(20.0)[:, None], (jnp.arange(20) >= 10).astype(jnp.int32)
        >>> probe = linear_probe(x, y, num_classes=2, l2=1e-3)
        >>> probe_logits(probe, jnp.array([[8.0], [11.0]])).argmax(axis=-1)
        Array([0, 1], dtype=int32)
    """
    labels = check_labels("train_labels", train_labels, num_classes, train_features)
    check_penalty("l2", l2)
    check_positive("max_steps", max_steps)
    mean, scale = feature_moments(train_features)
    features = apply_moments(train_features, mean, scale)
    n, d = features.shape
    parameters = _fit_one(
        features,
        jnp.asarray(labels),
        jnp.ones(n, jnp.float32),
        jnp.float32(l2 * d),
        jnp.zeros((d + 1, num_classes), jnp.float32),
        jnp.float32(tolerance),
        jnp.int32(max_steps),
    )
    return LinearProbe(mean, scale, parameters[:-1], parameters[-1])


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
        >>> probe = LinearProbe(jnp.ones(1), jnp.ones(1), jnp.array([[1.0, -1.0]]), jnp.zeros(2))
        >>> probe_logits(probe, jnp.array([[3.0]]))
        Array([[ 2., -2.]], dtype=float32)
    """
    x = apply_moments(features, probe.mean, probe.scale)
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
        >>> x, y = jnp.arange(20.0)[:, None], (jnp.arange(20) >= 10).astype(jnp.int32)
        >>> select_l2(jax.random.key(0), x, y, num_classes=2, grid=(10.0, 1e-3))
        0.001
    """
    labels = check_labels("train_labels", train_labels, num_classes, train_features)
    if not grid:
        raise ValueError("grid must hold at least one penalty, got none")
    for l2 in grid:
        check_penalty("grid", l2)
    if not 0 < validation_fraction < 1:
        raise ValueError(f"validation_fraction must be in (0, 1), got {validation_fraction}")
    held_out = stratified_mask(
        key, jnp.asarray(labels), validation_fraction, num_classes=num_classes
    )
    if not bool(jnp.any(held_out)):
        raise ValueError("train_labels must hold two examples of some class, got one of each")
    mean, scale = feature_moments(train_features)  # no label is needed for these: all rows
    features = apply_moments(train_features, mean, scale)
    d = features.shape[1]
    fitted, validation = (~held_out).astype(jnp.float32), held_out.astype(jnp.float32)
    parameters = jnp.zeros((d + 1, num_classes), jnp.float32)
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


def linear_predict(
    key: PRNGKeyArray,
    train_features: Float[Array | np.ndarray, "n d"],
    train_labels: Int[Array | np.ndarray, " n"],
    test_features: Float[Array | np.ndarray, "m d"],
    *,
    num_classes: int,
    l2: float | None = None,
) -> Int[Array, " m"]:
    """Predict the class of each test row by a linear probe on all training rows.

    Args:
        key: Draws the validation part.
        train_features: Frozen features.
        train_labels: Their classes.
        test_features: Features to classify; they choose nothing.
        num_classes: Number of classes.
        l2: Penalty; `None` chooses it by :func:`select_l2`, then fits all rows.

    Returns:
        The predicted class of each test row.

    Raises:
        ValueError: A label is out of range.

    Examples:
        >>> x, y = jnp.arange(20.0)[:, None], (jnp.arange(20) >= 10).astype(jnp.int32)
        >>> rows = jnp.array([[8.0], [11.0]])
        >>> linear_predict(jax.random.key(0), x, y, rows, num_classes=2, l2=1e-5)
        Array([0, 1], dtype=int32)
    """
    if l2 is None:
        l2 = select_l2(key, train_features, train_labels, num_classes=num_classes)
    probe = linear_probe(train_features, train_labels, num_classes=num_classes, l2=l2)
    return jnp.argmax(probe_logits(probe, test_features), axis=-1).astype(jnp.int32)


def linear_accuracy(
    key: PRNGKeyArray,
    train_features: Float[Array | np.ndarray, "n d"],
    train_labels: Int[Array | np.ndarray, " n"],
    test_features: Float[Array | np.ndarray, "m d"],
    test_labels: Int[Array | np.ndarray, " m"],
    *,
    num_classes: int,
    l2: float | None = None,
) -> float:
    """Fraction of test rows that :func:`linear_predict` gets right.

    Args:
        key: Draws the validation part.
        train_features: Frozen features.
        train_labels: Their classes.
        test_features: Features to classify; they choose nothing.
        test_labels: Their true classes.
        num_classes: Number of classes.
        l2: Penalty; `None` chooses it by :func:`select_l2`, then fits all rows.

    Returns:
        The accuracy, in [0, 1].

    Raises:
        ValueError: A label is out of range.

    Examples:
        >>> x, y = jnp.arange(20.0)[:, None], (jnp.arange(20) >= 10).astype(jnp.int32)
        >>> linear_accuracy(jax.random.key(0), x, y, x, y, num_classes=2, l2=1e-5)
        1.0
    """
    test_labels = check_labels("test_labels", test_labels, num_classes, test_features)
    predicted = linear_predict(
        key, train_features, train_labels, test_features, num_classes=num_classes, l2=l2
    )
    return float(np.mean(np.asarray(predicted) == test_labels))
