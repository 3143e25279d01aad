"""The assertions for users' tests, on what they must refuse."""

import jax
import jax.numpy as jnp
import pytest

import rope_jax
from rope_jax import kernels, testing

SIZES = {"head_dim": 8, "num_heads": 2}


def broken(how: str) -> rope_jax.Encoding:
    """An axial encoding with one property taken away."""
    good = rope_jax.axial(8, 2, learned="separate")

    def rotate(rotation, x):
        out = good.rotate(rotation, x)
        if how == "norm":
            return 1.1 * out
        if how == "dtype":
            return out.astype(jnp.float32)
        if how == "batch":  # all examples at the positions of the first
            first = jax.tree.map(lambda t: t[:1] if t.ndim == 4 else t, rotation)
            return good.rotate(first, x)
        if how == "gradient":
            scale = jnp.sqrt(jnp.sum(jnp.square(rotation.sin)))
            return out + jnp.where(scale > 1e9, scale, 0.0)
        return out

    def prepare(params, positions):
        if how == "origin":
            positions = positions + 0.3
        if how == "relative":
            positions = jnp.square(positions)
        return good.prepare(params, positions)

    return good._replace(rotate=rotate, prepare=prepare)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("norm", "off the identity by 0.21"),
        ("dtype", r"become float32 of shape"),
        ("batch", "differ from each alone by"),
        ("origin", "queries at the origin change by"),
        ("relative", "scores change under a shift along axis 0 by"),
    ],
)
def test_a_broken_encoding_is_named(key, how, message):
    with pytest.raises(AssertionError, match=message):
        testing.check_encoding(key, broken(how), relative_axes=[0, 1], **SIZES)


@pytest.mark.filterwarnings("ignore")
def test_a_gradient_that_is_not_finite_is_named(key):
    with jax.debug_nans(False), pytest.raises(AssertionError, match="are not finite"):
        testing.check_encoding(key, broken("gradient"), relative_axes=[0, 1], **SIZES)


def test_single_assertions_agree(key):
    testing.assert_orthogonal(key, broken("relative"), **SIZES)
    with pytest.raises(AssertionError, match="wanted at most 1e-05"):
        testing.assert_orthogonal(key, broken("norm"), **SIZES)
    testing.assert_relative(key, broken("origin"), **SIZES)
    with pytest.raises(AssertionError, match=r"along axes \(1,\), wanted at most"):
        testing.assert_relative(key, broken("relative"), axes=[1], **SIZES)


@pytest.mark.parametrize(
    ("attend", "message"),
    [
        (lambda q, k, v, logs: rope_jax.attention(q, k, v), "at half its weight"),
        (
            lambda q, k, v, logs: rope_jax.attention(q, k, v, log_measure=jnp.maximum(logs, -3)),
            "of weight zero",
        ),
        (
            lambda q, k, v, logs: (
                rope_jax.attention(q, k, v, log_measure=logs)
                * jnp.exp(-logs[0])
                / jnp.exp(-logs[0] + jnp.where(logs.max() > 1, 1.0, 0.0))
            ),
            "added to all log weights",
        ),
    ],
)
def test_an_attention_that_is_no_quadrature_is_named(key, attend, message):
    with pytest.raises(AssertionError, match=message):
        testing.assert_quadrature(key, attend)


def test_kernels_that_are_not_positive_definite_are_named():
    line = jnp.linspace(-2, 2, 9)[:, None]
    testing.assert_positive_definite(kernels.gaussian(0.5), line)
    box = kernels.Kernel(log=lambda r: jnp.where(r < 1.1, 0.0, -1e9), frequencies=None)
    with pytest.raises(AssertionError, match="the smallest eigenvalue is -"):
        testing.assert_positive_definite(box, line)
