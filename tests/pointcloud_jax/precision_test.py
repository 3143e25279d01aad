"""Under `jax_enable_x64` the package computes, and draws, what it does without."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import pointcloud_jax as pc
from lejepa_jax.nn.layers import dropout
from pointcloud_jax import nn, spectra

RADII = np.linspace(0, 6, 5)
SHAPE = (2, 12, 3)
VIEW = pc.PointViewSpec(
    count=2,
    num_points=8,
    occlusion=0.5,
    crop=(0.5, 1.0),
    cut=(0.0, 0.3),
    dropout=(0.0, 0.3),
    rotation="so3",
    tilt=0.1,
    scale=(0.8, 1.2),
    shift=0.1,
    jitter=0.01,
)


def matrices(points):
    return pc.quaternion_to_matrix(jnp.concatenate([points, points[..., :1] + 2], -1))


# Functions of clouds of shape (2, 12, 3).
CASES = {
    "normalize_radius": pc.normalize_radius,
    "normalize_radius, rms": lambda x: pc.normalize_radius(x, statistic="rms"),
    "dasft": lambda x: pc.dasft(x, pc.lebedev(7), RADII),
    "dasft, any radii": lambda x: pc.dasft(x, pc.lebedev(7), jnp.asarray(RADII, jnp.float32)),
    "debye_spectrum": lambda x: pc.debye_spectrum(x, RADII),
    "debye_spectrum, bins": lambda x: pc.debye_spectrum(x, RADII, num_bins=8),
    "pair_histogram": lambda x: pc.pair_histogram(x, num_bins=8),
    "degree_spectrum": lambda x: pc.degree_spectrum(x, RADII, max_degree=3),
    "log_spectrum": lambda x: pc.log_spectrum(x, max_degree=2, num_radii=4, max_radius=6.0),
    "solid_harmonics": lambda x: pc.solid_harmonics(x, 3),
    "spherical_bessel": lambda x: pc.spherical_bessel(jnp.abs(x), 3),
    "knn": lambda x: pc.knn(x, 3, exclude_self=True),
    "knn, many coordinates": lambda x: pc.knn(jnp.tile(x, 4), 3),
    "ball_query": lambda x: pc.ball_query(x, x, 1.0, 3),
    "knn_between": lambda x: pc.knn_between(x, x, 3),
    "interpolate": lambda x: pc.interpolate(x, x, x),
    "edge_angles": lambda x: pc.edge_angles(x, chirality=True),
    "local_moments": pc.local_moments,
    "moment_invariants": lambda x: pc.moment_invariants(x[:, 0], pc.local_moments(x)),
    "surface_tensor": lambda x: pc.surface_tensor(x[:, :3]),
    "tensor_invariants": lambda x: pc.tensor_invariants(x[:, 0], x[:, 1:4], x[:, 4:7]),
    "spread_neighbors": lambda x: pc.spread_neighbors(
        pc.knn_between(x, x, 6), jnp.array([12, 8], jnp.int32), 0.5, num_edges=4
    ),
    "farthest_point_sampling": lambda x: pc.farthest_point_sampling(x, 3),
    "quaternion_to_matrix": matrices,
    "matrix_to_quaternion": lambda x: pc.matrix_to_quaternion(matrices(x)),
    "matrix_to_axis_angle": lambda x: pc.matrix_to_axis_angle(matrices(x)),
    "rotation_angle": lambda x: pc.rotation_angle(matrices(x)),
    "rotation_about": lambda x: pc.rotation_about(x, x[..., 0]),
    "l2dp": lambda x: pc.l2dp(x[:, :, None, None], x[:, :, None, None], chirality=True),
    "edge_statistics": lambda x: pc.edge_statistics(x),
    "radial_pool": lambda x: pc.radial_pool(x, jnp.abs(x[..., 0])),
    "vector_linear": lambda x: pc.vector_linear(x, jnp.ones((12, 2), jnp.float32)),
    "vector_leaky_relu": lambda x: pc.vector_leaky_relu(x, x),
    "visible_mask": lambda x: pc.visible_mask(x[0], x[1, 0]),
}


def options(**changes):
    return dataclasses.replace(
        nn.tiny_config(nn.DirectionOptions(max_degree=1, **changes)),
        widths=(4, 4),
        num_radii=(3, 3),
        k=3,
        embedding=4,
    )


def network(make):
    def call(key):
        rngs = nnx.Rngs(key)
        encoder = make(rngs)
        classes = nn.Classifier(encoder, 3, hidden=(4,), rngs=rngs)
        parts = nn.Segmenter(encoder, 3, num_categories=2, hidden=(4, 4), rngs=rngs)
        points = jax.random.normal(key, SHAPE, jnp.float32)
        keys = jax.random.split(key, 2)
        outputs = classes(points, train=True, keys=keys)
        per_point = parts(points, category=jnp.array([0, 1], jnp.int32), train=True, keys=keys)
        return outputs, per_point, nnx.to_pure_dict(nnx.state(classes))

    return call


NETWORKS = {
    "DGCNN": network(lambda rngs: nn.DGCNN((4,), embedding=4, k=3, rngs=rngs)),
    "VNDGCNN": network(lambda rngs: nn.VNDGCNN((4,), embedding=4, k=3, rngs=rngs)),
    "HierarchicalEncoder": network(
        lambda rngs: nn.HierarchicalEncoder(
            nn.HierarchyConfig((6, 3), (0.5, 1.0), (4, 4), embedding=4), rngs=rngs
        )
    ),
    "DiPVNet": network(lambda rngs: nn.DiPVNet(options(chirality=True), rngs=rngs)),
    "DiPVNet, dasft": network(
        lambda rngs: nn.DiPVNet(options(spectrum="dasft", log_spectrum=False), rngs=rngs)
    ),
    "DiPVNet, debye": network(
        lambda rngs: nn.DiPVNet(options(spectrum="debye", aggregation="statistics"), rngs=rngs)
    ),
}


def views(key):
    points = jax.random.normal(key, SHAPE, jnp.float32)
    return pc.make_point_views(jax.random.split(key, 2), points, (VIEW,), normals=points)


def a_point(key):
    return jax.random.normal(key, (12, 3), jnp.float32)


# Functions of a key.
RANDOM = {
    "random_quaternion": lambda key: pc.random_quaternion(key, (3,)),
    "random_rotation": lambda key: pc.random_rotation(key, (3,)),
    "random_rotation_about": lambda key: pc.random_rotation_about(key, jnp.float32([0, 0, 1])),
    "random_small_rotation": lambda key: pc.random_small_rotation(key, 0.3),
    "make_point_views": views,
    "crop_mask": lambda key: pc.crop_mask(key, a_point(key), 0.5),
    "cut_mask": lambda key: pc.cut_mask(key, a_point(key), 0.5),
    "dropout": lambda key: dropout(
        jnp.ones((2, 100), jnp.float32), jax.random.split(key, 2), 0, 0.3
    ),
    **{f"sample_shape, {name}": lambda key, name=name: pc.sample_shape(key, name, 8)
       for name in ("ellipsoid", "torus", "star", "mug", "stairs")},
}  # fmt: skip


def described(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, np.dtype(leaf.dtype).name), tree)


@pytest.mark.parametrize("name", CASES)
def test_dtypes_do_not_depend_on_the_default_precision(name):
    points = jax.ShapeDtypeStruct(SHAPE, jnp.float32)
    without = described(jax.eval_shape(CASES[name], points))
    with jax.enable_x64(True):
        assert described(jax.eval_shape(CASES[name], points)) == without


@pytest.mark.parametrize("name", CASES)
def test_results_are_float32_whatever_comes_in(name):
    with jax.enable_x64(True):
        for dtype in (jnp.bfloat16, jnp.float64):
            out = jax.eval_shape(CASES[name], jax.ShapeDtypeStruct(SHAPE, dtype))
            kinds = {leaf.dtype.name for leaf in jax.tree.leaves(out)}
            assert kinds <= {"float32", "int32", "bool"}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_float32_under_any_default_precision(name):
    key = jax.eval_shape(lambda: jax.random.key(0))
    without = described(jax.eval_shape(NETWORKS[name], key))
    with jax.enable_x64(True):
        assert described(jax.eval_shape(NETWORKS[name], key)) == without


@pytest.mark.parametrize("name", RANDOM)
def test_the_same_key_draws_the_same_under_any_default_precision(name):
    without = jax.jit(RANDOM[name])(jax.random.key(0))
    with jax.enable_x64(True):
        ours = jax.jit(RANDOM[name])(jax.random.key(0))
    assert described(ours) == described(without)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), ours, without)


def test_every_public_function_is_here():
    """What is left out makes no arrays, or is a class, or is called by those that are here."""
    tested = {name.partition(",")[0] for name in (*CASES, *RANDOM)}
    left_out = {
        *("check_points", "gather", "rotate", "load", "num_parts", "shape_dataset"),
        *("fibonacci", "lebedev", "icosahedral", "spherical_design", "sphere_rule"),
        *("flatten_ordered", "edge_vectors", "read_in_frame", "vector_max_pool"),
        *("vector_mean_pool", "confusion_matrix", "part_iou"),
        *("cloud_encoder_by_name", "cloud_encoders_by_name"),
    }
    functions = {
        name
        for name in pc.__all__
        if callable(getattr(pc, name))
        and not isinstance(getattr(pc, name), type)
        and not name.endswith("_config")
    }
    assert functions - left_out <= tested
    assert set(spectra.__all__) <= tested
