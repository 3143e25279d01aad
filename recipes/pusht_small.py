"""A small world model of Push-T, from its 206 demonstrations alone, on two CPU cores.

python train.py pusht-small --data-dir pusht.npz

The archive has `img` (96 x 96), `action`, `state` and `episode_ends`, as Diffusion Policy has them.
Not trained yet.
"""

from lejepa_jax.worldmodels.config import WorldModelConfig
from recipes import Recipe

RECIPE = Recipe(
    data="npz",
    task=WorldModelConfig(
        network="small(latent_features=128, dropout_rate=0.1)",
        encoder="convnet-small(features=256)",
        image_size=96,
        num_frames=4,
        action_block=5,
        num_slices=256,
    ),
    steps=5000,
    global_batch_size=128,
    learning_rate=1e-3,
    final_learning_rate=1e-2,
    warmup_steps=250,
    weight_decay=1e-3,
    clip_norm=1.0,
    checkpoint_every=500,
)
