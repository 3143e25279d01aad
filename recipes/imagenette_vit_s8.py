"""ViT-S/8 on Imagenette, the paper's minimal example: 90.7 % online linear probe in 800 epochs.

python train.py imagenette-vit-s8 --data-dir TFDS_DIR --precision bfloat16

Not trained here: its step was traced and checked, no accelerator was at hand.
"""

import functools

from lejepa_jax.augment import minimal_view
from lejepa_jax.nn import vit
from lejepa_jax.tasks import PretrainingConfig
from recipes import Recipe

# 9,469 images: 37 batches of 256 an epoch. The published run anneals to half the peak, as its
# schedule stops at 1e-3, and projects a 512-wide head of the ViT; here the projector reads the
# class token.
RECIPE = Recipe(
    data="imagenette/160px-v2",
    task=PretrainingConfig(
        image_size=160,
        encoder=functools.partial(vit, "S", patch_size=8, image_size=128, drop_path=0.1),
        views=(minimal_view(4, 128),),
        num_global=4,
        embedding_features=16,
        hidden_features=2048,
        trade_off=0.02,
        target="all",
        eval_size=128,
    ),
    steps=29_600,
    global_batch_size=256,
    learning_rate=2e-3,
    final_learning_rate=0.5,
    warmup_steps=37,
    weight_decay=0.05,
    log_every=37,
    checkpoint_every=370,
)
