"""A small ResNet on CIFAR-10, sized for half an hour on two CPU cores.

python train.py cifar10-small --data-dir TFDS_DIR

On the 10,000 test images, one seed, 31 minutes on 2 CPU cores that did other work too: k-NN 59.0 %
(untrained 30.2 %, pixels 36.3 %), linear 54.4 % (untrained 29.8 %).
"""

import functools

from configs import Recipe
from lejepa_jax.augment import cifar_view
from lejepa_jax.pretraining import PretrainingConfig
from lejepa_jax.resnet import ResNet

# Convolutions at full resolution with few channels are the slowest thing a CPU can do. So the stem
# alone sees 24x24 pixels, the first stage has no blocks, and width grows as the map shrinks. The
# probes see 32x32 pixels: there, things have the size they had in the random crops.
RECIPE = Recipe(
    data="cifar10",
    task=PretrainingConfig(
        image_size=32,
        encoder=functools.partial(
            ResNet,
            stage_sizes=(0, 1, 1, 1),
            width=16,
            stage_widths=(16, 32, 64, 192),
            stem="small",
        ),
        views=(cifar_view(4, 24),),
        num_global=4,
        embedding_features=64,
        hidden_features=512,
        trade_off=0.02,
        num_slices=512,
        eval_size=32,
        max_probe_examples=20_000,
    ),
    steps=2400,
    global_batch=128,
    learning_rate=3e-3,
    warmup_steps=100,
    weight_decay=0.05,
    log_every=20,
    checkpoint_every=400,
)
