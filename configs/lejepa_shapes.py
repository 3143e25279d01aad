"""LeJEPA on procedural solids with an invariant encoder; probes under rotations it did not see.

python train.py lejepa-shapes

Not run to its end.
"""

import functools

from configs import Recipe
from pointcloud_jax.augment import PointViewSpec
from pointcloud_jax.dipvnet import Dipvnet, tiny_config
from pointcloud_jax.pretraining import CloudPretrainingConfig

RECIPE = Recipe(
    data="shapes",
    task=CloudPretrainingConfig(
        encoder=functools.partial(Dipvnet, config=tiny_config()),
        views=(
            PointViewSpec(
                count=2,
                num_points=96,
                crop=(0.6, 1.0),
                rotation="so3",
                scale=(0.8, 1.25),
                jitter=0.01,
            ),
        ),
        num_global=2,
        embedding_features=32,
        hidden_features=256,
        projector_layers=3,
        trade_off=0.02,
        num_slices=256,
        stored_points=192,
        eval_points=96,
        neighbours=10,
    ),
    steps=250,
    global_batch=32,
    learning_rate=2e-3,
    warmup_steps=25,
    weight_decay=0.05,
    checkpoint_every=125,
)
