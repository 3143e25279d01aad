"""The check of statistics finds each way to be wrong, and says which."""

import re

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from lejepa_jax.statistics.reductions import masked_rows, over_devices, row_count
from lejepa_jax.testing import check_statistic


def second_moment(
    x, *, mask=None, axis_name=None, rows=masked_rows, reduce=over_devices, count=row_count
):
    """A right one, parts of which can be replaced by wrong ones."""
    total = reduce(jnp.square(rows(x, mask)).sum(-2), axis_name)
    return total / count(x, mask=mask, axis_name=axis_name)


def wrong(**parts):
    return lambda x, **options: second_moment(x, **options, **parts)


def multiplied(x, mask):
    x = x.astype(jnp.float32)
    return x if mask is None else x * mask[..., None].astype(jnp.float32)


def test_a_right_one_passes():
    check_statistic(second_moment)


def test_a_right_one_of_whole_clouds_passes():
    check_statistic(lambda x, **options: second_moment(x, **options).sum(), per_column=False)


@pytest.mark.parametrize(
    ("statistic", "message"),
    [
        (lambda x, **options: second_moment(x, **options).sum(-1), "the shape must be (3,)"),
        (
            lambda x, **options: second_moment(x, **options).astype(x.dtype),
            "the dtype must be float32 for bfloat16, got bfloat16",
        ),
        (
            lambda x, **options: second_moment(x, **options) + masked_rows(x, None)[..., 0, :],
            "the order of the samples changes the value",
        ),
        (wrong(rows=lambda x, mask: masked_rows(x, None)), "a mask is not the same as leaving out"),
        (wrong(rows=multiplied), "NaN under the mask reaches the value"),
        (
            lambda x, **options: jnp.sqrt(second_moment(x, **options)),
            "the gradient is not finite at collapse to 0, 12 samples in float32",
        ),
        (
            wrong(count=lambda x, *, mask, axis_name: row_count(x, mask=mask) + 0.0),
            "mine: results are not the same on all devices",
        ),
        (
            wrong(reduce=lambda total, axis_name: total),
            "a sum or a count does not cross axis_name",
        ),
    ],
    ids=["shape", "dtype", "order", "mask", "nan", "finite", "count", "reduction"],
)
def test_a_wrong_one_is_named(statistic, message):
    with pytest.raises(AssertionError, match=re.escape(message)):
        check_statistic({"mine": statistic}, devices=(2,), ways=("shard_map",))


def test_a_mean_of_means_is_found_without_the_help_of_jax():
    def mean_of_means(x, *, mask=None, axis_name=None):
        mean = second_moment(x, mask=mask)
        return mean if axis_name is None else lax.pmean(mean, axis_name)

    with pytest.raises(AssertionError, match=r"mine: the value differs .* 8 \(vmap\)"):
        check_statistic({"mine": mean_of_means}, ways=("vmap",))


def test_a_gradient_that_is_off_is_found():
    @jax.custom_jvp
    def twice(x):
        return x

    twice.defjvps(lambda tangent, _, x: tangent * jnp.arange(1.0, 1.0 + x.size).reshape(x.shape))

    def statistic(x, **options):
        return second_moment(twice(x.astype(jnp.float32)), **options)

    with pytest.raises(AssertionError, match="the order of the samples changes the gradient"):
        check_statistic(statistic, devices=())
