"""LeNEPA on series: no views, no masks; a causal transformer predicts the next latent token.

python train.py next-token --data npz:FILE.npz

What the files hold: see `series`. Every series is read at 256 places, 64 tokens of 4.
Not trained here: it ran for a few steps.
"""

import functools

from lejepa_jax.augment.fields import FieldView
from lejepa_jax.nn import ViT
from lejepa_jax.tasks.fields import NextTokenConfig
from recipes import Recipe

RECIPE = Recipe(
    data="npz",
    task=NextTokenConfig(
        num_axes=1,
        encoder=functools.partial(
            ViT,
            num_axes=1,
            width=96,
            depth=4,
            num_heads=4,
            patch_size=4,
            image_size=256,
            pooling="mean",
            position="axial",
            causal=True,
        ),
        views=(FieldView(1, 256),),
        num_global=1,
        eval_size=256,
        embedding_features=32,
        hidden_features=256,
        trade_off=0.05,
        num_slices=128,
        lidar_examples=0,
        eval_batch_size=250,
    ),
    steps=1000,
    global_batch_size=64,
    learning_rate=1e-3,
    warmup_steps=100,
    weight_decay=0.05,
    checkpoint_every=250,
)
