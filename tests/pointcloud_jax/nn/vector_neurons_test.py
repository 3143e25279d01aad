"""Every layer commutes with rotations and permutations; masks; float64 formulas."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.spatial.transform import Rotation

from pointcloud_jax.nn import vector_neurons as vn

MASK = np.arange(6)[None, :] < np.array([[6], [4]])


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def run(module, method="__call__"):
    """Compile a module once, as a function of its inputs, in training mode."""
    graph, state = nnx.split(module)

    def call(*args, **kwargs):
        return getattr(nnx.merge(graph, state, copy=True), method)(*args, **kwargs)

    return jax.jit(call, static_argnames="train")


linear_relu = run(vn.VectorLinearLeakyReLU(4, 5, rngs=nnx.Rngs(0)))
shared_relu = run(vn.VectorLinearLeakyReLU(4, 5, share=True, rngs=nnx.Rngs(0)))
on_edges = run(vn.VectorLinearLeakyReLU(8, 5, rngs=nnx.Rngs(0)), "on_edges")
max_pool = run(vn.VectorMaxPool(4, rngs=nnx.Rngs(0)))
batch_norm = run(vn.VectorBatchNorm(4, rngs=nnx.Rngs(0)))
frame = run(vn.InvariantFrame(8, rngs=nnx.Rngs(0)))
right_handed = run(vn.InvariantFrame(8, orthonormal=True, rngs=nnx.Rngs(0)))


@hypothesis.given(st.integers(0, 2**31 - 1))
def test_layers_commute_with_rotation_and_reflection(seed):
    vectors = draw(2, 6, 4, 3, seed=seed)
    turn = (Rotation.random(random_state=seed).as_matrix() * [1, 1, -1]).astype(np.float32)
    indices = np.random.default_rng(seed).integers(0, 6, (2, 6, 3))
    functions = {
        "linear_relu": lambda v: linear_relu(v, train=True, mask=MASK),
        "shared_relu": lambda v: shared_relu(v, train=True, mask=MASK),
        "on_edges": lambda v: on_edges(v, indices, train=True),
        "max_pool": lambda v: max_pool(v, mask=MASK),
        "batch_norm": lambda v: batch_norm(v, train=True, mask=MASK),
    }
    for name, function in functions.items():
        np.testing.assert_allclose(
            function(vectors @ turn), function(vectors) @ turn, atol=2e-4, err_msg=name
        )


@hypothesis.given(st.integers(0, 2**31 - 1))
def test_coordinates_in_a_learned_frame_are_invariant(seed):
    vectors = draw(2, 6, 8, 3, seed=seed)
    turn = Rotation.random(random_state=seed).as_matrix().astype(np.float32)
    mirror = np.diag(np.float32([1, 1, -1]))
    for function in (frame, right_handed):
        before, axes = function(vectors, train=True)
        after, turned = function(vectors @ turn, train=True)
        np.testing.assert_allclose(after, before, atol=3e-4)
        np.testing.assert_allclose(turned, axes @ turn, atol=3e-4)
    # The plain frame does not see a mirror image; the right-handed one does.
    plain, handed = frame(vectors, train=True)[0], right_handed(vectors, train=True)[0]
    np.testing.assert_allclose(frame(vectors @ mirror, train=True)[0], plain, atol=3e-4)
    assert abs(right_handed(vectors @ mirror, train=True)[0] - handed).max() > 0.1
    axes = np.asarray(right_handed(vectors, train=True)[1])
    np.testing.assert_allclose(np.linalg.det(axes), 1, atol=0.05)  # 1e-6 beside short vectors


def test_a_layer_that_mixes_coordinates_fails_the_same_comparison():
    """Negative control: an ordinary leaky ReLU on the numbers."""
    vectors, turn = draw(2, 6, 4, 3), Rotation.random(random_state=0).as_matrix()
    plain = np.where(vectors > 0, vectors, 0.2 * vectors)
    turned = vectors @ turn
    turned = np.where(turned > 0, turned, 0.2 * turned)
    assert abs(turned - plain @ turn).max() > 0.1


def test_the_leaky_relu_is_the_published_one():
    vectors, directions = draw(7, 4, 3).astype(float), draw(7, 4, 3, seed=1).astype(float)
    product = (vectors * directions).sum(-1, keepdims=True)
    projected = vectors - product / ((directions**2).sum(-1, keepdims=True) + 1e-6) * directions
    expected = 0.2 * vectors + 0.8 * np.where(product >= 0, vectors, projected)
    value = jax.jit(vn.vector_leaky_relu)(vectors.astype("f4"), directions.astype("f4"))
    np.testing.assert_allclose(value, expected, atol=1e-5)


def test_batch_norm_normalizes_lengths_and_may_flip():
    vectors = draw(2, 6, 4, 3)
    value = batch_norm(vectors, train=True)
    length = np.linalg.norm(vectors, axis=-1).astype(float)
    expected = (length - length.mean((0, 1))) / np.sqrt(length.var((0, 1)) + 1e-5)
    np.testing.assert_allclose(value, vectors * (expected / length)[..., None], atol=1e-4)
    assert (np.sum(value * vectors, -1) < 0).any()


def test_the_pool_takes_one_neighbor_a_channel_and_ignores_absent_ones():
    vectors = draw(2, 6, 4, 3)
    vectors[1, 4:] = 1e3
    value = np.asarray(max_pool(vectors, mask=MASK))
    weight = np.asarray(vn.VectorMaxPool(4, rngs=nnx.Rngs(0)).direction[...])
    for batch, count in ((0, 6), (1, 4)):
        present = vectors[batch, :count].astype(float)
        score = (present * np.einsum("kcv,cd->kdv", present, weight)).sum(-1)
        expected = present[score.argmax(0), np.arange(4)]
        np.testing.assert_allclose(value[batch], expected, atol=1e-6)
    assert not max_pool(vectors, mask=np.zeros((2, 6), bool)).any()


def test_edges_by_points_equal_edges_one_by_one():
    vectors, weight = draw(2, 6, 4, 3), draw(8, 5)
    indices = np.random.default_rng(0).integers(0, 6, (2, 6, 3))
    neighbor = np.stack([cloud[i] for cloud, i in zip(vectors, indices, strict=True)])
    center = np.broadcast_to(vectors[:, :, None], neighbor.shape)
    edge = np.concatenate([neighbor - center, center], axis=3)
    value = jax.jit(vn.edge_vectors)(vectors, jnp.asarray(indices), weight)
    np.testing.assert_allclose(value, np.einsum("bnkcv,cd->bnkdv", edge, weight), atol=1e-5)


def test_zero_vectors_have_finite_gradients():
    module = vn.InvariantFrame(8, orthonormal=True, rngs=nnx.Rngs(0))
    graph, state = nnx.split(module)

    def loss(vectors):
        return nnx.merge(graph, state, copy=True)(vectors, train=True)[0].sum()

    gradient = jax.jit(jax.grad(loss))
    assert np.isfinite(gradient(np.zeros((2, 6, 8, 3), np.float32))).all()
    assert np.isfinite(gradient(draw(2, 6, 8, 3))).all()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="features must be at least 4, got 3"):
        vn.InvariantFrame(3, rngs=nnx.Rngs(0))
