"""A small ResNet on CIFAR-10, sized for half an hour on two CPU cores.

python train.py cifar10-small --data-dir TFDS_DIR

On the 10,000 test images, seed 0, 2 CPU cores: linear 60.4 % (untrained encoder 34.7 %, pixels
40.3 %), k-NN 56.6 % (28.2 %, 34.0 %); measured as docs/results/cifar10-small.json says. Training
took 31 minutes beside other work (22 at the 230 images/s of free cores), the evaluation two and a
half.
"""

import functools

from lejepa_jax.augment import cifar_view
from lejepa_jax.nn import ResNet
from lejepa_jax.tasks import PretrainingConfig
from recipes import Recipe

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
    global_batch_size=128,
    learning_rate=3e-3,
    warmup_steps=100,
    weight_decay=0.05,
    log_every=20,
    checkpoint_every=400,
)
