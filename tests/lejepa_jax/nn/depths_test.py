"""Layers of every encoder of images: each parameter is in one, and they rise with depth."""

import jax
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.nn import ConvNeXt, ResNet, ViT
from lejepa_jax.nn.depths import count_layers, layer_decay_factors, layer_of

ENCODERS = {
    "vit": lambda: ViT(width=8, depth=3, num_heads=2, patch_size=4, image_size=8, rngs=nnx.Rngs(0)),
    "resnet": lambda: ResNet(stage_sizes=(1, 2), width=4, stem="small", rngs=nnx.Rngs(0)),
    "convnext": lambda: ConvNeXt(depths=(1, 2), widths=(4, 8), stem_patch=1, rngs=nnx.Rngs(0)),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_every_layer_has_parameters_and_the_factors_fall_towards_the_input(name):
    encoder = nnx.eval_shape(ENCODERS[name])
    params = nnx.to_pure_dict(nnx.split(encoder, nnx.Param, ...)[1])
    factors = layer_decay_factors(encoder, params, 0.5)
    found = {}
    for path, factor in jax.tree_util.tree_leaves_with_path(factors):
        inner = jax.tree_util.keystr(path, simple=True, separator=".")
        found.setdefault(layer_of(encoder, inner), set()).add(factor)
    assert count_layers(encoder) == 5
    # A residual network has nothing behind its blocks.
    last = 3 if name == "resnet" else 4
    assert found == {layer: {0.5 ** (4 - layer)} for layer in range(last + 1)}


def test_what_leads_to_a_stage_belongs_to_its_first_block():
    encoder = nnx.eval_shape(ENCODERS["convnext"])
    names = ["reduce.0.kernel", "reduce_norms.0.scale", "reduce.1.kernel", "reduce_norms.1.scale"]
    assert [layer_of(encoder, name) for name in names] == [0, 0, 2, 2]
    assert layer_of(encoder, "blocks.1.expand.kernel") == 2


def test_what_has_no_blocks_is_refused():
    with pytest.raises(ValueError, match="layers must be blocks in a row, got Linear"):
        count_layers(nnx.eval_shape(lambda: nnx.Linear(2, 2, rngs=nnx.Rngs(0))))
    encoder = nnx.eval_shape(ENCODERS["vit"])
    with pytest.raises(ValueError, match="layer_decay must be between 0 and 1, got 2"):
        layer_decay_factors(encoder, {"norm": {"scale": np.ones(1)}}, 2.0)
