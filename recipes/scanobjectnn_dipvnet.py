"""The published DiPVNet on ScanObjectNN: scanned objects, points alone, its hardest variant.

python train.py scanobjectnn-dipvnet --data-dir FOLDER

FOLDER holds main_split and main_split_nobg. `--data scanobjectnn:obj_bg` and `:obj_only` are the
other variants; published numbers mix them.

Not run: 250 epochs want an accelerator. Published are 87.5 % under z/SO(3). Trained as
modelnet40-dipvnet is; the published network aggregates by statistics here.
"""

import dataclasses
import functools

from pointcloud_jax import PAPER, DiPVNet, scanobjectnn_config
from pointcloud_jax.augment import PointViewSpec
from pointcloud_jax.tasks import ClassificationConfig
from recipes import Recipe

OPTIONS = dataclasses.replace(PAPER, aggregation="statistics")

RECIPE = Recipe(
    data="scanobjectnn",
    task=ClassificationConfig(
        networks={"DiPVNet": functools.partial(DiPVNet, config=scanobjectnn_config(OPTIONS))},
        view=PointViewSpec(
            count=1,
            num_points=1024,
            dropout=(0.0, 0.875),
            rotation="axis",
            scale=(0.8, 1.25),
            shift=0.1,
        ),
        stored_points=2048,
        robustness=True,
    ),
    steps=89_250,
    global_batch_size=32,
    optimizer="sgd",
    learning_rate=0.1,
    final_learning_rate=1e-2,
    warmup_steps=1500,
    weight_decay=1e-4,
    log_every=50,
    checkpoint_every=2000,
)
