"""A page about a run: figures and tables from host arrays."""

from lejepa_jax.report.curves import LOOP_METRICS, curve_panels, plot_curves
from lejepa_jax.report.diagnosis import advice
from lejepa_jax.report.distributions import plot_slices, plot_spectrum
from lejepa_jax.report.embedding import embedding_pictures
from lejepa_jax.report.examples import (
    examples_of_classes,
    plot_map,
    plot_neighbors,
    plot_patch_pca,
)
from lejepa_jax.report.facts import data_facts, speed
from lejepa_jax.report.metric import Metric
from lejepa_jax.report.page import write_report
from lejepa_jax.report.tables import results_table

__all__ = [
    "LOOP_METRICS",
    "Metric",
    "advice",
    "curve_panels",
    "data_facts",
    "embedding_pictures",
    "examples_of_classes",
    "plot_curves",
    "plot_map",
    "plot_neighbors",
    "plot_patch_pca",
    "plot_slices",
    "plot_spectrum",
    "results_table",
    "speed",
    "write_report",
]
