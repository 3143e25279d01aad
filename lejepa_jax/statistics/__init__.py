"""What measures a cloud: characteristic functions, and statistics of one-dimensional samples."""

from lejepa_jax.statistics.calibration import (
    NullTable,
    critical_value,
    null_table,
    p_value,
    simulate_null,
)
from lejepa_jax.statistics.characteristic.specification import Ecf, ecf
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
from lejepa_jax.statistics.names import (
    STATISTICS,
    TARGETS,
    null_mean,
    statistic_by_name,
    target_by_name,
)
from lejepa_jax.statistics.normal import inverse_mills, log_normal_cdf, normal_cdf, normal_density
from lejepa_jax.statistics.normality import (
    Statistic,
    epps_pulley,
    epps_pulley_null_mean,
    paper_epps_pulley,
)
from lejepa_jax.statistics.order_statistics import (
    Covariance,
    Positions,
    order_statistic_nll,
    order_statistic_nll_null_mean,
    shapiro_wilk,
    vasicek_entropy,
)
from lejepa_jax.statistics.quadrature import Quadrature, Rule, window_rule
from lejepa_jax.statistics.reductions import (
    AxisName,
    center_rows,
    gather_over_devices,
    global_mean,
    masked_rows,
    over_devices,
    row_count,
    row_sum,
    sample_count,
)
from lejepa_jax.statistics.sorting import (
    SortedColumns,
    over_sorted_columns,
    sort_columns,
    sum_of_valid,
)
from lejepa_jax.statistics.targets import (
    CharacteristicFunction,
    generalized_normal_target,
    laplace_target,
    normal_target,
    sphere_target,
)

__all__ = [
    "STATISTICS",
    "TARGETS",
    "AxisName",
    "CharacteristicFunction",
    "Covariance",
    "Ecf",
    "Mardia",
    "NullTable",
    "Positions",
    "Quadrature",
    "Rule",
    "SortedColumns",
    "Statistic",
    "anderson_darling",
    "bhep",
    "bhep_mgf",
    "center_rows",
    "comb",
    "cramer_von_mises",
    "critical_value",
    "ecf",
    "energy_distance",
    "epps_pulley",
    "epps_pulley_null_mean",
    "extended_jarque_bera",
    "gather_over_devices",
    "generalized_normal_target",
    "global_mean",
    "henze_visagie",
    "henze_zirkler",
    "inverse_mills",
    "jarque_bera",
    "laplace_target",
    "log_normal_cdf",
    "mardia",
    "masked_rows",
    "moments",
    "normal_cdf",
    "normal_density",
    "normal_target",
    "null_mean",
    "null_table",
    "order_statistic_nll",
    "order_statistic_nll_null_mean",
    "over_devices",
    "over_sorted_columns",
    "p_value",
    "paper_epps_pulley",
    "row_count",
    "row_sum",
    "sample_count",
    "shapiro_wilk",
    "simulate_null",
    "sort_columns",
    "sphere_target",
    "statistic_by_name",
    "sum_of_valid",
    "target_by_name",
    "vasicek_entropy",
    "vcreg",
    "watson",
    "window_rule",
]
