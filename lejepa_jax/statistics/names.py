"""Statistics and targets by name, for command lines, and what a statistic is at its null law."""

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lejepa_jax.choices import choose
from lejepa_jax.statistics.edf import anderson_darling, cramer_von_mises, watson
from lejepa_jax.statistics.moment_tests import extended_jarque_bera, jarque_bera, moments, vcreg
from lejepa_jax.statistics.normality import (
    Statistic,
    epps_pulley,
    epps_pulley_null_mean,
    paper_epps_pulley,
)
from lejepa_jax.statistics.order_statistics import (
    order_statistic_nll,
    shapiro_wilk,
    vasicek_entropy,
)
from lejepa_jax.statistics.targets import (
    CharacteristicFunction,
    generalized_normal_target,
    laplace_target,
    normal_target,
    sphere_target,
)

#: The statistics of one-dimensional samples by their names.
STATISTICS: Mapping[str, Statistic] = MappingProxyType(
    {
        "epps_pulley": epps_pulley,
        "paper_epps_pulley": paper_epps_pulley,
        "anderson_darling": anderson_darling,
        "cramer_von_mises": cramer_von_mises,
        "watson": watson,
        "shapiro_wilk": shapiro_wilk,
        "vasicek_entropy": vasicek_entropy,
        "order_statistic_nll": order_statistic_nll,
        "jarque_bera": jarque_bera,
        "extended_jarque_bera": extended_jarque_bera,
        "vcreg": vcreg,
        "moments": moments,
    }
)

#: Characteristic functions of laws to compare with, by their names.
TARGETS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "normal": normal_target,
        "laplace": laplace_target,
        "generalized_normal": generalized_normal_target,
        "sphere": sphere_target,
    }
)

_NULL_MEANS = {
    anderson_darling: 1.0,
    cramer_von_mises: 1 / 6,
    watson: 1 / 12,
    jarque_bera: 2.0,
    extended_jarque_bera: 4.0,
    vcreg: 2.0,
}


def statistic_by_name(text: str) -> Statistic:
    """Find the statistic that a line of text asks for.

    Args:
        text: A name of :data:`STATISTICS`, or a call of it with options that are literals:
            ``watson``, ``epps_pulley(t_max=5, num_knots=41)``,
            ``epps_pulley(target="sphere(dim=64)")``.

    Returns:
        The statistic with its options bound.

    Raises:
        ValueError: If there is no such name or option, or the type of a value does not fit.

    Examples:
        >>> import jax.numpy as jnp
        >>> statistic = statistic_by_name("epps_pulley(t_max=5, num_knots=41)")
        >>> print(f"{statistic(jnp.zeros((1, 1)))[0]:.2f}")
        0.41
        >>> statistic_by_name("eps_pulley")
        Traceback (most recent call last):
            ...
        ValueError: statistic must be one of epps_pulley, paper_epps_pulley, ..., got 'eps_pulley'
    """
    return choose("statistic", text, STATISTICS, readers={"target": target_by_name})


def target_by_name(text: str) -> CharacteristicFunction:
    """Find the characteristic function that a line of text asks for.

    Args:
        text: A name of :data:`TARGETS`, or a call of it with options that are literals:
            ``laplace``, ``sphere(dim=64)``.

    Returns:
        The characteristic function with its options bound.

    Raises:
        ValueError: If there is no such name or option, the type of a value does not fit, or an
            option without a default is missing.

    Examples:
        >>> import numpy as np
        >>> target_by_name("laplace(scale=1.0)")(np.array([1.0]))
        array([0.5])
    """
    target = choose("target", text, TARGETS)
    missing = [
        parameter.name
        for parameter in inspect.signature(target).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    ]
    if missing:
        raise ValueError(f"target must have the option {missing[0]!r}, got {text!r}")
    return target


def null_mean(statistic: Statistic) -> float | None:
    """Mean of a statistic where the samples follow its null law, if it is known.

    Args:
        statistic: A statistic of this package, or its `functools.partial`.

    Returns:
        The mean: exact for every number of samples for `epps_pulley` with any options,
        `anderson_darling`, `cramer_von_mises` and `watson`; the limit of large samples for
        `jarque_bera`, `extended_jarque_bera` and `vcreg`. None where it depends on the number of
        samples or is not known.

    Examples:
        >>> print(f"{null_mean(statistic_by_name('paper_epps_pulley')):.4f}")
        1.0594
        >>> null_mean(statistic_by_name("shapiro_wilk")) is None
        True
    """
    options: dict[str, Any] = {}
    function: Any = statistic
    while isinstance(function, functools.partial):
        options = function.keywords | options
        function = function.func
    if function is epps_pulley:
        known = inspect.signature(epps_pulley_null_mean).parameters
        rule = {name: value for name, value in options.items() if name in known}
        return 0.0 if options.get("debias") else epps_pulley_null_mean(**rule)
    return _NULL_MEANS.get(function)
