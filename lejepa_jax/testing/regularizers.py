"""Checks of regularizers: what the loss relies on, see `lejepa_jax.objectives.regularizers`."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lejepa_jax.objectives.regularizers.names import (
    embedding_transform,
    regularizer_null_mean,
    simulate_null_mean,
)
from lejepa_jax.objectives.regularizers.protocol import Regularizer
from lejepa_jax.testing.statistics import Way, assert_close, check_statistic, draw
from lejepa_jax.training.microbatch import microbatched_value_and_grad

_VIEWS, _NUM_SAMPLES, _FEATURES = 2, 12, 3


def check_regularizer(
    regularizer: Regularizer | Mapping[str, Regularizer],
    *,
    widest: float = 50.0,
    devices: Sequence[int] = (2, 4, 8),
    ways: Sequence[Way] = ("shard_map", "vmap"),
    null_draws: int = 256,
    null_tolerance: float = 0.02,
) -> None:
    """Check all that the LeJEPA loss relies on; every failure says what is wrong.

    - all that :func:`check_statistic` has: a scalar in float32, gradients in the dtype of the
      samples; neither order nor masked rows matter; value and gradient are finite at collapse, at
      ties, far out, in bfloat16, with two, one or no samples; on devices with unequal valid counts
      they are those of one device;
    - a leading axis is the mean of its entries, with a mask or without;
    - value and gradient are finite in one dimension, and for one sample of it;
    - a transform that is declared changes nothing the second time;
    - the gradient in micro-batches is that of the whole;
    - a null mean that is declared is that of a simulation.

    Args:
        regularizer: A regularizer, or several by their names: all of them are compiled together.
        widest: Scale of the cloud that lies farthest out.
        devices: Numbers of devices; those that are not there are left out.
        ways: How samples are mapped over them; `vmap` over 8, and `pmap` too.
        null_draws: Clouds of the simulation; 0 for none.
        null_tolerance: By which part of itself a null mean may be off, beside 5 standard errors.

    Raises:
        AssertionError: For the first that does not hold.

    Examples:
        >>> from lejepa_jax.objectives.regularizers import covariance
        >>> check_regularizer(covariance, devices=(), ways=(), null_draws=0)
        >>> def mean(key, z, *, mask=None, axis_name=None):
        ...     return (z.astype("float32") ** 2).mean()
        >>> check_regularizer(mean, devices=(), ways=(), null_draws=0)
        Traceback (most recent call last):
            ...
        AssertionError: regularizer: a mask is not the same as leaving out: the value: ...
    """
    table = dict(regularizer) if isinstance(regularizer, Mapping) else {"regularizer": regularizer}
    key = jax.random.key(3)
    keyed = {name: functools.partial(own, key) for name, own in table.items()}
    check_statistic(keyed, per_column=False, widest=widest, devices=devices, ways=ways)
    _check_leading_axes(keyed)
    _check_one_dimension(keyed)
    _check_transforms(table, keyed)
    _check_microbatches(keyed)
    if null_draws:
        check_null_means(table, num_draws=null_draws, tolerance=null_tolerance)


def check_null_means(
    table: Mapping[str, Regularizer],
    *,
    num_samples: int = 32,
    dim: int = 5,
    num_draws: int = 256,
    tolerance: float = 0.02,
) -> None:
    """Check that null means that are declared are those of a simulation.

    Args:
        table: Regularizers by name.
        num_samples: Samples of a cloud.
        dim: Dimension of it.
        num_draws: Number of clouds.
        tolerance: By which part of itself a null mean may be off, beside 5 standard errors.

    Raises:
        AssertionError: If one is not.

    Examples:
        >>> from lejepa_jax.objectives.regularizers import mmd
        >>> check_null_means({"mmd": mmd})
    """
    for name, own in table.items():
        declared = regularizer_null_mean(own, num_samples=num_samples, dim=dim)
        if declared is None:
            continue
        mean, error = simulate_null_mean(
            jax.random.key(4), own, num_samples=num_samples, dim=dim, num_draws=num_draws
        )
        off = abs(mean - declared)
        assert off <= 5 * error + tolerance * abs(declared), (
            f"{name}: the null mean is {mean:.4g} +- {error:.2g} in a simulation "
            f"({num_samples} samples, {dim} dimensions), declared {declared:.4g}"
        )


def _value_and_grad(table: Mapping[str, Any]) -> Any:
    def steps(z: Any, mask: Any = None) -> dict[str, tuple[Any, Any]]:
        return {
            name: jax.value_and_grad(lambda z, own=own: own(z, mask=mask))(z)
            for name, own in table.items()
        }

    return jax.jit(steps)


def _check_leading_axes(table: Mapping[str, Any]) -> None:
    views = jnp.stack([draw(_NUM_SAMPLES, _FEATURES, seed=8 + i) for i in range(_VIEWS)])
    masks = np.arange(_VIEWS * _NUM_SAMPLES).reshape(_VIEWS, _NUM_SAMPLES) % 5 > 0
    step, share = _value_and_grad(table), 1 / _VIEWS
    for mask in (None, jnp.asarray(masks)):
        together = step(views, mask)
        apart = [step(view, None if mask is None else mask[i]) for i, view in enumerate(views)]
        for name, (value, gradient) in together.items():
            what = "a leading axis is not the mean of its entries:"
            wanted = sum(one[name][0] for one in apart) * share
            assert_close(name, f"{what} the value", value, wanted, rtol=1e-4, atol=1e-6)
            wanted = jnp.stack([one[name][1] for one in apart]) * share
            scale = float(jnp.abs(wanted).max())
            assert_close(name, f"{what} the gradient", gradient, wanted, atol=1e-4 * scale)


def _check_one_dimension(table: Mapping[str, Any]) -> None:
    step = _value_and_grad(table)
    for count in (_NUM_SAMPLES, 1):
        with jax.debug_nans(False):
            found = step(draw(count, 1, seed=10))
        for name, parts in found.items():
            for part, values in zip(("value", "gradient"), parts, strict=True):
                finite = bool(jnp.isfinite(values).all())
                assert finite, f"{name}: the {part} of {count} x 1 is not finite"


def _check_transforms(table: Mapping[str, Regularizer], keyed: Mapping[str, Any]) -> None:
    cloud = draw(_NUM_SAMPLES, _FEATURES, seed=11)
    for name, own in table.items():
        transform = embedding_transform(own)
        if transform is not None:
            once, twice = keyed[name](cloud), keyed[name](transform(cloud))
            what = "the transform is not what the regularizer applies itself"
            assert_close(name, what, twice, once, rtol=1e-5, atol=1e-6)


def _check_microbatches(table: Mapping[str, Any]) -> None:
    weight, x = draw(_FEATURES, _FEATURES, seed=12), draw(_NUM_SAMPLES, _FEATURES, seed=13)

    def encode(weight: Any, x: Any) -> Any:
        return jnp.tanh(jnp.matmul(x, weight, precision="highest"))

    def steps(weight: Any, x: Any) -> dict[str, tuple[Any, Any]]:
        def step(own: Any) -> tuple[Any, Any]:
            whole = jax.grad(lambda weight: own(encode(weight, x)))(weight)
            parts = microbatched_value_and_grad(encode, lambda _, z: own(z), num_microbatches=3)(
                weight, x
            )
            return whole, parts.gradient

        return {name: step(own) for name, own in table.items()}

    for name, (whole, parts) in jax.jit(steps)(weight, x).items():
        scale = float(jnp.abs(whole).max())
        what = "the gradient in micro-batches differs from that of the whole"
        assert_close(name, what, parts, whole, atol=2e-5 * scale)
