"""The published DiPVNet on ModelNet40: points with normals, trained turned about one axis.

python train.py modelnet40-dipvnet --data-dir FOLDER

FOLDER holds modelnet40_ply_hdf5_2048 or modelnet40_normal_resampled; what is missing is said with
where to get it. The files have y up; "z" is the third coordinate, as in the published protocol, and
for an invariant network any axis is like any other.

Not run: 250 epochs want an accelerator. Published are 91.4 % under z/z, z/SO(3) and SO(3)/SO(3).
How the published network was trained is not known: this is what its ancestors do, SGD from 0.1 to
0.001 along a cosine, with a warm-up. The alternative: `--optimizer adamw --learning-rate 1e-3
--weight-decay 0.05`. `--task.view.rotation so3` trains under any rotation. The released options are
`PAPER`; `modelnet40_config()` has the mended ones.
"""

import functools

from pointcloud_jax import PAPER, DiPVNet, modelnet40_config
from pointcloud_jax.augment import PointViewSpec
from pointcloud_jax.tasks import ClassificationConfig
from recipes import Recipe

RECIPE = Recipe(
    data="modelnet40",
    task=ClassificationConfig(
        networks={"DiPVNet": functools.partial(DiPVNet, config=modelnet40_config(PAPER))},
        view=PointViewSpec(
            count=1,
            num_points=1024,
            dropout=(0.0, 0.875),
            rotation="axis",
            scale=(0.8, 1.25),
            shift=0.1,
        ),
        stored_points=2048,
        normals=True,
        robustness=True,
    ),
    steps=76_900,
    global_batch_size=32,
    optimizer="sgd",
    learning_rate=0.1,
    final_learning_rate=1e-2,
    warmup_steps=1500,
    weight_decay=1e-4,
    log_every=50,
    checkpoint_every=2000,
)
