"""`python -m tests.program.tiny_run [RECIPE --flags]`: the program on recipes that take seconds.

There is one of every family: LeJEPA and classification, on images and on clouds, parts, and a
world model.
"""

import functools
import sys

import train
from lejepa_jax.augment import digits_view
from lejepa_jax.nn import ResNet, ViT
from lejepa_jax.tasks import ClassificationConfig, PretrainingConfig
from lejepa_jax.worldmodels.config import WorldModelConfig
from pointcloud_jax import VNDGCNN, PointViewSpec
from pointcloud_jax import tasks as cloud_tasks
from recipes import Recipe

RECIPE = Recipe(
    data="digits",
    task=PretrainingConfig(
        image_size=8,
        encoder=functools.partial(ResNet, stage_sizes=(1,), width=4, stem="small"),
        views=(digits_view(2, 8),),
        num_global=2,
        embedding_features=8,
        hidden_features=16,
        projector_layers=2,
        num_slices=16,
        eval_size=8,
        lidar_examples=0,
    ),
    steps=20,
    global_batch_size=64,
    warmup_steps=10,
    log_every=1,
    checkpoint_every=5,
    evaluate=False,
)
SHORT = functools.partial(
    Recipe,
    steps=6,
    global_batch_size=16,
    warmup_steps=2,
    log_every=1,
    checkpoint_every=3,
    evaluate=False,
)
CLASSES = SHORT(
    data="digits",
    task=ClassificationConfig(
        image_size=8,
        encoder=functools.partial(
            ViT, width=12, depth=1, num_heads=2, patch_size=4, image_size=8, pooling="cls"
        ),
        view=digits_view(1, 8),
        encoding="spherical",
        mixup=0.2,
        eval_size=8,
        eval_sizes=(12,),
        eval_batch_size=60,
    ),
)
VIEW = PointViewSpec(1, 24, rotation="axis")
ENCODER = functools.partial(VNDGCNN, (4,), embedding=4, k=4)
CLOUDS = SHORT(
    data="shapes:2",
    task=cloud_tasks.ClassificationConfig(
        networks={"vectors": ENCODER},
        view=VIEW,
        stored_points=32,
        hidden=(8,),
        eval_rotations=1,
        eval_batch_size=16,
    ),
)
PARTS = SHORT(
    data="shapes:2",
    task=cloud_tasks.SegmentationConfig(
        networks={"vectors": ENCODER},
        view=VIEW,
        stored_points=32,
        hidden=(8, 8),
        eval_rotations=1,
        eval_batch_size=16,
    ),
)
CLOUD_LEJEPA = SHORT(
    data="shapes:2",
    task=cloud_tasks.CloudPretrainingConfig(
        encoder=ENCODER,
        views=(PointViewSpec(2, 24, rotation="so3"),),
        num_global=2,
        embedding_features=4,
        hidden_features=8,
        projector_layers=2,
        num_slices=8,
        stored_points=32,
        eval_points=24,
        eval_batch_size=16,
        knn_k=3,
        lidar_examples=0,
    ),
)
WORLD = SHORT(
    data="two-room(image_size=16)",
    task=WorldModelConfig(
        network="tiny(latent_features=6, hidden_features=8, history=2, dropout_rate=0.1)",
        encoder="convnet-tiny(widths=(4, 8), features=8)",
        image_size=16,
        num_frames=4,
        action_block=2,
        prediction_steps=2,
        num_slices=8,
        inverse_weight=0.5,
        episodes=8,
        episode_steps=24,
        eval_batch_size=32,
        probe_frames=64,
        quick_examples=16,
        plan_episodes=4,
        planner="cem(num_samples=8, iterations=2, elites=2)",
        horizon=2,
    ),
)


def recipes() -> dict[str, tuple[str, Recipe]]:
    """Stand in for `recipes.recipes`."""
    found = {"digits": RECIPE, "classes": CLASSES, "clouds": CLOUDS, "parts": PARTS}
    found |= {"lejepa-clouds": CLOUD_LEJEPA, "world": WORLD}
    return {name: ("Takes seconds.", recipe) for name, recipe in found.items()}


if __name__ == "__main__":
    train.recipes = recipes
    sys.exit(train.main(sys.argv[1:]))
