"""LeJEPA on procedural solids with a plain encoder, which learns from views what turns are.

python train.py lejepa-shapes
"""

import functools

from configs import Recipe
from pointcloud_jax.augment import PointViewSpec
from pointcloud_jax.dgcnn import Dgcnn
from pointcloud_jax.pretraining import CloudPretrainingConfig

RECIPE = Recipe(
    data="shapes",
    task=CloudPretrainingConfig(
        encoder=functools.partial(Dgcnn, widths=(16, 32), embedding=128, k=8),
        views=(
            PointViewSpec(count=2, num_points=96, rotation="so3", scale=(0.8, 1.25), jitter=0.01),
        ),
        num_global=2,
        embedding_features=32,
        hidden_features=256,
        projector_layers=3,
        # SIGReg grows with the number of clouds: a batch of 32 wants more of it than one of 256.
        trade_off=0.1,
        num_slices=256,
        stored_points=192,
        eval_points=96,
        neighbours=10,
    ),
    steps=1600,
    global_batch=32,
    learning_rate=3e-3,
    warmup_steps=160,
    weight_decay=0.05,
    checkpoint_every=400,
)
