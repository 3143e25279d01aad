"""Every spectrum under forward mode, forward over reverse, vmap and remat."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pointcloud_jax import spectra
from pointcloud_jax.geometry.sphere import icosahedral
from pointcloud_jax.testing import random_clouds

RADII = np.linspace(0, 3, 4)
RULE = icosahedral(6)
SPECTRA = {
    "dasft": lambda x: spectra.dasft(x, RULE, RADII, derivatives="all"),
    "dasft, any radii": lambda x: spectra.dasft(x, RULE, jnp.asarray(RADII, jnp.float32)),
    "debye_spectrum": lambda x: spectra.debye_spectrum(x, RADII),
    "pair_histogram": lambda x: spectra.pair_histogram(x, num_bins=8, max_distance=8.0),
    "degree_spectrum": lambda x: spectra.degree_spectrum(x, RADII, max_degree=2),
    "normalize_radius": spectra.normalize_radius,
}


def draw():
    points, tangent = random_clouds(jax.random.key(0), 2, 6)
    return points, tangent


def ripple(value):
    """One number of a spectrum, with weights that no symmetry cancels."""
    return (value * jnp.cos(jnp.arange(value.size, dtype=jnp.float32)).reshape(value.shape)).sum()


@pytest.mark.parametrize("name", SPECTRA)
def test_forward_mode_agrees_with_reverse_mode(name):
    points, tangent = draw()

    @jax.jit
    def both(points, tangent):
        def number(points):
            return ripple(SPECTRA[name](points))

        forward = jax.jvp(number, (points,), (tangent,))[1]
        return forward, (jax.grad(number)(points) * tangent).sum()

    forward, reverse = both(points, tangent)
    assert abs(forward) > 1e-3
    np.testing.assert_allclose(forward, reverse, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["dasft", "debye_spectrum", "degree_spectrum"])
def test_curvature_agrees_with_a_difference_of_gradients(name):
    points, tangent = draw()

    @jax.jit
    def curvature(points, tangent):
        gradient = jax.grad(lambda x: ripple(SPECTRA[name](x)))
        along = jax.jvp(gradient, (points,), (tangent,))[1]
        step = 1e-2
        moved = (gradient(points + step * tangent), gradient(points - step * tangent))
        return along, (moved[0] - moved[1]) / (2 * step)

    exact, difference = curvature(points, tangent / jnp.linalg.norm(tangent))
    np.testing.assert_allclose(exact, difference, atol=2e-3 * float(abs(exact).max()))


def test_the_fast_form_has_a_hessian_and_the_same_values():
    points, _ = draw()

    def number(derivatives):
        return lambda x: ripple(spectra.dasft(x, RULE, RADII, derivatives=derivatives))

    fast, every = (
        jax.jit(lambda x, way=way: (number(way)(x), jax.hessian(number(way))(x)))(points[:3])
        for way in ("reverse", "all")
    )
    for ours, theirs in zip(fast, every, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_fast_form_says_that_it_has_no_forward_mode():
    points, tangent = draw()
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: spectra.dasft(x, RULE, RADII), (points,), (tangent,))


@pytest.mark.parametrize("name", SPECTRA)
def test_mapping_over_clouds_equals_a_batch(name):
    clouds = random_clouds(jax.random.key(1), 2, 6)
    mapped = jax.jit(jax.vmap(jax.checkpoint(SPECTRA[name])))(clouds)
    np.testing.assert_allclose(mapped, jax.jit(SPECTRA[name])(clouds), atol=2e-6)
