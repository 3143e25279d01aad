"""Every public function of the statistics, objectives and diagnostics, as a function of arrays.

A cloud is `(n, d)`, views are `(v, n, d)`. What holds for all of them is tested over this table.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

import lejepa_jax
from lejepa_jax.statistics import STATISTICS, global_mean, null_table

NUM_SAMPLES, FEATURES = 16, 3


def cloud(seed=0, n=NUM_SAMPLES):
    """Normal quantiles in random order: no two are so close that a small step swaps them."""
    rng = np.random.default_rng(seed)
    quantiles = scipy.special.ndtri((np.arange(n) + 0.4) / n)
    x = np.stack([rng.permutation(quantiles) for _ in range(FEATURES)], 1)
    return jnp.asarray(x * [1.0, 0.7, 1.4] + [0.1, -0.2, 0.0], jnp.float32)


def views(seed=0):
    return jnp.stack([cloud(seed), cloud(seed + 1)])


class Case(NamedTuple):
    call: object
    input: object = cloud
    #: Forward mode of the first derivative; the fast characteristic function has reverse mode.
    forward: bool = True
    #: Hessians exist (elsewhere a derivative of QR or SVD wants distinct values).
    hessian: bool = True


def _key():
    return jax.random.key(0)


_SLICES = {"num_slices": 4}
_ALL = functools.partial(lejepa_jax.epps_pulley, derivatives="all")

CASES = {name: Case(function) for name, function in STATISTICS.items()}
CASES |= {
    name: CASES[name]._replace(forward=False) for name in ("epps_pulley", "paper_epps_pulley")
}
CASES |= {
    "epps_pulley, all derivatives": Case(_ALL),
    "epps_pulley, unbiased": Case(functools.partial(_ALL, debias=True)),
    "epps_pulley, hermite": Case(
        functools.partial(lejepa_jax.epps_pulley, quadrature="hermite", num_knots=6)
    ),
    "ecf": Case(lambda x: lejepa_jax.ecf(x, np.linspace(0, 3, 5)), forward=False),
    "ecf, uneven": Case(lambda x: lejepa_jax.ecf(x, np.array([0.0, 0.5, 2.0]))),
    "sigreg": Case(lambda z: lejepa_jax.sigreg(_key(), z, **_SLICES), views, forward=False),
    "sigreg, all derivatives": Case(
        lambda z: lejepa_jax.sigreg(_key(), z, statistic=_ALL, **_SLICES), views
    ),
    "sigreg, pooled": Case(
        lambda z: lejepa_jax.sigreg(_key(), z, pool=True, **_SLICES), views, forward=False
    ),
    "lejepa_loss": Case(
        lambda z: lejepa_jax.lejepa_loss(_key(), z, num_global=1, **_SLICES), views, forward=False
    ),
    "lejepa_loss, all derivatives": Case(
        lambda z: lejepa_jax.lejepa_loss(_key(), z, num_global=1, statistic=_ALL, **_SLICES), views
    ),
    "prediction_loss": Case(lambda z: lejepa_jax.prediction_loss(z, num_global=1), views),
    **{
        name: Case(getattr(lejepa_jax, name))
        for name in (
            "bhep",
            "bhep_mgf",
            "comb",
            "energy_distance",
            "feature_std",
            "henze_visagie",
            "henze_zirkler",
            "isotropy_penalty",
            "mardia",
            "sample_covariance",
            "whiten",
        )
    },
    **{
        name: Case(getattr(lejepa_jax, name), hessian=False)
        for name in ("covariance_spectrum", "rankme")
    },
    "summarize_cloud": Case(lejepa_jax.summarize_cloud, hessian=False),
    "lidar": Case(lejepa_jax.lidar, views, hessian=False),
    "project_covariance": Case(
        lambda x: lejepa_jax.project_covariance(x, jnp.eye(FEATURES, 2, dtype=x.dtype))
    ),
    "merge_covariances": Case(
        lambda z: lejepa_jax.merge_covariances(*map(lejepa_jax.sample_covariance, z)), views
    ),
    "summary_spectrum": Case(
        lambda x: lejepa_jax.summary_spectrum(lejepa_jax.sample_covariance(x)), hessian=False
    ),
    "frequent_directions": Case(lambda x: lejepa_jax.frequent_directions(x, 2), hessian=False),
    "spectrum": Case(
        lambda x: [
            function(jnp.abs(x.astype(jnp.float32)) + 0.1)
            for function in (
                lejepa_jax.condition_number,
                lejepa_jax.isotropy,
                lejepa_jax.effective_rank,
                lejepa_jax.alpha_req,
            )
        ]
    ),
    "global_mean": Case(global_mean),
    "p_value": Case(lambda x: lejepa_jax.p_value(null_table("watson"), jnp.abs(x), 100)),
    "sigreg_p_value": Case(
        lambda x: lejepa_jax.sigreg_p_value(jnp.abs(x), dim=4, num_slices=8), hessian=False
    ),
}

#: Functions of a key alone.
RANDOM = {
    name: functools.partial(getattr(lejepa_jax, name), dim=4, num=6)
    for name in ("unit_directions", "orthogonal_directions", "sobol_directions")
}
