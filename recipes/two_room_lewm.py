"""LeWorldModel as published, in the two rooms that are made here: for an accelerator.

python train.py two-room-lewm

Network (18,034,478 parameters), objective, optimizer, batch, frames and steps are those of
arXiv 2603.19312, whose episodes are of a two-room world of their own. Not trained yet.
"""

from lejepa_jax.worldmodels.config import WorldModelConfig
from recipes import Recipe

RECIPE = Recipe(
    data="two-room",
    task=WorldModelConfig(
        network="lewm",
        image_size=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        num_frames=4,
        action_block=5,
        episodes=1600,
        episode_steps=92,
        planner="cem(num_samples=300, iterations=10, elites=30)",
    ),
    steps=51_380,
    global_batch_size=128,
    learning_rate=5e-5,
    final_learning_rate=0.0,
    warmup_steps=514,
    weight_decay=1e-3,
    clip_norm=1.0,
    seed=3072,
    precision="bfloat16",
    checkpoint_every=2000,
)
