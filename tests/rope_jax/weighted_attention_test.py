"""Attention as quadrature: against the sum, and against the integral."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import rope_jax

attend = jax.jit(rope_jax.attention)


def direct(q, k, v, logs):
    """The weighted mean written out in float64, one head at a time."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    s = np.einsum("nhd,shd->hns", q, k) / np.sqrt(q.shape[-1]) + np.asarray(logs, np.float64)
    p = np.exp(s - s.max(-1, keepdims=True))
    return np.einsum("hns,shd->nhd", p / p.sum(-1, keepdims=True), v)


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), (3, *shape))


def test_weighted_attention_is_the_weighted_mean():
    q, k, v = draw(0, 5, 2, 8)
    logs = jax.random.normal(jax.random.key(1), (5,))
    np.testing.assert_allclose(attend(q, k, v, log_measure=logs), direct(q, k, v, logs), atol=1e-5)
    bias = jax.random.normal(jax.random.key(2), (2, 5, 5))
    both = np.asarray(logs)[None, None] + np.asarray(bias)
    out = attend(q, k, v, log_measure=logs, bias=bias)
    np.testing.assert_allclose(out, direct(q, k, v, both), atol=1e-5)


@pytest.mark.parametrize("width", [3, 11])
def test_values_may_be_narrower_or_wider_than_keys(width):
    q, k, _ = draw(0, 5, 2, 8)
    v = jax.random.normal(jax.random.key(3), (5, 2, width))
    np.testing.assert_allclose(attend(q, k, v), direct(q, k, v, np.zeros(5)), atol=1e-5)


@given(copies=st.integers(1, 4), token=st.integers(0, 4))
def test_a_token_duplicated_at_a_fraction_of_its_weight_changes_nothing(copies, token):
    q, k, v = draw(0, 5, 2, 8)
    weights = jnp.array([1.0, 2.0, 0.5, 1.0, 3.0])
    once = attend(q, k, v, log_measure=jnp.log(weights))
    # Repeated up to a fixed length with weight zero, so that one compilation serves all draws.
    index = jnp.array([*range(5), *[token] * 3])
    split = jnp.concatenate([weights.at[token].divide(copies), jnp.zeros(3)])
    split = split.at[5 : 4 + copies].set(weights[token] / copies)
    logs = rope_jax.log_measure(split)
    more = attend(q, k[index], v[index], log_measure=logs)
    np.testing.assert_allclose(once, more, atol=1e-6)
    if copies > 1:
        plain = attend(q, k[index[:6]], v[index[:6]])
        assert float(jnp.abs(plain - attend(q, k, v)).max()) > 1e-3


def test_equal_weights_cancel():
    q, k, v = draw(0, 5, 2, 8)
    equal = attend(q, k, v, log_measure=jnp.full((5,), -7.3))
    np.testing.assert_allclose(equal, attend(q, k, v), atol=1e-6)


def test_padding_of_no_weight_is_not_there():
    q, k, v = draw(0, 5, 2, 8)
    logs = rope_jax.log_measure(jnp.array([1.0, 1.0, 1.0, 0.0, 0.0]))
    out = attend(q[:3], k, v, log_measure=logs)
    np.testing.assert_allclose(out, attend(q[:3], k[:3], v[:3]), atol=1e-6)


def test_class_token_keeps_its_share_when_patches_multiply():
    # Patches that all look alike: the class token's share is a matter of counting.
    v = jnp.concatenate([jnp.ones((1, 1, 8)), jnp.zeros((16, 1, 8))])
    z = jnp.zeros((17, 1, 8))
    for patches in (4, 16):
        keys, values = z[: patches + 1], v[: patches + 1]
        logs = rope_jax.log_measure(jnp.ones(patches), num_prefix=1, num_train=4)
        weighted = attend(z[:1], keys, values, log_measure=logs)
        plain = attend(z[:1], keys, values)
        np.testing.assert_allclose(weighted[0, 0, 0], 1 / 5, rtol=1e-5)
        np.testing.assert_allclose(plain[0, 0, 0], 1 / (patches + 1), rtol=1e-5)


def test_at_the_training_resolution_prefix_weights_change_nothing():
    q, k, v = draw(0, 5, 2, 8)
    logs = rope_jax.log_measure(jnp.full(4, 0.3), num_prefix=1)
    np.testing.assert_allclose(attend(q, k, v, log_measure=logs), attend(q, k, v), atol=1e-6)


