"""Your own folder of a few thousand images, with classes as sub-folders or without any.

python train.py folder --data-dir PATH
"""

import dataclasses
import functools

from lejepa_jax.augment import minimal_view
from lejepa_jax.nn import resnet
from lejepa_jax.tasks import PretrainingConfig
from recipes import Recipe

RECIPE = Recipe(
    data="folder",
    task=PretrainingConfig(
        image_size=72,
        encoder=functools.partial(resnet, 18, stem="small"),
        # Milder colors than on natural images of objects: in scans, color may be the signal.
        views=(
            dataclasses.replace(
                minimal_view(4, 64), scale=(0.2, 1.0), contrast=0.4, saturation=0.4, hue=0.05
            ),
        ),
        num_global=4,
        embedding_features=64,
        hidden_features=1024,
        trade_off=0.02,
        eval_size=64,
    ),
    steps=5000,
    global_batch_size=128,
    learning_rate=1e-3,
    warmup_steps=200,
    weight_decay=0.05,
    checkpoint_every=500,
)
