"""Views of images, made on the device from keys."""

from lejepa_jax.augment.views import (
    CIFAR_MEAN,
    CIFAR_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Sheet,
    ViewSpec,
    cifar_view,
    digits_view,
    draw,
    eval_view,
    example_keys,
    global_view,
    local_view,
    main,
    make_views,
    minimal_view,
)

__all__ = [
    "CIFAR_MEAN",
    "CIFAR_STD",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Sheet",
    "ViewSpec",
    "cifar_view",
    "digits_view",
    "draw",
    "eval_view",
    "example_keys",
    "global_view",
    "local_view",
    "main",
    "make_views",
    "minimal_view",
]
