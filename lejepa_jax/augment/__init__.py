"""Views of images, made on the device from keys."""

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.augment.presets import (
    CIFAR_MEAN,
    CIFAR_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    cifar_view,
    digits_view,
    global_view,
    local_view,
    minimal_view,
)
from lejepa_jax.augment.sheet import PreviewConfig, main, preview
from lejepa_jax.augment.specs import ViewSpec
from lejepa_jax.augment.views import eval_view, make_views

__all__ = [
    "CIFAR_MEAN",
    "CIFAR_STD",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "PreviewConfig",
    "ViewSpec",
    "cifar_view",
    "digits_view",
    "eval_view",
    "example_keys",
    "global_view",
    "local_view",
    "main",
    "make_views",
    "minimal_view",
    "preview",
]
