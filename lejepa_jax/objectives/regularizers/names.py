"""Regularizers by name, for command lines, and what each draws embeddings towards."""

import functools
import inspect
from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lejepa_jax.checks import check_positive
from lejepa_jax.choices import choose
from lejepa_jax.objectives.directions import directions_by_name
from lejepa_jax.objectives.regularizers.covariances import covariance, covariance_null_mean
from lejepa_jax.objectives.regularizers.kernels import ksd, ksd_null_mean, mmd, mmd_null_mean
from lejepa_jax.objectives.regularizers.protocol import (
    DescribedRegularizer,
    Regularizer,
    Transform,
    bound_options,
)
from lejepa_jax.objectives.regularizers.quantiles import quantile_distance
from lejepa_jax.objectives.regularizers.rectified import (
    rdmreg,
    rdmreg_null_mean,
    rectified_normal,
)
from lejepa_jax.objectives.regularizers.spherical import sphere, sphere_null_mean, to_sphere
from lejepa_jax.objectives.regularizers.subspaces import subspace, subspace_null_mean
from lejepa_jax.objectives.regularizers.variance_shape import visreg, visreg_null_mean
from lejepa_jax.objectives.slicing import sigreg
from lejepa_jax.statistics.names import STATISTICS, null_mean, statistic_by_name, target_by_name
from lejepa_jax.statistics.normality import Statistic, epps_pulley

#: The regularizers by their names.
REGULARIZERS: Mapping[str, Regularizer] = MappingProxyType(
    {
        "sigreg": sigreg,
        "visreg": visreg,
        "rdmreg": rdmreg,
        "mmd": mmd,
        "ksd": ksd,
        "sphere": sphere,
        "subspace": subspace,
        "covariance": covariance,
    }
)


class _Description(NamedTuple):
    null_mean: Callable[..., float | None]
    transform: Transform | None = None
    sample: Callable[..., jax.Array] | None = None


def _sigreg_null_mean(
    num_samples: int, dim: int, *, statistic: Statistic = epps_pulley
) -> float | None:
    del num_samples, dim
    return null_mean(statistic)


def _rectified_sample(key: PRNGKeyArray, num_samples: int, dim: int, **law: Any) -> jax.Array:
    return rectified_normal(key, jnp.arange(num_samples), dim, **law)


_DESCRIPTIONS: Mapping[Callable[..., Any], _Description] = MappingProxyType(
    {
        sigreg: _Description(_sigreg_null_mean),
        visreg: _Description(visreg_null_mean),
        rdmreg: _Description(rdmreg_null_mean, jax.nn.relu, _rectified_sample),
        mmd: _Description(mmd_null_mean),
        ksd: _Description(ksd_null_mean),
        sphere: _Description(sphere_null_mean, to_sphere),
        subspace: _Description(subspace_null_mean),
        covariance: _Description(covariance_null_mean),
    }
)


def regularizer_by_name(text: str, **defaults: Any) -> Regularizer:
    """Find the regularizer that a line of text asks for.

    Args:
        text: A name of :data:`REGULARIZERS`, or a call of it with options that are literals:
            ``mmd``, ``visreg(shape='epps_pulley')``, ``covariance(sketch=64, form='norm')``,
            ``sigreg(statistic='watson')``.
        **defaults: Options for regularizers that have them and are not given others.

    Returns:
        The regularizer with its options bound.

    Raises:
        ValueError: If there is no such name or option, or the type of a value does not fit.

    Examples:
        >>> regularizer = regularizer_by_name("covariance(form='norm')", num_slices=64)
        >>> regularizer.keywords
        {'form': 'norm'}
        >>> regularizer_by_name("vicreg")
        Traceback (most recent call last):
            ...
        ValueError: regularizer must be one of sigreg, visreg, rdmreg, ..., got 'vicreg'
    """
    readers = {
        "directions": directions_by_name,
        "statistic": statistic_by_name,
        "shape": _shape_by_name,
    }
    found = choose("regularizer", text, REGULARIZERS, readers=readers)
    function, options = bound_options(found)
    known = inspect.signature(function).parameters
    suited = {name: value for name, value in defaults.items() if name in known}
    if not suited:
        return found
    return cast(Regularizer, functools.partial(function, **(suited | options)))


def make_regularizer(
    regularizer: str | Callable[..., Any], *, statistic: str, directions: str, num_slices: int
) -> Regularizer:
    """Find a regularizer whose options are beside it in a configuration.

    Args:
        regularizer: What `regularizer_by_name` reads; or a function, which is given back.
        statistic: Statistic of those along slices, by name.
        directions: How directions are drawn, by name.
        num_slices: Number of directions.

    Returns:
        The regularizer; an option that its own text gives counts more.

    Raises:
        ValueError: For an unknown name, also of an option that is not used.

    Examples:
        >>> found = make_regularizer(
        ...     "sigreg(num_slices=8)", statistic="vcreg", directions="unit", num_slices=4)
        >>> found.keywords["num_slices"]
        8
    """
    options = {
        "num_slices": num_slices,
        "statistic": statistic_by_name(statistic),
        "directions": directions_by_name(directions),
    }
    if not isinstance(regularizer, str):
        return regularizer
    return regularizer_by_name(regularizer, **options)


