"""Procedural solids, upright and turned: an invariant and a plain network, trained side by side.

python train.py shapes

On 540 held-out solids of 18 families, seed 0, trained turned about the vertical axis: DiPVNet
85.2 % upright, rotated about the axis, and under any rotation (which changes its logits by 9e-7 of
their length); DGCNN 89.6 %, 89.8 % and 24.9 % (by 0.94 of it). Some minutes
on 2 cores.
"""

import functools

from pointcloud_jax import DGCNN, DiPVNet, tiny_config
from pointcloud_jax.augment import PointViewSpec
from pointcloud_jax.tasks import ClassificationConfig
from recipes import Recipe

RECIPE = Recipe(
    data="shapes",
    task=ClassificationConfig(
        networks={
            "DiPVNet": functools.partial(DiPVNet, config=tiny_config()),
            "DGCNN": functools.partial(DGCNN, widths=(16, 32), embedding=128, k=8),
        },
        view=PointViewSpec(count=1, num_points=96, rotation="axis", scale=(0.8, 1.25), jitter=0.01),
        stored_points=192,
        hidden=(64,),
        dropout_rate=0.2,
        label_smoothing=0.1,
        eval_rotations=2,
        eval_batch_size=60,
    ),
    steps=250,
    global_batch_size=32,
    learning_rate=3e-3,
    warmup_steps=25,
    weight_decay=0.05,
    log_every=10,
    checkpoint_every=125,
)
