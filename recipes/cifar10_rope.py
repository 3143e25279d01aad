"""Which position encoding a small supervised ViT wants on CIFAR-10, at three resolutions.

python train.py cifar10-rope --data-dir TFDS_DIR --task.encoding mixed

Trains on crops of 24 pixels (6 x 6 patches) and tests at 24, 36 and 48 pixels, at the latter two
with and without weighing tokens by the part of the image they stand for. Any name of
`rope_jax.ENCODINGS` will do, alone or called with options.
Not run at this length. In 600 steps, one to two minutes on one core, the same network on the same
crops reaches 43.9 % with axial and 42.1 % with spherical, two seeds (docs/rope.md).
"""

import functools

from lejepa_jax.augment import CIFAR_MEAN, CIFAR_STD, ViewSpec
from lejepa_jax.nn import ViT
from lejepa_jax.tasks import ClassificationConfig
from recipes import Recipe

# Heads of 24 channels: pairs, triplets and blocks of 8 all divide them.
RECIPE = Recipe(
    data="cifar10",
    task=ClassificationConfig(
        image_size=32,
        encoder=functools.partial(ViT, width=48, depth=4, num_heads=2, patch_size=4, image_size=24),
        encoding="spherical",
        view=ViewSpec(count=1, size=24, scale=(0.5, 1.0), mean=CIFAR_MEAN, std=CIFAR_STD),
        eval_size=24,
        eval_sizes=(36, 48),
    ),
    steps=3000,
    global_batch_size=64,
    learning_rate=2e-3,
    final_learning_rate=0.0,
    warmup_steps=300,
    weight_decay=0.05,
    adam_b2=0.99,
    log_every=50,
    checkpoint_every=1000,
)
