"""How far kernels reach."""

import jax.numpy as jnp
import numpy as np

from rope_jax import analysis


def test_locality_of_a_gaussian_kernel_is_its_width():
    line = jnp.linspace(-8, 8, 321)
    plane = jnp.stack(jnp.meshgrid(line, line[::10]), -1).reshape(-1, 2)
    score = -0.5 * jnp.sum(jnp.square(plane), axis=-1)
    np.testing.assert_allclose(analysis.locality(score, plane), np.sqrt(2), rtol=1e-3)
    # Twice as sharp is half the variance.
    np.testing.assert_allclose(analysis.locality(score, plane, sharpness=2.0), 1.0, rtol=1e-3)
