import functools
import re

import jax
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.models.weights import ARCHITECTURES, from_timm, from_torchvision, to_timm
from lejepa_jax.models.weights.conversion import _flat, _trees, abstract_encoder, rules_for
from lejepa_jax.models.weights.rules import expected_shapes, read_weights
from lejepa_jax.nn import encoder_by_name
from tests.lejepa_jax.models.weights.keys import read_keys

KEYS = read_keys()


def shapes_of(encoder):
    return {path: leaf.shape for tree in _trees(encoder) for path, leaf in _flat(tree).items()}


def test_the_file_of_names_covers_every_architecture():
    assert set(KEYS) == {
        (library, name) for library, table in ARCHITECTURES.items() for name in table
    }


def check_names_and_shapes(encoder, library, architecture, keys):
    """Every array of theirs and of ours is in exactly one rule."""
    rules = rules_for(encoder, library, architecture)
    shapes = shapes_of(encoder)
    assert expected_shapes(rules, shapes) == keys
    # The way in gives the shapes of ours, too.
    for rule in rules:
        if rule.ours and max(np.prod(keys[key]) for key in rule.theirs) < 1e5:
            made = rule.read(*(np.zeros(keys[key], "f4") for key in rule.theirs))
            assert [x.shape for x in made] == [shapes[path] for path in rule.ours]


# Two blocks of each stage: what they are made by, and the names of further ones.
SHALLOW = {
    "vit": ({"depth": 2}, r"blocks\.(\d+)\."),
    "resnet": ({"stage_sizes": (2, 2, 2, 2)}, r"layer\d\.(\d+)\."),
    "convnext": ({"depths": (2, 2, 2, 2)}, r"stages\.\d\.blocks\.(\d+)\."),
}


@pytest.mark.parametrize(("library", "name"), KEYS, ids=lambda part: part)
def test_names_and_shapes_are_those_of_the_library(library, name):
    """With two blocks a stage; those behind are as the second."""
    architecture = ARCHITECTURES[library][name]
    family = re.match("[a-z]+", architecture.encoder).group()
    options, pattern = SHALLOW[family]
    make = functools.partial(encoder_by_name(architecture.encoder), **options)
    encoder = nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0)))
    keys = KEYS[library, name]
    numbers = {key: re.match(pattern, key) for key in keys}
    few = {key for key, found in numbers.items() if found is None or int(found[1]) < 2}
    expected = {key: keys[key] for key in few}
    if "rope.freqs" in few:  # blocks are an axis of it
        axes, _, *rest = keys["rope.freqs"]
        expected["rope.freqs"] = (axes, 2, *rest)
    check_names_and_shapes(encoder, library, architecture, expected)
    for key in set(keys) - few:
        start, end = numbers[key].span(1)
        assert keys[key] == keys[f"{key[:start]}1{key[end:]}"]


@pytest.mark.slow
@pytest.mark.parametrize(("library", "name"), KEYS, ids=lambda part: part)
def test_names_and_shapes_of_all_blocks_are_those_of_the_library(library, name):
    """Up to 7 B parameters; nothing is allocated."""
    architecture = ARCHITECTURES[library][name]
    encoder = abstract_encoder(architecture.encoder)
    check_names_and_shapes(encoder, library, architecture, KEYS[library, name])


