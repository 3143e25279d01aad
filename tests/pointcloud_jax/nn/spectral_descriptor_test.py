"""An encoder with the spectrum beside its descriptor."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from pointcloud_jax import nn
from pointcloud_jax.testing import assert_invariant, random_clouds

OPTIONS = dict(max_degree=3, num_radii=5, max_radius=8.0)
spectrum = jax.jit(lambda points: nn.log_spectrum(points, **OPTIONS))


def test_it_is_invariant_under_everything_and_lies_between_its_bounds(key):
    assert_invariant(
        spectrum, key, under=("rotation", "reflection", "translation", "permutation", "scale")
    )
    value = np.asarray(spectrum(random_clouds(key)))
    assert -1.001 < value.min() < value.max() < 1.001
    assert np.ptp(value) > 1  # it uses the range


def test_it_stands_behind_the_descriptor_of_the_encoder(key):
    make = functools.partial(nn.DGCNN, (4,), embedding=4, k=3)
    both = nn.WithSpectrum(make, **OPTIONS, rngs=nnx.Rngs(0))
    alone = make(rngs=nnx.Rngs(0))
    points = random_clouds(key, 2, 12)
    mask = jnp.arange(12)[None] < jnp.array([[12], [9]])
    found, expected = (e.describe(points, mask=mask) for e in (both, alone))
    assert found.per_cloud.shape == (2, both.features)
    np.testing.assert_array_equal(found.per_point, expected.per_point)
    np.testing.assert_array_equal(found.per_cloud[:, : alone.features], expected.per_cloud)
    own = nn.log_spectrum(points, **OPTIONS, mask=mask)
    np.testing.assert_array_equal(found.per_cloud[:, alone.features :], own)
    classes = nn.Classifier(both, 3, hidden=(4,), rngs=nnx.Rngs(1))
    assert classes(points, mask=mask).shape == (2, 3)
