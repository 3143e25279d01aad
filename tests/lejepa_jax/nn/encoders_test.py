"""What every encoder, and the projector, promises: see the contract that pretraining relies on."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from lejepa_jax.nn.convnext_v2 import ConvNeXt
from lejepa_jax.nn.layers import drop_path_ramp, drop_path_scales, gelu, patchify
from lejepa_jax.nn.projector import Projector
from lejepa_jax.nn.residual_network import ResNet
from lejepa_jax.nn.vision_transformer import ViT

BATCH = 16


def make_vit(**options):
    # The registers, LayerScale, norm of queries and keys, stochastic depth, recomputation: all on.
    return ViT(
        width=8,
        depth=2,
        num_heads=2,
        patch_size=4,
        image_size=12,
        num_registers=1,
        drop_path=0.5,
        layer_scale=1.0,
        qk_norm=True,
        remat=True,
        rngs=nnx.Rngs(0),
        **options,
    )


def make_convnext(**options):
    return ConvNeXt(
        depths=(1, 1), widths=(4, 8), stem_patch=2, drop_path=0.5, rngs=nnx.Rngs(0), **options
    )


def make_resnet(**options):
    return ResNet(stage_sizes=(1, 1), width=4, stem="small", rngs=nnx.Rngs(0), **options)


def make_projector(**options):
    return Projector(6, 3, hidden_features=5, num_layers=3, rngs=nnx.Rngs(0), **options)


MAKERS = {
    "vit": make_vit,
    "convnext": make_convnext,
    "resnet": make_resnet,
    "projector": make_projector,
}
ENCODERS = ("vit", "convnext", "resnet")


def random_state(make, **options):
    """Values for all parameters, far from where the initializers put some at zero."""
    graphdef, params, rest = nnx.split(nnx.eval_shape(lambda: make(**options)), nnx.Param, ...)
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        value = rng.normal(size=leaf.shape)
        if leaf.ndim > 1:
            value = value / np.sqrt(np.prod(leaf.shape[:-1]))
        elif "scale" in jax.tree_util.keystr(path):
            value = 1 + 0.3 * value
        return jnp.asarray(value, jnp.float32)

    params = jax.tree_util.tree_map_with_path(draw, params)
    rest = jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(0.5, 1, leaf.shape), jnp.float32), rest
    )
    return graphdef, params, rest


def inputs(name):
    rng = np.random.default_rng(1)
    shape = (BATCH, 6) if name == "projector" else (BATCH, 8, 12, 3)
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


def keys_of_examples():
    return jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(0)))(jnp.arange(BATCH))


def call(model, x, keys, train):
    if isinstance(model, Projector):
        return model(x, train=train)
    return model(x, train=train, keys=keys)


def step_of(name, *, axis_name=None, **options):
    """One training step's outputs, running statistics and gradients, as a per-device function."""
    graphdef, params, rest = random_state(MAKERS[name], axis_name=axis_name, **options)

    def step(params, rest, x, keys):
        def loss(params):
            model = nnx.merge(graphdef, params, rest, copy=True)
            out = call(model, x, keys, True)
            value = jnp.sin(out).mean()
            if axis_name is not None:
                value = jax.lax.pmean(value, axis_name)
            return value, (out, nnx.state(model, nnx.BatchStat))

        grads, (out, stats) = jax.grad(loss, has_aux=True)(params)
        if axis_name is not None:
            grads = jax.lax.pmean(grads, axis_name)
        return out, stats, grads

    return step, params, rest


@functools.cache
def on_one_device(name):
    step, params, rest = step_of(name)
    return jax.jit(step)(params, rest, inputs(name), keys_of_examples())


def on_eight_devices(name, how):
    x, keys = inputs(name), keys_of_examples()
    step, params, rest = step_of(name, axis_name=None if how == "jit" else "data")
    if how == "pmap":
        out, stats, grads = jax.pmap(step, axis_name="data", in_axes=(None, None, 0, 0))(
            params, rest, x.reshape(8, 2, *x.shape[1:]), keys.reshape(8, 2)
        )
        first = functools.partial(jax.tree.map, lambda leaf: leaf[0])
        return out.reshape(BATCH, -1), first(stats), first(grads)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    if how == "jit":
        x, keys = jax.device_put((x, keys), NamedSharding(mesh, P("data")))
        params, rest = jax.device_put((params, rest), NamedSharding(mesh, P()))
        return jax.jit(step)(params, rest, x, keys)
    mapped = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(P(), P(), P("data"), P("data")),
        out_specs=(P("data"), P(), P()),
        check_vma=how == "shard_map, checked",
    )
    return jax.jit(mapped)(params, rest, x, keys)


EVERY_WAY = ("shard_map, checked", "shard_map, unchecked", "pmap", "jit")