def test_an_uneven_sampling_of_a_field_converges_to_the_integral_only_with_weights():
    def sample(num, bend):
        edges = np.linspace(0, 1, num + 1) ** bend  # bend 1 is a uniform grid
        y, w = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
        field = np.stack([np.cos(3 * y), np.sin(5 * y), y, 1 - y**2], -1)
        f = jnp.asarray(field, jnp.float32)[:, None, :]
        q = jnp.asarray([[[0.5, -1.0, 1.0, 0.3]]], jnp.float32)
        return q, f, jnp.asarray(w, jnp.float32)

    def error(num, bend, weighted):
        q, f, w = sample(num, bend)
        logs = rope_jax.log_measure(w) if weighted else None
        q0, f0, _ = sample(256, 1.0)
        return float(jnp.abs(attend(q, f, f, log_measure=logs) - attend(q0, f0, f0)).max())

    assert error(16, 3.0, True) < 1e-2
    assert error(16, 3.0, False) > 0.1
    assert error(16, 1.0, False) < 5e-3


def test_batches_masks_and_grouped_heads():
    q = jax.random.normal(jax.random.key(0), (2, 3, 5, 4, 8))
    k, v = jax.random.normal(jax.random.key(1), (2, 2, 3, 5, 2, 8))
    mask = jax.random.bernoulli(jax.random.key(2), 0.6, (2, 3, 1, 5, 5))
    mask = mask | jnp.eye(5, dtype=bool)[None, None, None]
    logs = jax.random.normal(jax.random.key(3), (2, 3, 5))
    out = attend(q, k, v, log_measure=logs, mask=mask)
    wide = [np.repeat(np.asarray(x), 2, axis=-2) for x in (k, v)]
    hidden = np.where(np.asarray(mask[1, 2]), 0, -np.inf) + np.asarray(logs[1, 2])
    want = direct(q[1, 2], wide[0][1, 2], wide[1][1, 2], hidden)
    np.testing.assert_allclose(out[1, 2], want, atol=1e-5)


def test_packed_rows_attend_within_their_image():
    sets = [rope_jax.patch_grid((1, 3)), rope_jax.patch_grid((1, 2))]
    packed = rope_jax.pack(sets, 6, share_rows=True)
    q, k, v = draw(0, 1, 6, 2, 8)
    logs = rope_jax.log_measure(packed.measure)
    # Padding has no weight but is all that padding sees.
    out = attend(q, k, v, log_measure=logs, mask=packed.mask)
    np.testing.assert_allclose(out[0, :3], attend(q[0, :3], k[0, :3], v[0, :3]), atol=1e-5)
    assert bool(jnp.isfinite(out).all())


def test_bfloat16_comes_back_as_bfloat16_and_gradients_reach_the_weights():
    q, k, v = draw(0, 5, 2, 8)
    low = [x.astype(jnp.bfloat16) for x in (q, k, v)]
    logs = jnp.log(jnp.array([1.0, 2.0, 0.5, 1.0, 3.0]))
    out = attend(*low, log_measure=logs)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        np.asarray(out, np.float32), attend(q, k, v, log_measure=logs), atol=0.05
    )

    def loss(logs):
        return jnp.sum(rope_jax.attention(q, k, v, log_measure=logs) ** 2)

    gradient = jax.jit(jax.grad(loss))(logs)
    assert abs(float(gradient.sum())) < 1e-5, "a constant added to log weights changes nothing"
    assert float(jnp.abs(gradient).max()) > 1e-3


def test_a_bias_of_another_batch_is_refused():
    q, k, v = draw(0, 5, 2, 8)
    with pytest.raises(ValueError, match="want 0 or 0 axes in front, got 1"):
        rope_jax.attention(q, k, v, bias=jnp.zeros((1, 2, 5, 5)))


@pytest.mark.parametrize(
    ("length", "dtype", "extra", "wanted"),
    [
        (6, jnp.bfloat16, (), "cudnn"),
        (6, jnp.float32, (), "xla"),
        (5, jnp.bfloat16, (), "cudnn"),
        (5, jnp.bfloat16, ("log_measure",), "xla"),
        (5, jnp.bfloat16, ("bias",), "xla"),
        # cuDNN makes a bias of a mask: its backward pass wants even lengths then too.
        (5, jnp.bfloat16, ("mask",), "xla"),
        (6, jnp.bfloat16, ("mask", "bias"), "cudnn"),
    ],
)
def test_cudnn_is_chosen_where_it_can_run(monkeypatch, length, dtype, extra, wanted):
    used = []

    class Hopper:
        platform, compute_capability = "gpu", "9.0"

    def record(q, k, v, *, implementation, **rest):
        used.append(implementation)
        return q

    monkeypatch.setattr(jax, "devices", lambda: [Hopper()])
    monkeypatch.setattr(jax.nn, "dot_product_attention", record)
    x = jnp.zeros((2, length, 1, 8), dtype)
    options = {
        "log_measure": jnp.zeros(length),
        "bias": jnp.zeros((length, length)),
        "mask": jnp.ones((length, length), bool),
    }
    rope_jax.attention(x, x, x, **{name: options[name] for name in extra})
    assert used == [wanted]
