"""BatchNorm with masks, over devices that hold different numbers of examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, PartitionSpec

from lejepa_jax.nn import normalization


def test_masked_statistics_equal_sliced_ones_and_span_devices():
    """Eight devices with unequal numbers of points, against one NumPy array."""
    x = np.random.default_rng(0).normal(size=(8, 10, 3)).astype(np.float32)
    mask = np.arange(10)[None] < np.array([[10], [7], [0], [3], [10], [1], [5], [9]])
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    norm = normalization.BatchNorm(3, axis_name="data", rngs=nnx.Rngs(0))
    graph, state = nnx.split(norm)

    def step(x, mask):
        norm = nnx.merge(graph, state, copy=True)
        value = norm(x, train=True, mask=mask)
        return value, norm.mean[...], norm.var[...]

    sharded = PartitionSpec("data")
    mapped = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(sharded, sharded),
        out_specs=(sharded, PartitionSpec(), PartitionSpec()),
    )
    value, mean, var = jax.jit(mapped)(x, mask)
    present = x[mask].astype(float)
    np.testing.assert_allclose(mean, 0.1 * present.mean(0), atol=1e-6)
    np.testing.assert_allclose(var, 0.9 + 0.1 * present.var(0), atol=1e-6)
    expected = (x - present.mean(0)) / np.sqrt(present.var(0) + 1e-5)
    np.testing.assert_allclose(value[mask], expected[mask], atol=1e-4)


def test_moments_of_nothing_are_zero():
    x, nothing = np.ones((2, 6, 4), np.float32), np.zeros((2, 6), bool)
    moments = jax.jit(lambda x, mask: normalization.masked_moments(x, mask=mask))(x, nothing)
    assert not any(leaf.any() for leaf in moments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": 0}, "features must be a positive whole number, got 0"),
        ({"epsilon": 0.0}, "epsilon must be positive, got 0.0"),
        ({"epsilon": float("nan")}, "epsilon must be positive, got nan"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"momentum": float("nan")}, r"momentum must be in \[0, 1\), got nan"),
    ],
)
def test_options_that_normalize_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        normalization.BatchNorm(**{"features": 4, **options}, rngs=nnx.Rngs(0))


def test_both_norms_of_a_whole_batch_agree():
    # The same names and rules, so that what is learned with one can be read by the other.
    x = jnp.asarray(np.random.default_rng(0).normal(3, 2, size=(64, 5, 4)), jnp.float32)
    ours, flax = (
        make(4, rngs=nnx.Rngs(0)) for make in (normalization.BatchNorm, normalization.batch_norm)
    )
    for train in (True, False):
        np.testing.assert_allclose(
            ours(x, train=train), normalization.normalize(flax, x, train=train), atol=2e-5
        )
        state, other = (nnx.to_pure_dict(nnx.state(norm)) for norm in (ours, flax))
        assert state.keys() == other.keys()
        for name, value in state.items():
            np.testing.assert_allclose(value, other[name], rtol=1e-5, err_msg=name)