@pytest.mark.parametrize(
    ("name", "how"),
    [(name, how) for name in ("resnet", "projector") for how in EVERY_WAY]
    # Nothing here looks across the batch; their question is stochastic depth by global index.
    + [
        pytest.param("vit", "shard_map, checked", marks=pytest.mark.slow),
        pytest.param("convnext", "pmap", marks=pytest.mark.slow),
    ],
)
def test_eight_devices_compute_what_one_does(name, how):
    expected = on_one_device(name)
    got = on_eight_devices(name, how)
    for part, one, eight in zip(("outputs", "statistics", "gradients"), expected, got, strict=True):
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-6, err_msg=part),
            jax.tree.leaves(eight),
            jax.tree.leaves(one),
        )


@pytest.mark.parametrize("name", MAKERS)
def test_every_parameter_has_a_finite_gradient_that_is_not_zero(name):
    _, _, grads = on_one_device(name)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(grad).all(), jax.tree_util.keystr(path)
        assert np.abs(grad).max() > 1e-7, jax.tree_util.keystr(path)


@pytest.mark.parametrize("name", MAKERS)
def test_bfloat16_computes_nearly_what_float32_does_with_float32_outside(name):
    graphdef, params, rest = random_state(MAKERS[name], dtype=jnp.bfloat16)
    full, *_ = random_state(MAKERS[name])
    assert {leaf.dtype for leaf in jax.tree.leaves((params, rest))} == {jnp.dtype(jnp.float32)}

    @functools.partial(jax.jit, static_argnums=0)
    def encode(graphdef, params, rest, x):
        return call(nnx.merge(graphdef, params, rest, copy=True), x, None, False)

    x = inputs(name)
    exact, rounded = encode(full, params, rest, x), encode(graphdef, params, rest, x)
    assert exact.dtype == rounded.dtype == jnp.float32
    # bfloat16 keeps 8 bits; a few layers add up to some 1 % of the features' size.
    assert 0 < np.abs(exact - rounded).max() < 0.03 * np.sqrt((exact**2).mean())
    # In evaluation an image's features do not depend on its neighbors.
    np.testing.assert_allclose(encode(full, params, rest, x[::-1])[::-1], exact, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_features_is_the_width_for_every_image_size_and_dtype(name):
    for dtype in (jnp.float32, jnp.bfloat16):
        graphdef, params, rest = random_state(MAKERS[name], dtype=dtype)
        model = nnx.merge(graphdef, params, rest)
        for height, width in ((12, 12), (16, 8)):
            images = jax.ShapeDtypeStruct((2, height, width, 3), dtype)
            assert jax.eval_shape(model, images).shape == (2, model.features)
            assert jax.eval_shape(model, images).dtype == jnp.float32
            maps = jax.eval_shape(model.patch_features, images)
            assert maps.shape[0::3] == (2, model.features)
            assert maps.dtype == jnp.float32


@pytest.mark.parametrize("name", ENCODERS)
def test_images_of_another_number_of_channels_are_refused(name):
    model = nnx.merge(*random_state(MAKERS[name]))
    with pytest.raises(
        ValueError, match=re.escape("images must have 3 channels, got (1, 8, 8, 1)")
    ):
        model(jnp.ones((1, 8, 8, 1)))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ENCODERS)
