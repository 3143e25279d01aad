"""With 64 bits enabled, encoders and probes draw, start and compute as without."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.evaluation.linear import select_l2
from lejepa_jax.evaluation.suite import run_probes
from lejepa_jax.nn.convolutions.convnext_v2 import ConvNeXt
from lejepa_jax.nn.convolutions.residual_network import ResNet
from lejepa_jax.nn.projector import Projector
from lejepa_jax.nn.transformers.vision_transformer import ViT

ROOT = Path(__file__).parents[3]
SMALL = {"width": 8, "depth": 2, "num_heads": 2, "patch_size": 4, "image_size": 8}
MAKERS = {
    "vit": lambda rngs: ViT(
        **SMALL, num_registers=1, drop_path=0.5, layer_scale=0.1, log_measure=True, rngs=rngs
    ),
    "sincos": lambda rngs: ViT(**SMALL, position="sincos", pooling="mean", rngs=rngs),
    "convnext": lambda rngs: ConvNeXt(
        depths=(1, 1), widths=(4, 8), stem_patch=2, drop_path=0.5, rngs=rngs
    ),
    "resnet": lambda rngs: ResNet(stage_sizes=(1, 1), width=4, stem="small", rngs=rngs),
    "projector": lambda rngs: Projector(6, 3, hidden_features=5, rngs=rngs),
}
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(4, 8, 16, 3)).astype(np.float32)
LABELS = np.arange(40) % 3
FEATURES = (RNG.normal(size=(40, 5)) + 2 * np.eye(3, 5)[LABELS]).astype(np.float32)


def arrays():
    """Parameters, features and running statistics of each network, and what the probes find."""
    found = {}
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(1), jnp.arange(4))
    for name, make in MAKERS.items():
        graph, params, rest = nnx.split(make(nnx.Rngs(0)), nnx.Param, ...)

        def step(params, rest, name=name, graph=graph):
            model = nnx.merge(graph, params, rest, copy=True)
            if name == "projector":
                return model(jnp.asarray(IMAGES.reshape(-1, 6)), train=True), nnx.state(
                    model, nnx.BatchStat
                )
            return model(jnp.asarray(IMAGES), train=True, keys=keys), nnx.state(
                model, nnx.BatchStat
            )

        found[name] = (params, jax.jit(step)(params, rest))
    data = FEATURES, LABELS, FEATURES, LABELS
    probes = run_probes(jax.random.key(0), *data, num_classes=3, shots=(2,), num_draws=2, k=3)
    found["l2"] = np.float32(select_l2(jax.random.key(0), *data[:2], num_classes=3))
    found["predicted"] = probes.predicted
    found["scores"] = np.array(list(probes.scores.values()), np.float32)
    return [(jax.tree_util.keystr(p), np.asarray(x)) for p, x in jax.tree.leaves_with_path(found)]


@pytest.mark.slow
def test_64_bits_change_neither_draws_nor_types_nor_results(tmp_path):
    here = arrays()
    path = tmp_path / "arrays.npz"
    environment = os.environ | {"JAX_ENABLE_X64": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, __file__, path], check=True, env=environment, timeout=300)
    with np.load(path) as file:
        names = json.loads(str(file["names"]))
        there = [(name, file[f"array_{i}"]) for i, name in enumerate(names)]
    assert [name for name, _ in there] == [name for name, _ in here]
    for (name, a), (_, b) in zip(here, there, strict=True):
        assert a.dtype == b.dtype, name
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6, err_msg=name)


if __name__ == "__main__":
    assert jax.config.jax_enable_x64
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    found = arrays()
    saved = {f"array_{i}": array for i, (_, array) in enumerate(found)}
    np.savez(sys.argv[1], names=json.dumps([name for name, _ in found]), **saved)
