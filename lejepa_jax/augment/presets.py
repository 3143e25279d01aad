"""Views of published recipes, and views that fit small images."""

import dataclasses

from lejepa_jax.augment.specs import ViewSpec

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR_STD = (0.2470, 0.2435, 0.2616)


def global_view(count: int = 2, size: int = 224) -> ViewSpec:
    """Large windows of the published ImageNet recipe.

    The blur's range is not published with the rest; it is that of the paper's minimal example.

    Args:
        count: how many views.
        size: side in pixels.

    Returns:
        The specification; change it with `dataclasses.replace`.

    Examples:
        >>> global_view().scale, local_view().scale
        ((0.3, 1.0), (0.05, 0.3))

    References:
        R. Balestriero and Y. LeCun, "LeJEPA", arXiv 2511.08544, 2025, experiment details 1.
    """
    return ViewSpec(
        count=count,
        size=size,
        scale=(0.3, 1.0),
        brightness=0.4,
        contrast=0.4,
        saturation=0.2,
        hue=0.1,
        jitter_prob=0.8,
        grayscale_prob=0.2,
        blur_prob=0.5,
        solarize_prob=0.2,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


def local_view(count: int = 6, size: int = 98) -> ViewSpec:
    """Small windows of the published ImageNet recipe; 98 is a multiple of patch size 14.

    Args:
        count: how many views.
        size: side in pixels: 98 for patches of 14, 96 for patches of 16.

    Returns:
        The specification.

    Examples:
        >>> local_view(size=96).size
        96
    """
    return dataclasses.replace(global_view(count, size), scale=(0.05, 0.3))


def minimal_view(count: int = 4, size: int = 128) -> ViewSpec:
    """Views of the paper's minimal example (Imagenette, one resolution, strong colors).

    Args:
        count: how many views.
        size: side in pixels.

    Returns:
        The specification.

    Examples:
        >>> minimal_view().hue
        0.2
    """
    return dataclasses.replace(
        global_view(count, size),
        scale=(0.08, 1.0),
        brightness=0.8,
        contrast=0.8,
        saturation=0.8,
        hue=0.2,
        blur_kernel=7,
    )


def cifar_view(count: int = 4, size: int = 32) -> ViewSpec:
    """Views for photographs of 32x32 pixels: no blur, there is no detail to spare.

    Args:
        count: how many views.
        size: side in pixels.

    Returns:
        The specification.

    Examples:
        >>> cifar_view().size
        32
    """
    return ViewSpec(
        count=count,
        size=size,
        scale=(0.2, 1.0),
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.1,
        jitter_prob=0.8,
        grayscale_prob=0.2,
        mean=CIFAR_MEAN,
        std=CIFAR_STD,
    )


def digits_view(count: int = 4, size: int = 16) -> ViewSpec:
    """Views for handwritten digits: mild shift, scale, rotation and contrast, never mirrored.

    Args:
        count: how many views.
        size: side in pixels.

    Returns:
        The specification.

    Examples:
        >>> digits_view().flip
        0.0
    """
    return ViewSpec(
        count=count,
        size=size,
        scale=(0.6, 1.3),
        ratio=(0.8, 1.25),
        pad=0.125,
        flip=0.0,
        rotation=15.0,
        brightness=0.2,
        contrast=0.3,
        mean=(0.31,),
        std=(0.38,),
    )
