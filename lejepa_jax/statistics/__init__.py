"""What measures a cloud: characteristic functions, and statistics of one-dimensional samples."""

from lejepa_jax.statistics.characteristic import Ecf, ecf, sample_count
from lejepa_jax.statistics.edf import anderson_darling, cramer_von_mises, watson
from lejepa_jax.statistics.moment_tests import extended_jarque_bera, jarque_bera, moments, vcreg
from lejepa_jax.statistics.multivariate import (
    Mardia,
    bhep,
    bhep_mgf,
    comb,
    energy_distance,
    henze_visagie,
    henze_zirkler,
    mardia,
)
from lejepa_jax.statistics.normality import Statistic, epps_pulley, epps_pulley_null_mean
from lejepa_jax.statistics.order_statistics import (
    Covariance,
    Positions,
    order_statistic_nll,
    order_statistic_nll_null_mean,
    shapiro_wilk,
    vasicek_entropy,
)
from lejepa_jax.statistics.quadrature import Quadrature, Rule, window_rule
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.statistics.sorting import (
    SortedColumns,
    masked_sum,
    over_sorted_columns,
    sort_columns,
)
from lejepa_jax.statistics.targets import (
    CharacteristicFunction,
    generalized_normal_target,
    laplace_target,
    normal_target,
    sphere_target,
)

__all__ = [
    "AxisName",
    "CharacteristicFunction",
    "Covariance",
    "Ecf",
    "Mardia",
    "Positions",
    "Quadrature",
    "Rule",
    "SortedColumns",
    "Statistic",
    "anderson_darling",
    "bhep",
    "bhep_mgf",
    "comb",
    "cramer_von_mises",
    "ecf",
    "energy_distance",
    "epps_pulley",
    "epps_pulley_null_mean",
    "extended_jarque_bera",
    "generalized_normal_target",
    "henze_visagie",
    "henze_zirkler",
    "jarque_bera",
    "laplace_target",
    "mardia",
    "masked_sum",
    "moments",
    "normal_target",
    "order_statistic_nll",
    "order_statistic_nll_null_mean",
    "over_sorted_columns",
    "sample_count",
    "shapiro_wilk",
    "sort_columns",
    "sphere_target",
    "vasicek_entropy",
    "vcreg",
    "watson",
    "window_rule",
]
