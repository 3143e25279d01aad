"""What every encoding must do, whatever its mathematics."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import rope_jax
from rope_jax import analysis, testing
from rope_jax.layout import check_layout

HEADS, DIM = 2, 24
KEY = jax.random.key(0)

# name: (constructor, options, exactly relative in x, exactly relative in y)
ROTARY = {
    "rope_1d": (rope_jax.rope_1d, {}, True, True),
    "axial": (rope_jax.axial, {}, True, True),
    "axial_separate": (rope_jax.axial, {"learned": "separate"}, True, True),
    "uniform": (rope_jax.uniform, {"learned": True}, True, True),
    "mixed": (rope_jax.mixed, {}, True, True),
    "fixed_directions": (rope_jax.fixed_directions, {}, True, True),
    "spherical": (rope_jax.spherical, {}, True, False),
    "spherical_learned": (rope_jax.spherical, {"learned": True}, True, False),
    "spherical_swapped": (rope_jax.spherical, {"order": (1, 0)}, False, True),
    "geope": (rope_jax.geope, {}, False, False),
    "liere": (rope_jax.liere, {"block_size": 4}, False, False),
    "comrope_axial": (rope_jax.comrope, {"variant": "axial", "block_size": 4}, True, True),
    "comrope_linear": (rope_jax.comrope, {"variant": "linear", "block_size": 4}, True, True),
    "string_cayley": (rope_jax.string_cayley, {}, True, True),
    "string_circulant": (rope_jax.string_circulant, {}, True, True),
}
LEARNED = [
    *("axial_separate", "uniform", "mixed", "spherical_learned", "liere"),
    *("comrope_axial", "comrope_linear", "string_cayley", "string_circulant"),
]


def build(name: str, num_axes: int = 2, **options) -> rope_jax.Encoding:
    constructor, own, *_ = ROTARY[name]
    if "order" in own and num_axes != 2:
        own = {}
    return constructor(DIM, HEADS, num_axes=num_axes, **own, **options)


def off_identity(encoding: rope_jax.Encoding, key: jax.Array):
    """Parameters away from their start, where Cayley's basis is the identity."""
    params = encoding.init(key)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves) + 1)
    return jax.tree.unflatten(
        tree, [x + 0.2 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=False)]
    )


@pytest.fixture(scope="module", params=list(ROTARY))
def facts(request):
    """What every encoding must do, and what it was measured to do: one compilation for each."""
    name = request.param
    _, _, in_x, in_y = ROTARY[name]
    encoding = build(name)
    return name, testing.check_encoding(
        jax.random.key(1),
        encoding,
        head_dim=DIM,
        num_heads=HEADS,
        params=off_identity(encoding, jax.random.key(1)),
        relative_axes=[axis for axis, exact in enumerate((in_x, in_y)) if exact],
    )


def test_encodings_are_orthogonal_relative_where_they_say_so_and_smooth(facts):
    name, measured = facts
    *_, in_x, in_y = ROTARY[name]
    errors = (*measured.shift, measured.oblique_shift)
    for error, exact in zip(errors, (in_x, in_y, in_x and in_y), strict=True):
        assert (error < 1e-5) if exact else (error > 0.02), (name, errors)


def test_spherical_breaks_the_inner_axis_by_more_than_a_tenth(facts):
    name, measured = facts
    if name == "spherical":
        assert measured.shift[1] > 0.1
    if name == "spherical_swapped":
        assert measured.shift[0] > 0.1


def test_learned_parameters_receive_a_gradient(facts):
    name, measured = facts
    received = [bool(np.any(leaf != 0)) for leaf in jax.tree.leaves(measured.gradients)]
    assert all(received)
    assert bool(received) == (name in LEARNED)


@pytest.mark.parametrize("name", list(ROTARY))
def test_every_encoding_exists_in_one_and_three_dimensions(name):
    for num_axes in (1, 3):
        encoding = build(name, num_axes)

        def run(key, encoding=encoding, num_axes=num_axes):
            params, positions = encoding.init(key), jnp.zeros((5, num_axes))
            x = jnp.zeros((2, 5, HEADS, DIM))
            return encoding.rotate(encoding.prepare(params, positions), x)

        assert jax.eval_shape(run, KEY).shape == (2, 5, HEADS, DIM)


