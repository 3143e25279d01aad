"""The report, on encodings whose answer is known."""

import jax
import numpy as np
import pytest

import rope_jax


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
