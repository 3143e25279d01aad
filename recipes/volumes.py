"""Volumes: procedural solids in any direction, seen by a transformer over three axes.

python train.py volumes

Your own scans: `--data folder:PATH` (nii, nii.gz, TIFF stacks, npy), with `--task.stored-size`
where they are larger than memory: of larger volumes the middle is kept.
Not trained here: it ran for 20 steps.
"""

import functools

from lejepa_jax.augment.fields import FieldView
from lejepa_jax.nn import ViT
from lejepa_jax.tasks.fields import FieldPretrainingConfig
from recipes import Recipe

RECIPE = Recipe(
    data="solids",
    task=FieldPretrainingConfig(
        num_axes=3,
        encoder=functools.partial(
            ViT,
            num_axes=3,
            width=96,
            depth=4,
            num_heads=4,
            patch_size=4,
            image_size=16,
            pooling="mean",
            position="axial",
        ),
        views=(
            FieldView(
                4,
                16,
                scale=(0.5, 1.0),
                ratio=(0.85, 1.18),
                flip=0.5,
                turn=0.75,
                gain=(0.8, 1.25),
                noise=0.2,
                blur=(0.0, 0.7),
            ),
        ),
        weigh=False,
        num_global=4,
        eval_size=16,
        embedding_features=32,
        hidden_features=512,
        num_slices=256,
        eval_batch_size=100,
        knn_k=10,
    ),
    steps=600,
    global_batch_size=64,
    learning_rate=1e-3,
    warmup_steps=60,
    weight_decay=0.05,
    checkpoint_every=200,
)
