"""Masked prediction on the digits by a small ViT: no second view, no teacher.

python train.py digits-masked

Not trained at this length.
"""

import functools

from lejepa_jax.augment import digits_view
from lejepa_jax.nn import ViT
from lejepa_jax.tasks.masked import MaskedPredictionConfig
from recipes import Recipe

RECIPE = Recipe(
    data="digits",
    task=MaskedPredictionConfig(
        image_size=8,
        encoder=functools.partial(
            ViT, width=48, depth=3, num_heads=4, patch_size=2, image_size=12, pooling="mean"
        ),
        views=(digits_view(1, 12),),
        embedding_features=32,
        hidden_features=256,
        trade_off=0.05,
        num_slices=256,
        eval_size=12,
        knn_k=10,
        predictor_width=48,
    ),
    steps=800,
    global_batch_size=128,
    learning_rate=2e-3,
    warmup_steps=50,
    weight_decay=0.05,
    checkpoint_every=200,
)
