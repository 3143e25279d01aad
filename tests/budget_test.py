"""What the hot functions may cost, counted in the compiled program: no clock can tell as surely."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np

import rope_jax
from lejepa_jax import sigreg, unit_directions
from pointcloud_jax.geometry.sphere import fibonacci
from pointcloud_jax.spectra.directional import dasft

SAMPLES, FEATURES, SLICES, KNOTS = 1024, 32, 256, 17


def compiled(function, *arguments):
    return jax.jit(function).lower(*arguments).compile()


def count(program, operation):
    return len(re.findall(rf" {operation}\(", program.as_text()))


@functools.cache
def sigreg_step():
    cloud = jax.ShapeDtypeStruct((SAMPLES, FEATURES), jnp.float32)
    directions = unit_directions(jax.random.key(0), FEATURES, SLICES)
    key = jax.random.key(0)
    return compiled(jax.value_and_grad(lambda z: sigreg(key, z, directions=directions)), cloud)


def test_sigreg_takes_no_sine_a_knot():
    # One forward and one back; XLA on CPU computes each once more, for its second use.
    assert count(sigreg_step(), "sine") <= 4
    assert count(sigreg_step(), "cosine") <= 4


def test_sigreg_holds_no_tensor_of_samples_slices_and_knots():
    tensor = 4 * SAMPLES * SLICES
    assert sigreg_step().memory_analysis().temp_size_in_bytes <= 4 * tensor
    assert f"[{SAMPLES},{SLICES},{KNOTS}]" not in sigreg_step().as_text()
    assert f"[{KNOTS},{SAMPLES},{SLICES}]" not in sigreg_step().as_text()


def test_the_spectrum_of_a_cloud_holds_no_tensor_of_points_directions_and_radii():
    clouds, points, directions, radii = 16, 512, 36, 64
    cloud = jax.ShapeDtypeStruct((clouds, points, 3), jnp.float32)
    rule, at = fibonacci(directions), np.linspace(0, 8, radii)
    step = compiled(jax.grad(lambda x: jnp.square(dasft(x, rule, at)).sum()), cloud)
    assert step.memory_analysis().temp_size_in_bytes <= 4 * 4 * clouds * points * directions
    assert count(step, "sine") <= 4


def test_rotating_neither_gathers_nor_scatters():
    for encoding in (
        rope_jax.axial(24, 2),
        rope_jax.mixed(24, 2),
        rope_jax.spherical(24, 2),
    ):
        params = encoding.init(jax.random.key(0))
        rotation = encoding.prepare(params, rope_jax.patch_grid((4, 4)).positions)
        x = jax.ShapeDtypeStruct((2, 16, 2, 24), jnp.float32)
        step = compiled(jax.grad(lambda x, r=rotation, e=encoding: e.rotate(r, x).sum()), x)
        assert count(step, "gather") == count(step, "scatter") == 0
        assert count(step, "sine") == count(step, "cosine") == 0  # tables were made before