# Small encoders in whose names nothing depends on their size.
SMALL = {
    "plain": "vit-Ti(width=8, depth=2, num_heads=2, mlp_width=16, patch_size=4, image_size=8)",
    "norms": "vit-Ti(width=8, depth=1, num_heads=2, mlp_width=12, patch_size=4, image_size=8, "
    "pooling='attention', norm_before=True, qk_norm=True, position='sincos')",
    "gated": "vit-Ti(width=8, depth=1, num_heads=2, mlp_width=12, patch_size=4, image_size=8, "
    "activation='swiglu', num_registers=2, layer_scale=1e-5, qk_norm=True, qk_norm_bias=True)",
    "mixed": "vit-Ti(width=8, depth=2, num_heads=2, mlp_width=12, patch_size=4, image_size=8, "
    "position=\"mixed(layout='adjacent')\", coordinates='integer')",
    "resnet": "resnet18(stage_sizes=(1, 1, 1, 1))",
    "resnet-d": "resnet50(stage_sizes=(1, 1, 1, 1), stem='deep', average_shortcut=True)",
    "convnext": "convnext-atto(depths=(1, 1, 1, 1), widths=(4, 8, 8, 8), layer_scale=1e-6)",
}


def random_encoder(text):
    """An encoder's module and its variables, all of them random."""
    encoder = abstract_encoder(text)
    rng = np.random.default_rng(0)
    trees = [
        jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, "f4"), tree)
        for tree in _trees(encoder)
    ]
    return encoder, *trees


@pytest.mark.parametrize("text", SMALL.values(), ids=SMALL)
def test_there_and_back_is_the_same_bit_for_bit(text):
    encoder, params, state = random_encoder(text)
    theirs = to_timm(encoder, params, state)
    ours, left = read_weights(theirs, rules_for(encoder, "timm"), shapes_of(encoder))
    before = {**_flat(params), **_flat(state)}
    assert not left
    assert set(ours) == set(before)
    table = "position_table"
    if table in before and any(x.shape[1] == 4 for k, x in theirs.items() if k == "pos_embed"):
        # Beside registers theirs has no row for the class token: it is added to the token.
        before["cls_token"] = before["cls_token"] + before[table][:1]
        before[table] = np.concatenate([np.zeros((1, 8), "f4"), before[table][1:]])
    for path, x in before.items():
        np.testing.assert_array_equal(ours[path], x, err_msg=path)


def tiny(monkeypatch, text="resnet18(stage_sizes=(1, 1, 1, 1))"):
    """A state dict of an architecture that is small here."""
    architecture = ARCHITECTURES["timm"]["resnet18"]._replace(encoder=text)
    monkeypatch.setattr(
        "lejepa_jax.models.weights.conversion.architecture_by_name", lambda *_: architecture
    )
    return to_timm(*random_encoder(text))


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (lambda d: d.pop("bn1.bias"), ["missing: bn1.bias (64,)"]),
        (
            lambda d: d.update({"norm1.bias": d.pop("bn1.bias")}),
            ["missing: bn1.bias (64,)", "unexpected: norm1.bias (64,)"],
        ),
        (lambda d: d.update(extra=np.zeros(3)), ["unexpected: extra (3,)"]),
        (
            lambda d: d.update({"bn1.bias": np.zeros(32)}),
            ["wrong shape: bn1.bias (32,), wanted (64,)"],
        ),
        (
            lambda d: d.update({"bn1.bias": np.zeros(64, int)}),
            ["wrong type: bn1.bias int64, wanted floating point"],
        ),
        (
            lambda d: [d.pop(key) for key in list(d) if key.startswith("layer4.0.conv")],
            [
                "missing: layer4.0.conv1.weight (512, 256, 3, 3)",
                "missing: layer4.0.conv2.weight (512, 512, 3, 3)",
            ],
        ),
    ],
    ids=["missing", "renamed", "extra", "shape", "type", "truncated"],
)
def test_what_does_not_fit_is_one_error_with_all_of_it(monkeypatch, change, lines):
    weights = tiny(monkeypatch)
    change(weights)
    with pytest.raises(ValueError, match="weights must fit resnet18") as error:
        from_timm(weights, "resnet18")
    message = str(error.value).split("\n--")[0]
    assert f"got {len(lines)} mismatches" in message
    assert message.split("\n")[1:] == [f"  {line}" for line in lines]


