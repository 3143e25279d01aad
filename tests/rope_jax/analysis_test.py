"""The measurements themselves, on encodings whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rope_jax
from rope_jax import analysis


@pytest.fixture(scope="module")
def report():
    encodings = {
        "axial": rope_jax.axial(12, 1),
        "mixed": rope_jax.mixed(12, 1),
        "spherical": rope_jax.spherical(12, 1),
    }
    return rope_jax.equivariance_report(
        jax.random.key(0), encodings, head_dim=12, num_heads=1, grid=4, resolution=9
    )


def test_report_tells_the_encodings_apart(report):
    verdicts = {name: row.verdict for name, row in report.rows.items()}
    assert verdicts == {
        "axial": "relative; separable",
        "mixed": "relative; oblique",
        "spherical": "relative in x; broken in y; oblique",
    }
    assert max(row.orthogonality for row in report.rows.values()) < 1e-5
    assert report.rows["mixed"].parameters == 12
    assert report.rows["spherical"].commutator > 0.3
    assert report.rows["axial"].commutator < 1e-4


def test_report_is_a_table_and_a_picture(report, tmp_path):
    lines = str(report).splitlines()
    assert len(lines) == 4
    assert lines[0].split()[:4] == ["encoding", "params", "|RtR-I|", "E(x)"]
    report.figure(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 10_000


def test_kernel_maps_of_the_report_are_one_at_the_center_and_even(report):
    for name in ("axial", "mixed"):
        kernel = report.kernels[name]
        np.testing.assert_allclose(kernel[4, 4], 1, atol=1e-5)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-5)


def test_spectrum_recovers_the_frequencies_of_an_encoding_in_any_basis():
    encoding = rope_jax.string_cayley(8, 2)
    params = jax.tree.map(lambda p: p + 0.15, encoding.init(jax.random.key(0)))
    found = analysis.spectrum(encoding, params, num_axes=2, head_dim=8, num_heads=2)
    assert float(found.commutator) < 1e-4
    for head in range(2):
        w = np.asarray(params["frequencies"][:, head]).T
        want = np.concatenate([w, -w])
        got = np.asarray(found.frequencies[head])
        gap = np.linalg.norm(want[:, None] - got[None], axis=-1)
        assert gap.min(0).max() < 1e-3
        assert gap.min(1).max() < 1e-3


def test_nyquist_coverage_counts_what_the_grid_can_carry():
    w = jnp.array([[0.0, 1.0], [3.0, 3.0], [7.0, 0.0], [0.0, 8.0]])
    assert float(analysis.nyquist_coverage(w, 2 * np.pi / 14)) == 0.75
    assert float(analysis.nyquist_coverage(w, (2 * np.pi / 14, np.pi / 9))) == 1.0


def test_locality_of_a_gaussian_kernel_is_its_width():
    line = jnp.linspace(-8, 8, 321)
    plane = jnp.stack(jnp.meshgrid(line, line[::10]), -1).reshape(-1, 2)
    score = -0.5 * jnp.sum(jnp.square(plane), axis=-1)
    np.testing.assert_allclose(analysis.locality(score, plane), np.sqrt(2), rtol=1e-3)
    # Twice as sharp is half the variance.
    np.testing.assert_allclose(analysis.locality(score, plane, sharpness=2.0), 1.0, rtol=1e-3)


def test_commutator_norm_of_zero_is_zero():
    zero, eye = jnp.zeros((2, 2)), jnp.eye(2)
    assert float(analysis.commutator_norm(zero, eye)) == 0.0
    slope = jax.grad(lambda a: analysis.commutator_norm(a, eye + a))(eye)
    assert slope.shape == (2, 2)
