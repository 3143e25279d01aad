"""Saved models of every architecture, read by another version of Python and JAX.

In one environment `python -m tests.lejepa_jax.models.storage.exchange write FOLDER`, in the other
`... check FOLDER`: it loads each model there and prints the largest difference of its features,
relative to the largest feature. It fails if one is above 1e-5.
"""

import sys
from pathlib import Path

import jax
import numpy as np

import lejepa_jax
from lejepa_jax.models.model import random_model
from lejepa_jax.nn.encoder import encoder_by_name

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
SMALL_VIT = "image_size=32, patch_size=8, width=32, depth=2, num_heads=2"
ENCODERS = {
    "vit": f"vit('Ti', {SMALL_VIT})",
    "dinov2": f"vit('Ti', {SMALL_VIT}, layer_scale=1e-5, num_registers=4)",
    "dinov3": f"vit('Ti', {SMALL_VIT}, position='axial', num_registers=4, layer_scale=1e-5)",
    "swiglu": f"vit('Ti', {SMALL_VIT}, position='spherical', activation='swiglu', qk_norm=True)",
    "resnet18": "resnet18(width=8)",
    "resnet50": "resnet50(width=8)",
    "resnet-small-stem": "resnet18(width=8, stem='small')",
    "convnet": "convnet-tiny(image_size=32)",
    "convnext": "convnext-atto(depths=(1, 1), widths=(8, 16), stem_patch=2)",
    "convnext-atto": "convnext-atto",
}


def write(folder: Path) -> None:
    """Save a model of random weights of each architecture, and its features."""
    preprocessing = lejepa_jax.load("cifar10-small").preprocessing
    for name, text in ENCODERS.items():
        makers = {"encoder": encoder_by_name(text)}
        for precision in ("float32", "bfloat16"):
            model = random_model(jax.random.key(0), makers, preprocessing, precision=precision)
            lejepa_jax.save(model, folder / f"{name}-{precision}")
            np.save(folder / f"{name}-{precision}.npy", model(IMAGES))
    model = lejepa_jax.load("cifar10-small")
    lejepa_jax.save(model, folder / "bundled")
    np.save(folder / "bundled.npy", model(IMAGES))


def check(folder: Path) -> bool:
    """Load every model of a folder and compare its features."""
    right = True
    for file in sorted(folder.glob("*.npy")):
        wanted, found = np.load(file), lejepa_jax.load(file.with_suffix(""))(IMAGES)
        difference = np.abs(found - wanted).max() / np.abs(wanted).max()
        # Products rounded to bfloat16 in another order differ by steps of 2^-8.
        bound = 3e-2 if file.stem.endswith("bfloat16") else 1e-5
        right &= bool(difference < bound)
        print(f"{file.stem:30} {difference:.1e} {'' if difference < bound else 'FAILED'}")
    return right


if __name__ == "__main__":
    _, action, where = sys.argv
    Path(where).mkdir(parents=True, exist_ok=True)
    if action == "write":
        write(Path(where))
    elif not check(Path(where)):
        sys.exit(1)
