"""ResNet-18 on CIFAR-10, for an accelerator; the paper reaches 92.5 % linear (Table 5).

python train.py cifar10-resnet18 --data-dir TFDS_DIR --precision bfloat16

Not trained here: its step was traced and checked, no accelerator was at hand.
"""

import functools

from lejepa_jax.augment import cifar_view
from lejepa_jax.nn import resnet
from lejepa_jax.tasks import PretrainingConfig
from recipes import Recipe

# 400 epochs in batches of 256, eight views: trade-off and epochs are those of the paper's
# experiments in the domain of the data; its learning rates are cross-validated and not published.
RECIPE = Recipe(
    data="cifar10",
    task=PretrainingConfig(
        image_size=32,
        encoder=functools.partial(resnet, 18, stem="small"),
        views=(cifar_view(8, 32),),
        num_global=8,
        embedding_features=128,
        hidden_features=2048,
        trade_off=0.05,
        eval_size=32,
    ),
    steps=78_000,
    global_batch_size=256,
    learning_rate=2e-3,
    warmup_steps=1950,
    weight_decay=5e-4,
    log_every=100,
    checkpoint_every=1950,
)
