"""A small world model of Push-T, from its 206 demonstrations alone, on two CPU cores.

python train.py pusht-small --data-dir pusht.npz

The archive has `img` (96 x 96), `action`, `state` and `episode_ends`, as Diffusion Policy has them;
recorded target positions are made relative to the agent. Planning needs
`pip install 'lejepa-jax[pusht]'`. Not trained yet.
"""

from lejepa_jax.worldmodels.config import WorldModelConfig
from recipes import Recipe

RECIPE = Recipe(
    data="npz",
    task=WorldModelConfig(
        network="small(history=2, latent_features=64, dropout_rate=0.1)",
        encoder="convnet-small(patch_size=8, features=128)",
        image_size=96,
        num_frames=3,
        action_block=5,
        regularizer_weight=0.02,
        num_slices=128,
        environment="push-t",
        action_unit=100.0,
        plan_episodes=50,
        planner="icem(num_samples=150, iterations=5, std=0.5)",
    ),
    steps=2000,
    global_batch_size=128,
    learning_rate=1e-3,
    final_learning_rate=1e-2,
    warmup_steps=100,
    weight_decay=1e-3,
    clip_norm=1.0,
    checkpoint_every=250,
)