def regularizer_null_mean(regularizer: Regularizer, *, num_samples: int, dim: int) -> float | None:
    """Mean of a regularizer on independent samples of the law it draws embeddings towards.

    Args:
        regularizer: One of :data:`REGULARIZERS` or its `functools.partial`, or a
            :class:`DescribedRegularizer`.
        num_samples: Samples over all devices.
        dim: Dimension of the embeddings.

    Returns:
        The value at which such a cloud settles, or None where it is not known.

    Examples:
        >>> value = regularizer_null_mean(regularizer_by_name("visreg"), num_samples=256, dim=64)
        >>> round(value, 4)
        0.0137
    """
    check_positive("num_samples", num_samples)
    check_positive("dim", dim)
    function, options = bound_options(regularizer)
    if isinstance(function, DescribedRegularizer):
        return None if function.null_mean is None else function.null_mean(num_samples, dim)
    description = _describe(function)
    if description is None:
        return None
    mean = description.null_mean
    known = inspect.signature(mean).parameters
    return mean(num_samples, dim, **{k: v for k, v in options.items() if k in known})


def embedding_transform(regularizer: Regularizer) -> Transform | None:
    """What the loss applies to embeddings before it compares views, if anything.

    Args:
        regularizer: As for :func:`regularizer_null_mean`.

    Returns:
        The transform of `rdmreg` (rectified), `sphere` (normalized) or one's own, else None.

    Examples:
        >>> embedding_transform(rdmreg)(jnp.array([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """
    function, _ = bound_options(regularizer)
    if isinstance(function, DescribedRegularizer):
        return function.transform
    description = _describe(function)
    return None if description is None else description.transform


def sample_null(
    key: PRNGKeyArray, regularizer: Regularizer, *, num_samples: int, dim: int
) -> Float[Array, "{num_samples} {dim}"]:
    """Draw a cloud of the law that a regularizer draws embeddings towards.

    Args:
        key: Random key.
        regularizer: As for :func:`regularizer_null_mean`; N(0, I) where it says nothing.
        num_samples: Number of samples.
        dim: Dimension.

    Returns:
        The samples, one a row.

    Examples:
        >>> sample_null(jax.random.key(0), rdmreg, num_samples=4, dim=2).shape
        (4, 2)
    """
    function, options = bound_options(regularizer)
    if isinstance(function, DescribedRegularizer):
        draw, law = function.sample, {}
    else:
        description = _describe(function)
        draw = None if description is None else description.sample
        law = {k: v for k, v in options.items() if k in ("power", "location", "scale")}
    if draw is None:
        return jax.random.normal(key, (num_samples, dim))
    return draw(key, num_samples, dim, **law)


def simulate_null_mean(
    key: PRNGKeyArray,
    regularizer: Regularizer,
    *,
    num_samples: int,
    dim: int,
    num_draws: int = 64,
) -> tuple[float, float]:
    """Estimate the null mean of a regularizer by simulation.

    Args:
        key: Random key.
        regularizer: Any regularizer.
        num_samples: Samples over all devices.
        dim: Dimension of the embeddings.
        num_draws: Clouds that are drawn.

    Returns:
        The mean, and its standard error.

    Raises:
        ValueError: If `num_draws` is below 2.

    Examples:
        >>> mean, error = simulate_null_mean(jax.random.key(0), ksd, num_samples=16, dim=4)
        >>> bool(abs(mean - 1.25) < 4 * error)
        True
    """
    if num_draws < 2:
        raise ValueError(f"num_draws must be at least 2, got {num_draws}")

    def value(key: PRNGKeyArray) -> Array:
        cloud_key, own_key = jax.random.split(key)
        cloud = sample_null(cloud_key, regularizer, num_samples=num_samples, dim=dim)
        return regularizer(own_key, cloud)

    drawn = jax.jit(lambda keys: jax.lax.map(value, keys))(jax.random.split(key, num_draws))
    return float(drawn.mean()), float(drawn.std(ddof=1) / num_draws**0.5)


def _describe(function: Callable[..., Any]) -> _Description | None:
    # What one has written oneself need not be hashable.
    return _DESCRIPTIONS.get(function) if isinstance(function, Hashable) else None


def _shape_by_name(text: str) -> Statistic:
    """Read the shape statistic of `visreg`: a statistic by name, or `quantile_distance`."""
    table = {"quantile_distance": quantile_distance, **STATISTICS}
    return choose("shape", text, table, readers={"target": target_by_name})