def test_one_image_without_a_batch_axis_and_integers_are_refused(name):
    model = nnx.merge(*random_state(MAKERS[name]))
    for call in (model, model.patch_features):
        with pytest.raises(ValueError, match=re.escape("(batch, height, width, 3), got (8, 8, 3)")):
            jax.eval_shape(call, jnp.ones((8, 8, 3)))
        for dtype in (jnp.uint8, jnp.uint16, jnp.int32):
            with pytest.raises(ValueError, match=f"must be normalized.*got {jnp.dtype(dtype)}"):
                jax.eval_shape(call, jnp.ones((1, 8, 8, 3), dtype))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_vit(attention_implementation="flash"), "None, 'xla' or 'cudnn', got 'flash'"),
        (lambda: make_vit(in_channels=0), "in_channels must be a positive whole number, got 0"),
        (lambda: make_vit(mlp_width=-4), "mlp_width must be a positive whole number, got -4"),
        (lambda: ViT(width=8, depth=0, num_heads=2, rngs=nnx.Rngs(0)), "depth must be a positive"),
        (lambda: ViT(width=8, depth=1, num_heads=0, rngs=nnx.Rngs(0)), "num_heads must be a pos"),
        (
            lambda: ViT(width=8, depth=1, num_heads=2, patch_size=0, rngs=nnx.Rngs(0)),
            "patch_size must be a positive",
        ),
        (
            lambda: ViT(width=8, depth=1, num_heads=2, image_size=-16, rngs=nnx.Rngs(0)),
            "image_size must be a positive",
        ),
        (
            lambda: ViT(width=8, depth=1, num_heads=2, num_registers=-1, rngs=nnx.Rngs(0)),
            "num_registers must not be negative, got -1",
        ),
        (
            lambda: ViT(width=8, depth=1, num_heads=2, layer_scale=np.nan, rngs=nnx.Rngs(0)),
            "layer_scale must be finite or None, got nan",
        ),
        (
            lambda: ViT(width=8, depth=1, num_heads=2, drop_path=np.nan, rngs=nnx.Rngs(0)),
            r"drop_path must be in \[0, 1\), got nan",
        ),
        (lambda: make_convnext(in_channels=-3), "in_channels must be a positive"),
        (lambda: ConvNeXt(depths=(1, 0), widths=(4, 8), rngs=nnx.Rngs(0)), "depths must be a pos"),
        (lambda: ConvNeXt(depths=(1,), widths=(-4,), rngs=nnx.Rngs(0)), "widths must be a pos"),
        (
            lambda: ConvNeXt(depths=(1,), widths=(4,), stem_patch=0, rngs=nnx.Rngs(0)),
            "stem_patch must be a positive",
        ),
        (lambda: make_resnet(image_size=-1), "image_size must be a positive"),
        (lambda: ResNet(stage_sizes=(1, 0), rngs=nnx.Rngs(0)), "stage_sizes must be a positive"),
        (lambda: ResNet(stage_sizes=(-1, 1), rngs=nnx.Rngs(0)), "stage_sizes must be a positive"),
        (lambda: ResNet(stage_sizes=(1,), width=0, rngs=nnx.Rngs(0)), "width must be a positive"),
        (
            lambda: ResNet(stage_sizes=(1,), stage_widths=(-8,), rngs=nnx.Rngs(0)),
            "stage_widths must be a positive",
        ),
        (lambda: Projector(0, 3, rngs=nnx.Rngs(0)), "in_features must be a positive"),
        (
            lambda: Projector(6, 3, hidden_features=-1, rngs=nnx.Rngs(0)),
            "hidden_features must be a positive",
        ),
    ],
)
def test_options_that_make_no_network_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        nnx.eval_shape(make)


@pytest.mark.parametrize("name", ["vit", "convnext"])
def test_stochastic_depth_without_keys_is_refused(name):
    model = nnx.merge(*random_state(MAKERS[name]))
    with pytest.raises(ValueError, match="keys must hold one key an image"):
        jax.eval_shape(lambda x: model(x, train=True), jnp.ones((1, 8, 8, 3)))


def test_a_drop_path_outside_zero_to_one_is_refused():
    with pytest.raises(ValueError, match=r"drop_path must be in \[0, 1\), got 1"):
        drop_path_ramp(1.0, 3)


_scales = jax.jit(lambda keys: drop_path_scales(keys, (0.0, 0.25, 0.5)))


@given(st.integers(0, 2**31 - 1))
def test_stochastic_depth_keeps_the_mean_and_depends_on_the_key_of_the_example_alone(seed):
    keys = jax.random.split(jax.random.key(seed), 4096)
    scales = np.asarray(_scales(keys))
    for column, survival in zip(scales.T, (1.0, 0.75, 0.5), strict=True):
        assert set(np.unique(column)) <= {np.float32(0), np.float32(1 / survival)}
        assert abs(column.mean() - 1) < 6 * np.sqrt((1 / survival - 1) / 4096) + 1e-6
    # Independent branches, and the same draws wherever the example stands.
    assert abs(np.corrcoef(scales[:, 1], scales[:, 2])[0, 1]) < 0.1
    np.testing.assert_array_equal(_scales(keys[::-1]), scales[::-1])


def test_gelu_and_its_derivative_are_those_of_the_normal_distribution():
    x = np.linspace(-8, 8, 65)
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(gelu)))(jnp.asarray(x, jnp.float32))
    normal = scipy.stats.norm
    # Far below zero the unit is a small difference: exact to a rounding of its largest part.
    np.testing.assert_allclose(value, x * normal.cdf(x), rtol=2e-5, atol=8 * 2**-24)
    np.testing.assert_allclose(slope, normal.cdf(x) + x * normal.pdf(x), rtol=2e-5, atol=1e-6)
    assert gelu(jnp.ones(1, jnp.bfloat16)).dtype == jnp.bfloat16


def test_stochastic_depth_rises_linearly_to_its_rate():
    np.testing.assert_allclose(drop_path_ramp(0.3, 4), [0, 0.1, 0.2, 0.3])
    assert drop_path_ramp(0.3, 1) == (0.0,)


def test_a_linear_map_of_patches_is_the_convolution_with_stride_equal_to_its_kernel():
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(2, 7, 9, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 3, 5)), jnp.float32)
    expected = jax.lax.conv_general_dilated(
        images, kernel, (3, 3), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    got = patchify(images, 3) @ kernel.reshape(27, 5)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