@pytest.mark.parametrize("name", ["mixed", "spherical", "geope", "liere", "string_circulant"])
def test_encodings_of_volumes_keep_norms(name):
    encoding = build(name, 3)

    @jax.jit
    def run(positions, x):
        return encoding.rotate(encoding.prepare(encoding.init(KEY), positions), x)

    rng = np.random.default_rng(0)
    positions, x = rng.normal(size=(5, 3)), rng.normal(size=(2, 5, HEADS, DIM))
    out = run(jnp.asarray(positions, jnp.float32), jnp.asarray(x, jnp.float32))
    assert np.abs(np.asarray(out) - x).max() > 0.1
    np.testing.assert_allclose(np.linalg.norm(out, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-5)


@settings(max_examples=3)
@given(
    name=st.sampled_from(["axial", "mixed", "spherical", "geope", "liere"]),
    shape=st.sampled_from([(1, 1), (2, 3), (4, 2)]),
    dtype=st.sampled_from([jnp.float32, jnp.bfloat16]),
    layout=st.sampled_from(["adjacent", "half_split"]),
)
def test_jit_equals_eager_and_keeps_norms_and_dtypes(name, shape, dtype, layout):
    encoding = build(name, layout=layout)
    params = encoding.init(jax.random.key(0))
    positions = rope_jax.patch_grid(shape).positions
    x = jax.random.normal(jax.random.key(1), (positions.shape[0], HEADS, DIM)).astype(dtype)

    def run(params, positions, x):
        return encoding.rotate(encoding.prepare(params, positions), x)

    eager, compiled = run(params, positions, x), jax.jit(run)(params, positions, x)
    assert eager.dtype == compiled.dtype == dtype
    tolerance = 2e-2 if dtype == jnp.bfloat16 else 2e-6
    eager, compiled, x = (np.asarray(a, np.float32) for a in (eager, compiled, x))
    np.testing.assert_allclose(eager, compiled, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        np.linalg.norm(eager, axis=-1), np.linalg.norm(x, axis=-1), rtol=10 * tolerance
    )


def test_angles_are_float32_whatever_comes_in():
    # On a grid of 128 integer positions a bfloat16 angle is off by 0.2 (measured in numpy).
    encoding = rope_jax.axial(DIM, HEADS)
    positions = rope_jax.patch_grid((1, 128), convention="integer").positions
    rotation = encoding.prepare({}, positions)
    assert rotation.cos.dtype == jnp.float32
    omega = 100.0 ** (-np.arange(6) / 6)
    exact = np.cos(np.arange(128)[:, None] * omega[None, :])
    assert np.abs(rotation.cos[:, 0, :6] - exact).max() < 2e-5
    low = rope_jax.cast_rotation(rotation, jnp.bfloat16)
    assert np.abs(np.asarray(low.cos[:, 0, :6], np.float64) - exact).max() < 0.004
    x = jnp.ones((128, HEADS, DIM), jnp.bfloat16)
    assert encoding.rotate(low, x).dtype == jnp.bfloat16


def test_integer_positions_are_taken_as_they_are():
    encoding = rope_jax.rope_1d(4, 1)
    whole = encoding.prepare({}, jnp.arange(5)[:, None])
    real = encoding.prepare({}, jnp.arange(5.0)[:, None])
    np.testing.assert_array_equal(whole.cos, real.cos)


@pytest.mark.parametrize("name", ["axial", "mixed", "spherical", "liere", "string_cayley"])
def test_packed_batches_equal_their_images_one_by_one(name):
    encoding = build(name)
    packed = rope_jax.pack([rope_jax.patch_grid((2, 3)), rope_jax.patch_grid((1, 4))], 6)

    @jax.jit
    def run(key, positions):
        params, x = off_identity(encoding, key), jax.random.normal(key, (2, 6, HEADS, DIM))

        def rotate(positions, x):
            return encoding.rotate(encoding.prepare(params, positions), x)

        return rotate(positions, x), [rotate(p, z) for p, z in zip(positions, x, strict=True)]

    both, rows = run(jax.random.key(1), packed.positions)
    np.testing.assert_allclose(both, np.stack(rows), atol=1e-6)


def test_encodings_of_two_bases_share_nothing():
    positions = rope_jax.patch_grid((2, 2)).positions
    slow, fast = rope_jax.axial(8, 1, base=10_000.0), rope_jax.axial(8, 1, base=100.0)
    one, two = slow.prepare({}, positions), fast.prepare({}, positions)
    np.testing.assert_allclose(one.sin[3, 0, 1], np.sin(np.pi / 2 / 100), rtol=1e-5)
    np.testing.assert_allclose(two.sin[3, 0, 1], np.sin(np.pi / 2 / 10), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "per_head"),
    [
        ("axial", {"learned": "joint"}, 16),
        ("axial", {"learned": "separate"}, 32),
        ("axial", {}, 0),
        ("mixed", {}, 64),
        ("fixed_directions", {}, 0),
        ("liere", {"block_size": 8}, 2 * 64 * 7 // 2),
        ("liere", {"block_size": 64}, 64 * 63),
        ("string_cayley", {}, 64 * 63 // 2 + 64),
        ("string_circulant", {}, 128),
        ("comrope", {"variant": "axial", "block_size": 8}, 8 * 28),
    ],
)
def test_parameter_counts_are_those_of_the_table(name, options, per_head):
    encoding = getattr(rope_jax, name)(64, 6, **options)
    assert analysis.count_parameters(encoding) == 6 * per_head


def test_parameter_counts_of_whole_models():
    # ViT-S: 12 layers, 6 heads; spherical with 63 channels a head.
    assert 12 * analysis.count_parameters(rope_jax.mixed(64, 6)) == 4608
    assert 12 * analysis.count_parameters(rope_jax.spherical(63, 6, learned=True)) == 3024
    assert 12 * analysis.count_parameters(rope_jax.liere(64, 6, block_size=8)) == 32_256
    assert analysis.count_parameters(rope_jax.learned_absolute(64, 6, grid=(14, 14))) == 196 * 384


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: rope_jax.spherical(64, 6), "head_dim must be a positive multiple of 3, got 64"),
        (lambda: rope_jax.axial(62, 6), "head_dim must be a positive multiple of 4, got 62"),
        (lambda: rope_jax.liere(60, 6), "head_dim must be a positive multiple of 8, got 60"),
        (lambda: rope_jax.rope_1d(7, 1), "multiple of 2, got 7"),
        (lambda: rope_jax.spherical(6, 1, order=(0, 2)), r"order must hold .* got \(0, 2\)"),
        (lambda: check_layout("interleaved"), "layout must be one of .* got 'interleaved'"),
        (lambda: rope_jax.spherical(6, 1, num_axes=4), "num_axes must be one of .* got 4"),
        (lambda: rope_jax.axial(8, 1, sections=(3, 2)), r"at most 4, got \(3, 2\)"),
        (lambda: rope_jax.axial(8, 1, learned="yes"), "learned must be one of .* got 'yes'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_said_with_both_numbers(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("name", list(ROTARY))
def test_positions_of_the_wrong_width_are_refused(name):
    encoding = build(name)
    with pytest.raises(ValueError, match="num_axes = 2 coordinates, got 3"):
        jax.eval_shape(lambda k: encoding.prepare(encoding.init(k), jnp.zeros((4, 3))), KEY)


def test_layers_get_their_own_parameters_and_fixed_tables_are_shared():
    encoding, positions = build("mixed"), jnp.ones((3, 2))
    params = rope_jax.init_layers(encoding, jax.random.key(0), 3)
    prepare = jax.jit(lambda p, at: rope_jax.prepare_layers(encoding, p, at, 3))
    rotations = prepare(params, positions)
    single = encoding.prepare(jax.tree.map(lambda p: p[1], params), positions)
    np.testing.assert_allclose(rotations[1].cos, single.cos, atol=1e-6)
    assert float(jnp.abs(rotations[0].cos - rotations[1].cos).max()) > 0.1
    fixed = build("axial")
    assert rope_jax.init_layers(fixed, jax.random.key(0), 3) == {}
    first, *rest = rope_jax.prepare_layers(fixed, {}, positions, 3)
    assert all(rotation is first for rotation in rest)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["axial", "spherical", "geope", "liere"])
def test_queries_with_fewer_channels_than_the_tables_are_refused(name):
    encoding = build(name)
    rotation = encoding.prepare(encoding.init(KEY), jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match="rotate 24 channels, x has only 12"):
        encoding.rotate(rotation, jnp.ones((3, HEADS, 12)))
