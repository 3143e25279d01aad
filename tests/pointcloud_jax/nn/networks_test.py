"""The networks: published sizes, invariance with its controls, masks, degenerate clouds."""

import dataclasses
import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from scipy.spatial.transform import Rotation

from pointcloud_jax.nn import dgcnn, dipvnet, heads
from pointcloud_jax.nn.dipvnet import PAPER, DirectionOptions
from pointcloud_jax.testing import assert_invariant

OURS = DirectionOptions(max_degree=1, max_radius=6.0)
KEYS = jax.random.split(jax.random.key(1), 2)


def config(options, **changes):
    base = dipvnet.DiPVNetConfig(
        widths=(4, 8),
        depths=(1, 1),
        num_radii=(4, 4),
        k=4,
        embedding=4,
        num_heads=4,
        options=options,
    )
    return dataclasses.replace(base, **changes)


def cloud(*shape, seed=0):
    points = np.random.default_rng(seed).normal(size=(*shape, 3)) * [1, 0.6, 0.3]
    return points.astype(np.float32)


def rotation(seed):
    return Rotation.random(random_state=seed).as_matrix().astype(np.float32)


def compiled(make):
    """Wrap a network into a compiled function; it is made when it is first called."""

    @functools.cache
    def ready():
        graph, state = nnx.split(make())

        @functools.partial(jax.jit, static_argnames="train")
        def call(*args, **kwargs):
            return nnx.merge(graph, state, copy=True)(*args, **kwargs)

        return call

    return lambda *args, **kwargs: ready()(*args, **kwargs)


def classifier(make, *args, **kwargs):
    def both():
        rngs = nnx.Rngs(0)
        return heads.Classifier(make(*args, **kwargs, rngs=rngs), 3, hidden=(8,), rngs=rngs)

    return both


SIZES = {
    3_449_000: lambda rngs: heads.Classifier(
        dipvnet.DiPVNet(dipvnet.modelnet40_config(PAPER), rngs=rngs), 40, rngs=rngs
    ),
    3_239_183: lambda rngs: heads.Classifier(
        dipvnet.DiPVNet(
            dipvnet.scanobjectnn_config(dataclasses.replace(PAPER, aggregation="statistics")),
            rngs=rngs,
        ),
        15,
        rngs=rngs,
    ),
    1_901_264: lambda rngs: heads.Segmenter(
        dipvnet.DiPVNetParts(dipvnet.shapenetpart_config(PAPER), rngs=rngs),
        50,
        num_categories=16,
        rngs=rngs,
    ),
    2_899_830: lambda rngs: heads.Classifier(dgcnn.VNDGCNN(rngs=rngs), 40, rngs=rngs),
}


@pytest.mark.parametrize("size", SIZES)
def test_published_networks_have_their_published_numbers_of_parameters(size):
    """3.449 M, 3.239 M, 1.901 M and 2.90 M, from the widths alone: no parameter is made."""
    module = nnx.eval_shape(lambda: SIZES[size](nnx.Rngs(0)))
    leaves = jax.tree.leaves(nnx.state(module, nnx.Param))
    assert sum(np.prod(leaf.shape) for leaf in leaves) == size


exact_rule = dataclasses.replace(PAPER, rule="lebedev-29", normalize_radius=True, log_spectrum=True)
with_chirality = dataclasses.replace(OURS, chirality=True, spectrum="debye")
ours = compiled(classifier(dipvnet.DiPVNet, config(OURS)))
published = compiled(classifier(dipvnet.DiPVNet, config(PAPER)))
exact = compiled(classifier(dipvnet.DiPVNet, config(exact_rule)))
vector = compiled(classifier(dgcnn.VNDGCNN, (4, 4), embedding=4, k=4))
plain = compiled(classifier(dgcnn.DGCNN, (4, 4), embedding=4, k=4))
parts = compiled(
    lambda: heads.Segmenter(
        dipvnet.DiPVNetParts(config(with_chirality, depths=(2, 1), normals=True), rngs=nnx.Rngs(0)),
        5,
        num_categories=2,
        hidden=(8, 8),
        rngs=nnx.Rngs(1),
    )
)
EVERY = np.ones((2, 20), bool)


def change(function, points, moved):
    before, after = function(points, mask=EVERY), function(moved, mask=EVERY)
    return float(abs(after - before).max() / abs(before).max())


@hypothesis.settings(max_examples=5)
@hypothesis.given(st.integers(0, 2**31 - 1))
def test_logits_do_not_change_when_the_cloud_turns_moves_or_is_shuffled(seed):
    for function in (ours, vector):
        assert_invariant(
            lambda points, function=function: function(points, mask=EVERY),
            jax.random.key(seed),
            points=cloud(2, 20, seed=seed % 11),
            under=("rotation", "translation", "permutation"),
            draws=1,
        )


