"""A page about a run: figures and tables from host arrays."""

from lejepa_jax.report.page import (
    assemble_results,
    plot_curves,
    plot_map,
    plot_neighbors,
    plot_patch_pca,
    plot_slices,
    plot_spectrum,
    results_table,
    write_report,
)

__all__ = [
    "assemble_results",
    "plot_curves",
    "plot_map",
    "plot_neighbors",
    "plot_patch_pca",
    "plot_slices",
    "plot_spectrum",
    "results_table",
    "write_report",
]