def test_classifiers_are_left_and_said_so(monkeypatch):
    weights = tiny(monkeypatch)
    weights["fc.weight"] = np.zeros((10, 512), "f4")
    assert from_timm(weights, "resnet18").left == ("fc.weight",)
    inside = {f"backbone.{key}": x for key, x in weights.items()} | {"step": np.zeros(())}
    imported = from_timm(inside, "resnet18", prefix="backbone.")
    assert imported.left == ("backbone.fc.weight", "step")
    with pytest.raises(ValueError, match=re.escape("(names begin with prefix='backbone.')")):
        from_timm(inside, "resnet18")


def test_counters_of_batches_may_be_missing(monkeypatch):
    weights = {key: x for key, x in tiny(monkeypatch).items() if "num_batches" not in key}
    imported = from_torchvision(weights, "resnet18")
    np.testing.assert_array_equal(imported.state["stem_norm"]["var"], weights["bn1.running_var"])


def test_half_precision_is_read_in_float32(monkeypatch):
    weights = tiny(monkeypatch)
    weights["bn1.bias"] = weights["bn1.bias"].astype(jax.numpy.bfloat16)
    bias = from_timm(weights, "resnet18").params["stem_norm"]["bias"]
    assert bias.dtype == np.float32


def test_imported_parameters_are_those_of_the_encoder(monkeypatch):
    imported = from_timm(tiny(monkeypatch), "resnet18")
    make = encoder_by_name(imported.encoder)
    _, params, state = nnx.split(nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0))), nnx.Param, ...)
    structure = jax.tree.structure
    assert structure(imported.params) == structure(nnx.to_pure_dict(params))
    assert structure(imported.state) == structure(nnx.to_pure_dict(state))


def test_another_architecture_is_refused():
    encoder, params, state = random_encoder(SMALL["plain"])
    with pytest.raises(ValueError, match="vit_tiny_patch16_224 is another model: img_size="):
        to_timm(encoder, params, state, architecture="vit_tiny_patch16_224")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vit-Ti(position='spherical')", "position='spherical' with coordinates=None must be one"),
        ("vit-Ti(position='axial')", "position='axial' with coordinates=None must be one"),
        ("convnext-atto(depths=(1,), widths=(8,))", "a ConvNeXt must have four stages"),
        ("convnext-atto(stem_patch=2)", "a ConvNeXt must have four stages and stem_patch 1 or 4"),
        ("resnet18(width=16)", "a ResNet must have pooling='mean', width=64 and four stages"),
    ],
)
def test_what_timm_does_not_have_is_refused(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        to_timm(abstract_encoder(text), {}, {})


def test_offsets_of_keys_have_no_place_in_dinov3(monkeypatch):
    text = (
        "vit-Ti(width=8, depth=1, num_heads=2, position='axial(scale=2.0)', epsilon=1e-5, "
        "coordinates=\"centers(order='ij', train_shape=None)\", num_registers=4, layer_scale=1e-5)"
    )
    architecture = ARCHITECTURES["timm"]["vit_tiny_patch16_dinov3_qkvb"]._replace(encoder=text)
    monkeypatch.setattr(
        "lejepa_jax.models.weights.conversion.architecture_by_name", lambda *_: architecture
    )
    encoder, params, state = random_encoder(text)
    with pytest.raises(ValueError, match=r"qkv\.bias must be 0 for the keys in this architecture"):
        to_timm(encoder, params, state, architecture="vit_tiny_patch16_dinov3_qkvb")
    bias = params["blocks"][0]["attention"]["qkv"]["bias"]
    bias[8:16] = 0
    theirs = to_timm(encoder, params, state, architecture="vit_tiny_patch16_dinov3_qkvb")
    np.testing.assert_array_equal(theirs["blocks.0.attn.v_bias"], bias[16:])
    back = from_timm(theirs, "vit_tiny_patch16_dinov3_qkvb").params
    np.testing.assert_array_equal(back["blocks"][0]["attention"]["qkv"]["bias"], bias)