@hypothesis.settings(max_examples=3)
@hypothesis.given(st.integers(0, 2**31 - 1))
def test_the_published_network_is_exact_with_an_exact_rule(seed):
    points = cloud(2, 20, seed=seed % 11)
    assert change(exact, points, points @ rotation(seed).T) < 1e-4


def test_with_the_published_rule_and_without_vectors_they_do_change():
    """Negative controls: 36 directions on channels of any size, and plain coordinates."""
    points = 3 * cloud(2, 20)
    moved = points @ rotation(0).T
    assert change(published, points, moved) > 1e-3
    assert change(plain, points, moved) > 1e-2
    assert change(plain, points, points + np.float32(1)) < 1e-4


@pytest.mark.slow
def test_parts_turn_with_the_cloud_and_follow_its_points():
    points, normals = cloud(2, 20), cloud(2, 20, seed=1)
    category = np.array([0, 1])
    assert_invariant(
        lambda points, normals: parts(points, normals=normals, category=category, mask=EVERY),
        jax.random.key(0),
        points=points,
        normals=normals,
        under=("rotation", "permutation"),
        per_point=True,
        draws=1,
    )
    before = parts(points, normals=normals, category=category, mask=EVERY)
    scale = abs(before).max()
    mirror = np.float32([1, 1, -1])
    mirrored = parts(points * mirror, normals=normals * mirror, category=category, mask=EVERY)
    assert abs(mirrored - before).max() > 1e-3 * scale  # triple products see the difference
    other = parts(points, normals=normals, category=1 - category, mask=EVERY)
    assert abs(other - before).max() > 1e-3 * scale


@pytest.mark.parametrize("name", ["ours", "plain"])
def test_padding_changes_nothing(name):
    function = {"ours": ours, "plain": plain}[name]
    points = cloud(2, 20)
    mask = np.broadcast_to(np.arange(20) < 14, (2, 20))
    points[~mask] = 1e3
    sliced = function(points[:, :14], mask=EVERY[:, :14])
    np.testing.assert_allclose(function(points, mask=mask), sliced, atol=1e-4)


@pytest.fixture(scope="module")
def training_step():
    """Loss, statistics and gradients of one training step: one compilation for all clouds."""
    make = classifier(dipvnet.DiPVNet, config(OURS))
    graph, params, rest = nnx.split(make(), nnx.Param, ...)

    def loss(params, points, mask):
        model = nnx.merge(graph, params, rest, copy=True)
        logits = model(points, mask=mask, train=True, keys=KEYS)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.array([0, 2]))
        return losses.mean(), nnx.state(model, nnx.BatchStat)

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
    return lambda points, mask: step(params, points, mask)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["equal", "twice", "few", "none"])
def test_training_on_degenerate_clouds_has_finite_outputs_and_gradients(training_step, kind):
    points, mask = cloud(2, 20), EVERY.copy()
    points = {
        "equal": np.full_like(points, 0.3),
        "twice": np.concatenate([points[:, :10]] * 2, 1),
    }.get(kind, points)
    mask[:, {"few": 2, "none": 0}.get(kind, 20) :] = False
    for leaf in jax.tree.leaves(training_step(points, mask)):
        assert np.isfinite(leaf).all()


@pytest.mark.slow
def test_every_parameter_learns(training_step):
    (_, statistics), (by_parameter, by_point) = training_step(cloud(2, 20), EVERY)
    sizes = {
        jax.tree_util.keystr(path): float(abs(leaf).max())
        for path, leaf in jax.tree_util.tree_leaves_with_path(by_parameter)
    }
    # What adds the same to every cloud in front of the head's BatchNorm is subtracted again with
    # the mean: in exact arithmetic these have no gradient, in float32 rounding or nothing.
    useless = {"['layers'][0]['bias'].value"}
    useless |= {f"['encoder']['norms'][{i}]['bias'].value" for i in (0, 1)}
    assert useless <= set(sizes)
    largest = max(sizes.values())
    for name, size in sizes.items():
        assert size < 1e-5 * largest if name in useless else size > 1e-5 * largest, (name, size)
    assert by_point.any()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(statistics))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DirectionOptions(spectrum="fft"), "spectrum must be one of .* got 'fft'"),
        (lambda: DirectionOptions(rule="leopold-3"), "rule must be one of .* got 'leopold'"),
        (lambda: DirectionOptions(aggregation="sum"), "aggregation must be one of .* got 'sum'"),
        (lambda: config(OURS, depths=(1,)), "one entry a stage"),
        (lambda: config(OURS, widths=(4, 7)), "widths must be even"),
        (lambda: ours(cloud(2, 4)), "k must be between 1 and the 3 possible neighbors, got 4"),
        (lambda: ours(cloud(2, 20), normals=cloud(2, 20)), "normals must be left out"),
        (lambda: ours(cloud(2, 20), train=True), "keys must hold one key an example"),
        (lambda: parts(cloud(2, 20), normals=cloud(2, 20)), "category must be given"),
    ],
)
def test_bad_arguments_are_named(make, message, unchecked):
    with pytest.raises(ValueError, match=message):
        make()
