import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.objectives.directions import unit_directions
from lejepa_jax.objectives.slicing import slice_statistics
from lejepa_jax.report.distributions import plot_slices, plot_spectrum
from lejepa_jax.statistics.normality import paper_epps_pulley

KEY = jax.random.key(0)
N, D = 48, 5
RNG = np.random.default_rng(0)
BEFORE = (0.2 * RNG.normal(size=(N, D))).astype(np.float32)
AFTER = RNG.normal(size=(N, D)).astype(np.float32)


def test_the_worst_slice_is_the_worst_and_histograms_are_densities():
    # Along the first axis two lumps, everywhere else normal.
    lumps = AFTER.copy()
    lumps[:, 0] = 5.0 * np.sign(lumps[:, 0])
    figure = plot_slices(KEY, {"before": BEFORE, "after": lumps}, num_slices=64)
    assert len(figure.axes) == 8
    statistics = [float(ax.texts[0].get_text().split("= ")[1].split("\n")[0]) for ax in figure.axes]
    for row, cloud in zip((statistics[:4], statistics[4:]), (BEFORE, lumps), strict=True):
        directions = unit_directions(KEY, D, 64)
        expected = np.asarray(slice_statistics(jnp.asarray(cloud), directions))
        assert row[:3] == pytest.approx(list(expected[:3]), abs=0.006)
        assert row[3] == pytest.approx(expected.max(), abs=0.006)
    for index, ax in enumerate(figure.axes):
        heights, edges, _ = ax.patches[0].get_data()
        area = float(np.sum(heights * np.diff(edges)))
        if index < 4:
            assert area == pytest.approx(1)
        if "outside" in ax.texts[0].get_text():
            share = float(ax.texts[0].get_text().split("\n")[1].split(" ")[0]) / 100
            assert area == pytest.approx(1 - share, abs=0.001)
    assert "outside" in figure.axes[7].texts[0].get_text()


def test_the_statistic_of_the_slices_is_the_one_that_is_given():
    ax = plot_slices(KEY, {"after": BEFORE}, num_slices=8, statistic=paper_epps_pulley).axes[0]
    directions = unit_directions(KEY, D, 8)
    expected = slice_statistics(jnp.asarray(BEFORE), directions, statistic=paper_epps_pulley)[0]
    assert float(ax.texts[0].get_text().split("= ")[1].split("\n")[0]) == pytest.approx(
        float(expected), abs=0.006
    )
    other = slice_statistics(jnp.asarray(BEFORE), directions)[0]
    assert abs(float(other - expected)) > 0.02


def test_spectra_are_those_of_numpy():
    ax = plot_spectrum({"before": BEFORE, "after": AFTER}).axes[0]
    assert ax.get_yscale() == "log"
    for line, cloud in zip(ax.lines[1:], (BEFORE, AFTER), strict=True):
        expected = np.linalg.eigvalsh(np.cov(cloud.T, bias=True))[::-1]
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-3)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="embeddings must hold at least one cloud"):
        plot_slices(KEY, {})
    with pytest.raises(ValueError, match=r"num_shown must be at most num_slices \(2\), got 3"):
        plot_slices(KEY, {"after": AFTER}, num_slices=2)
