"""LeWorldModel as published, on the published replays of Push-T: for an accelerator.

python train.py pusht-lewm --data-dir pusht_expert_train.h5

Network (18,034,478 parameters), objective, optimizer, batch, frames and ten epochs are those of
arXiv 2603.19312; the file is one HDF5 with `pixels`, `action` (relative to the agent, in units of
100 pixels), `state` and `ep_len`. Plans are those of the paper too: CEM of 300 x 30 over 5 blocks,
by the last step, carried out whole. Needs `pip install 'lejepa-jax[pusht]'`. Not trained yet.
"""

from lejepa_jax.worldmodels.config import WorldModelConfig
from recipes import Recipe

RECIPE = Recipe(
    data="hdf5",
    task=WorldModelConfig(
        network="lewm",
        image_size=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        num_frames=4,
        action_block=5,
        environment="push-t",
        plan_episodes=50,
        planner="cem(iterations=30, std=0.33)",
        plan_cost="last",
        execute=5,
    ),
    steps=144_600,
    global_batch_size=128,
    learning_rate=5e-5,
    final_learning_rate=0.0,
    warmup_steps=1446,
    weight_decay=1e-3,
    clip_norm=1.0,
    seed=3072,
    precision="bfloat16",
    checkpoint_every=2000,
)
