"""A small ViT on CIFAR-10, for an accelerator: patches of 4, two global and six local views.

python train.py cifar10-vit --data-dir TFDS_DIR --precision bfloat16

Not trained here: its step was traced and checked, no accelerator was at hand.
"""

import dataclasses
import functools

from lejepa_jax.augment import cifar_view
from lejepa_jax.nn import vit
from lejepa_jax.tasks import PretrainingConfig
from recipes import Recipe

RECIPE = Recipe(
    data="cifar10",
    task=PretrainingConfig(
        image_size=32,
        encoder=functools.partial(vit, "Ti", patch_size=4, image_size=32, drop_path=0.1),
        views=(
            dataclasses.replace(cifar_view(2, 32), scale=(0.4, 1.0)),
            dataclasses.replace(cifar_view(6, 16), scale=(0.1, 0.4)),
        ),
        num_global=2,
        embedding_features=64,
        hidden_features=2048,
        trade_off=0.04,
        eval_size=32,
    ),
    steps=78_000,
    global_batch_size=256,
    learning_rate=1e-3,
    warmup_steps=1950,
    weight_decay=0.05,
    ema_decay=0.999,
    log_every=100,
    checkpoint_every=1950,
)
