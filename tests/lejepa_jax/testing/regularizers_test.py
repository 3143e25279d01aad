"""The check of regularizers finds what that of statistics does not look for, and says what."""

import re

import jax.numpy as jnp
import pytest

from lejepa_jax.objectives.regularizers import DescribedRegularizer
from lejepa_jax.statistics.reductions import masked_rows, over_devices, row_count
from lejepa_jax.testing import check_regularizer


def moment(key, embeddings, *, mask=None, axis_name=None):
    """A right one: the mean squared length of the samples of each view."""
    squared = over_devices(jnp.square(masked_rows(embeddings, mask)).sum(-2), axis_name)
    return (squared / row_count(embeddings, mask=mask, axis_name=axis_name)).sum(-1).mean()


def pooled(key, embeddings, *, mask=None, axis_name=None):
    every = None if mask is None else mask.reshape(-1)
    rows = embeddings.reshape(-1, embeddings.shape[-1])
    return moment(key, rows, mask=every, axis_name=axis_name)


def many_features(key, embeddings, *, mask=None, axis_name=None):
    value = moment(key, embeddings, mask=mask, axis_name=axis_name)
    return value / jnp.float32(embeddings.shape[-1] - 1)


def test_a_right_one_passes_with_what_it_says_of_itself():
    own = DescribedRegularizer(
        moment, transform=jnp.abs, null_mean=lambda num_samples, dim: float(dim)
    )
    check_regularizer(own, devices=(8,), ways=("vmap",))


@pytest.mark.parametrize(
    ("regularizer", "message"),
    [
        (pooled, "a leading axis is not the mean of its entries: the value"),
        (many_features, "the value of 12 x 1 is not finite"),
        (
            DescribedRegularizer(moment, transform=lambda z: 2 * z),
            "the transform is not what the regularizer applies itself",
        ),
        (
            DescribedRegularizer(moment, null_mean=lambda num_samples, dim: 1.1 * dim),
            "in a simulation (32 samples, 5 dimensions), declared 5.5",
        ),
        (
            lambda key, z, *, mask=None, axis_name=None: moment(key, z, mask=mask),
            "devices have different results under vmap",
        ),
    ],
    ids=["views", "dimension", "transform", "null mean", "devices"],
)
def test_a_wrong_one_is_named(regularizer, message):
    with pytest.raises(AssertionError, match="mine: .*" + re.escape(message)):
        check_regularizer({"mine": regularizer}, devices=(), ways=("vmap",))
