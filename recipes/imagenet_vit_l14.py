"""ViT-L/14 on ImageNet-1k as published, for a pod; the paper reaches 75 to 77 % linear.

python train.py imagenet-vit-l14 --data-dir TFDS_DIR --precision bfloat16

Not trained here: its step was traced and checked, no accelerator was at hand.
"""

import functools

from lejepa_jax.augment import global_view, local_view
from lejepa_jax.nn import vit
from lejepa_jax.tasks import PretrainingConfig
from recipes import Recipe

# 100 epochs in batches of 512 (2,502 steps each). The published scripts also mask 30 % of the
# patches and keep a teacher, which the paper's objective does not have; neither is done here.
RECIPE = Recipe(
    data="imagenet2012",
    task=PretrainingConfig(
        image_size=256,
        encoder=functools.partial(
            vit, "L", patch_size=14, image_size=224, drop_path=0.1, remat=True
        ),
        views=(global_view(2, 224), local_view(6, 98)),
        num_global=2,
        embedding_features=64,
        hidden_features=2048,
        trade_off=0.05,
        statistic="paper_epps_pulley",
        eval_size=224,
        eval_crop=0.875,
        eval_batch_size=512,
    ),
    steps=250_200,
    global_batch_size=512,
    learning_rate=5e-4,
    warmup_steps=25_020,
    weight_decay=0.05,
    log_every=100,
    checkpoint_every=2502,
)
