"""Encoders against timm and torchvision, both ways, with random weights.

`make test-interop` runs it. But for `WHOLE`, architectures are compared with two blocks a stage:
the further ones have the same rules, which `conversion_test.py` holds.
"""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.models.weights import (
    ARCHITECTURES,
    from_timm,
    from_torchvision,
    named_model,
    pytorch_lines,
    to_timm,
    to_torchvision,
    torch_model,
)
from lejepa_jax.models.weights.conversion import abstract_encoder
from lejepa_jax.nn import encoder_by_name

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

NAMES = [(library, name) for library, table in ARCHITECTURES.items() for name in table]
# Compared with all their blocks.
WHOLE = (
    "vit_tiny_patch16_224",
    "deit3_small_patch16_224",
    "vit_small_patch14_reg4_dinov2",
    "vit_small_patch16_dinov3_qkvb",
    "vit_small_patch16_rope_mixed_224",
    "convnextv2_atto",
    "convnext_atto",
    "resnet18",
    "resnet50",
    "resnet50d",
)


def randomize(model):
    """Give all parameters and statistics values of their own, as large as learned ones."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, x in model.state_dict().items():
            if not x.dtype.is_floating_point:
                continue
            noise = torch.randn(x.shape, generator=generator)
            if name.endswith("running_var"):
                x.copy_(0.5 + noise.abs())
            elif name == "rope.freqs":
                x.copy_(0.3 * noise)
            elif x.ndim > 1 and "token" not in name and "embed" not in name[:9]:
                x.copy_(noise / x[0].numel() ** 0.5)
            elif x.ndim > 1:
                x.copy_(0.2 * noise)
            else:
                gain = name.endswith("weight") or "gamma" in name
                x.copy_(0.3 * noise + (0.7 if gain else 0))
    return model.eval()


def load_with(lines, weights, folder):
    """Run the lines that a user of PyTorch is given."""
    from safetensors.numpy import save_file

    save_file(weights, folder / "model.safetensors")
    names, before = {}, os.getcwd()
    os.chdir(folder)
    try:
        exec(lines, names)
    finally:
        os.chdir(before)
    return names["model"]


def features_of(model, images):
    with torch.no_grad():
        return model(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()


def encode(encoder, params, state, images):
    graph, _, _ = nnx.split(encoder, nnx.Param, ...)
    module = nnx.merge(graph, params, state, copy=True)
    return np.asarray(nnx.jit(lambda m, x: m(x))(module, jnp.asarray(images)))


def difference(ours, theirs):
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def small_version(library, name):
    """Options here and there that make a model small enough to compare."""
    if name in WHOLE:
        return "", {}
    if name.startswith("resnet"):
        options = {"layers": (2, 2, 2, 2)}
        return "(stage_sizes=(2, 2, 2, 2))", options if library == "timm" else None
    if name.startswith("convnext"):
        return "(depths=(2, 2, 2, 2))", {"depths": (2, 2, 2, 2)}
    return "(depth=2)", {"depth": 2}


def block_of(name):
    basic = name in ("resnet18", "resnet34")
    return getattr(torchvision.models.resnet, "BasicBlock" if basic else "Bottleneck")


def theirs_of(library, name, options):
    """A model of the library with random weights, without a classifier."""
    if library == "timm":
        rotates = ARCHITECTURES[library][name].dialect.rotates
        extra = {"global_pool": "token"} if rotates else {}
        return randomize(timm.create_model(name, num_classes=0, **extra, **options))
    model = (
        getattr(torchvision.models, name)()
        if options is not None
        else torchvision.models.resnet.ResNet(block_of(name), [2, 2, 2, 2])
    )
    model.fc = torch.nn.Identity()
    return randomize(model)


@pytest.mark.parametrize(("library", "name"), NAMES, ids=lambda part: part)
def test_features_are_those_of_the_library_both_ways(library, name, tmp_path, record_property):
    text, options = small_version(library, name)
    read, write = {
        "timm": (from_timm, to_timm),
        "torchvision": (from_torchvision, to_torchvision),
    }[library]
    theirs = theirs_of(library, name, options)
    weights = {key: x.numpy() for key, x in theirs.state_dict().items()}
    imported = read(weights, name + text)
    encoder = abstract_encoder(imported.encoder)
    size = getattr(theirs, "patch_embed", None)
    # Two sides that differ for networks that take any image.
    shape = (128, 96) if size is None else size.img_size
    images = np.random.default_rng(1).standard_normal((2, *shape, 3), "f4")
    wanted = features_of(theirs, images)
    ours = encode(encoder, imported.params, imported.state, images)
    record_property("there", float(difference(ours, wanted)))
    print(f"PARITY {library} {name}{text} in {difference(ours, wanted):.1e}", end=" ")
    assert difference(ours, wanted) < 1e-5
    # The same names and values come back, and the general class computes the same.
    back = write(encoder, imported.params, imported.state, architecture=name + text)
    assert set(back) == set(weights)
    assert all(np.array_equal(back[key], x) for key, x in weights.items() if "batches" not in key)
    general = write(encoder, imported.params, imported.state)
    model = load_with(pytorch_lines(torch_model(encoder, library)), general, tmp_path)
    print(f"out {difference(features_of(model, images), ours):.1e}")
    assert difference(features_of(model, images), ours) < 1e-5


OURS = {
    "small stem": "resnet18(stem='small', stage_sizes=(1, 1, 1, 1))",
    "stem of 1, gray": "convnext-atto(stem_patch=1, depths=(1, 1, 1, 2), widths=(8, 16, 16, 24), "
    "in_channels=1)",
    "sincos": "vit-Ti(depth=2, patch_size=4, image_size=(16, 24), position='sincos')",
    "everything": "vit-Ti(depth=2, patch_size=4, image_size=16, norm_before=True, qk_norm=True, "
    "num_registers=3, activation='swiglu', layer_scale=0.3, pooling='mean', norm_after_mean=True)",
    "rotary": "vit-Ti(depth=2, patch_size=4, image_size=16, position='axial(scale=2.0)', "
    "coordinates=\"centers(order='ij', train_shape=None)\", qk_norm=True, qk_norm_bias=True, "
    "activation='swiglu', position_table=True, pooling='mean')",
    "none": "vit-Ti(depth=1, patch_size=4, image_size=16, position='none', pooling='attention')",
}


@pytest.mark.parametrize("text", OURS.values(), ids=OURS)
def test_our_own_encoders_are_loaded_by_the_lines(text, tmp_path):
    make = encoder_by_name(text)
    module = make(rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    _, params, state = nnx.split(module, nnx.Param, ...)
    # Running statistics of fresh ones would hide that they are exchanged.
    params, state = nnx.to_pure_dict(params), nnx.to_pure_dict(state)
    state = jax.tree_util.tree_map_with_path(
        lambda path, x: rng.uniform(*((0.5, 2) if path[-1].key == "var" else (-0.1, 0.1)), x.shape),
        state,
    )
    height, width = getattr(module, "grid", (6, 8))
    images = rng.standard_normal((2, 4 * height, 4 * width, module.in_channels), "f4")
    ours = encode(module, params, state, images)
    weights = to_timm(module, params, state)
    model = load_with(pytorch_lines(torch_model(module, "timm")), weights, tmp_path)
    assert difference(features_of(model, images), ours) < 1e-5


@pytest.mark.parametrize(
    ("library", "name"), [("timm", "vit_tiny_patch16_224"), ("torchvision", "resnet18")]
)
def test_named_models_are_loaded_by_the_lines(library, name, tmp_path):
    theirs = theirs_of(library, name, {})
    weights = {key: np.ascontiguousarray(x.numpy()) for key, x in theirs.state_dict().items()}
    model = load_with(pytorch_lines(named_model(library, name)), weights, tmp_path)
    images = np.zeros((1, 224, 224, 3), "f4")
    assert difference(features_of(model, images), features_of(theirs, images)) < 1e-6


@pytest.mark.parametrize("side", [98, 714])
def test_tables_of_positions_are_resized_as_timm_does(side):
    """With `antialias`, which architectures have whose users change the size."""
    name = "vit_small_patch14_dinov2"
    make = functools.partial(timm.create_model, name, num_classes=0, depth=2)
    theirs = randomize(make(dynamic_img_size=True))
    weights = {key: x.numpy() for key, x in theirs.state_dict().items()}
    images = np.random.default_rng(1).standard_normal((1, side, 112, 3), "f4")
    wanted = features_of(theirs, images)
    imported = from_timm(weights, f"{name}(depth=2)")
    encoder = abstract_encoder(imported.encoder)
    assert difference(encode(encoder, imported.params, imported.state, images), wanted) < 1e-5
    plain = abstract_encoder(imported.encoder.replace("antialias=True", "antialias=False"))
    assert difference(encode(plain, imported.params, imported.state, images), wanted) > 1e-3
