"""Digits on the sphere, seen by a transformer over HEALPix cells with geodesic attention.

python train.py sphere-digits

scikit-learn's digits, projected around a point of the equator (`digits-sphere`). Views are
rotations of SO(3). Probes are fitted to digits as they are and scored on such (N/N), and on turned
ones (N/R, the rows "turned"). Your own maps: `--data npz:FILE`, values (n latitudes longitudes), or
HEALPix maps in ring order, values (n pixels), with `--task.num-axes 1`; `folder:PATH` with maps as
FITS, of either order.
Not trained here: it ran for 10 steps.
"""

import functools

from lejepa_jax.augment.fields import FieldView
from lejepa_jax.nn import ViT
from lejepa_jax.tasks.fields import FieldPretrainingConfig
from recipes import Recipe

RECIPE = Recipe(
    data="digits-sphere",
    task=FieldPretrainingConfig(
        num_axes=2,
        encoder=functools.partial(
            ViT,
            num_axes=1,
            width=64,
            depth=4,
            num_heads=4,
            patch_size=4,
            image_size=768,
            pooling="mean",
            position="none",
            coordinates="healpix",
            kernel="von_mises_fisher(concentration=8.0)",
        ),
        views=(
            FieldView(
                4, 768, fit="sphere", rotation="any", gain=(0.8, 1.25), offset=0.1, noise=0.1
            ),
        ),
        weigh=False,
        num_global=4,
        eval_size=768,
        embedding_features=32,
        hidden_features=256,
        trade_off=0.05,
        num_slices=256,
        eval_batch_size=100,
        knn_k=10,
    ),
    steps=400,
    global_batch_size=64,
    learning_rate=1e-3,
    warmup_steps=40,
    weight_decay=0.05,
    checkpoint_every=200,
)
