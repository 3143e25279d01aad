"""Masked prediction on CIFAR-10 by a small ViT: no second view, no teacher, no stopped gradient.

python train.py cifar10-masked --data-dir TFDS_DIR

Not trained at this length.
"""

import functools

from lejepa_jax.augment import CIFAR_MEAN, CIFAR_STD, ViewSpec
from lejepa_jax.nn import ViT
from lejepa_jax.tasks.masked import MaskedPredictionConfig
from recipes import Recipe

RECIPE = Recipe(
    data="cifar10",
    task=MaskedPredictionConfig(
        image_size=32,
        encoder=functools.partial(
            ViT, width=96, depth=4, num_heads=4, patch_size=4, image_size=32, pooling="mean"
        ),
        views=(ViewSpec(count=1, size=32, scale=(0.4, 1.0), mean=CIFAR_MEAN, std=CIFAR_STD),),
        embedding_features=64,
        hidden_features=512,
        trade_off=0.05,
        num_slices=256,
        eval_size=32,
        max_probe_examples=20_000,
    ),
    steps=2400,
    global_batch_size=128,
    learning_rate=1e-3,
    warmup_steps=200,
    weight_decay=0.05,
    log_every=20,
    checkpoint_every=400,
)
