"""What to draw for one kind of view."""

import dataclasses
import math
from typing import Literal

#: Parts of red, green and blue in the luma of NTSC, the gray of a color.
LUMA = (0.299, 0.587, 0.114)


@dataclasses.dataclass(frozen=True)
class ViewSpec:
    """What to draw for one kind of view. Every probability is per view and independent.

    Attributes:
        count: how many views of this kind.
        size: side of the output in pixels.
        scale: range of the window's area as a part of the image's area, drawn uniformly.
        ratio: range of the window's width by height in true aspect, drawn log-uniformly; see
            `area` for windows that would not fit.
        pad: how far the window may leave the image on each side, as a part of the image's side.
            The area may then exceed 1, up to (1 + 2 pad)^2.
        fill: gray level in [0, 1] of what lies outside the image.
        flip: probability of a left-right mirror image.
        rotation: largest angle in degrees; the window turns about its center, uniformly either
            way, and may so leave the image whatever `pad` is.
        brightness: half-width of the factor's range around 1.
        contrast: the same, about the view's mean gray.
        saturation: the same, about each pixel's gray.
        hue: largest turn of the chroma, in full turns, up to 0.5.
        jitter_prob: probability of those four together.
        grayscale_prob: probability of losing all color.
        blur_prob: probability of a Gaussian blur.
        blur_sigma: range of its standard deviation in output pixels, drawn uniformly.
        blur_kernel: odd width at which the Gaussian is cut off; None cuts nothing off.
        solarize_prob: probability of inverting the values from `solarize_threshold` on.
        solarize_threshold: in [0, 1].
        noise: standard deviation of Gaussian noise on the [0, 1] scale, added after all else.
        erase_prob: probability of replacing a rectangle by `mean`.
        erase_scale: range of its area as a part of the view; its ratio is within (0.3, 3.3).
        mean: subtracted from each channel at the end; one number serves all channels.
        std: divided by, likewise. Three numbers serve gray images as their luma.
        area: what is done about a window that would leave the image. "uniform" narrows the ratio to
            what fits, so that the area stays uniform; on a wide image the window is then wider than
            `ratio` says. "torchvision" draws again, up to ten times, and then takes the largest
            central window, as `RandomResizedCrop` does: the ratio holds, but large windows are
            rarer. With `scale` (0.3, 1), over 400,000 draws:

            =========================  =====  =====  =====  =====
            image, width by height      1:1    4:3    3:2    2:1
            =========================  =====  =====  =====  =====
            "uniform": beyond `ratio`    0 %    0 %   16 %   48 %
            "uniform": mean area        0.65   0.65   0.65   0.65
            "torchvision": mean area    0.59   0.55   0.51   0.43
            =========================  =====  =====  =====  =====

            Recipes that reproduce published ones want "torchvision".

    Raises:
        ValueError: a range is reversed, or a value lies outside what is said above.

    Examples:
        >>> ViewSpec(count=2, size=32, scale=(0.3, 1.0), flip=0.5).ratio
        (0.75, 1.3333333333333333)
        >>> ViewSpec(count=2, size=32, scale=(1.0, 0.3))
        Traceback (most recent call last):
            ...
        ValueError: scale must be a range (low, high) within (0, 1.0], got (1.0, 0.3)
    """

    count: int
    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    pad: float = 0.0
    fill: float = 0.0
    flip: float = 0.5
    rotation: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    jitter_prob: float = 1.0
    grayscale_prob: float = 0.0
    blur_prob: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    blur_kernel: int | None = None
    solarize_prob: float = 0.0
    solarize_threshold: float = 128 / 255
    noise: float = 0.0
    erase_prob: float = 0.0
    erase_scale: tuple[float, float] = (0.02, 0.33)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    area: Literal["uniform", "torchvision"] = "uniform"

    def __post_init__(self):
        def require(name: str, holds: bool, wanted: str):
            if not holds:
                raise ValueError(f"{name} must be {wanted}, got {getattr(self, name)}")

        for name in ("count", "size"):
            require(name, getattr(self, name) >= 1, "at least 1")
        require("area", self.area in ("uniform", "torchvision"), "uniform or torchvision")
        probabilities = ("flip", "jitter_prob", "grayscale_prob", "blur_prob", "solarize_prob")
        for name in (*probabilities, "erase_prob", "fill", "solarize_threshold"):
            require(name, 0 <= getattr(self, name) <= 1, "between 0 and 1")
        for name in ("brightness", "contrast", "saturation", "noise", "pad"):
            require(name, 0 <= getattr(self, name) < math.inf, "zero or more")
        require("hue", 0 <= self.hue <= 0.5, "between 0 and 0.5")
        require("rotation", 0 <= self.rotation <= 180, "between 0 and 180 degrees")
        largest = (1 + 2 * self.pad) ** 2
        for name, top in (
            ("scale", largest),
            ("ratio", math.inf),
            ("blur_sigma", math.inf),
            ("erase_scale", 1.0),
        ):
            low, high = getattr(self, name)
            holds = 0 < low <= high <= top and high < math.inf
            require(name, holds, f"a range (low, high) within (0, {top}]")
        kernel = self.blur_kernel
        require("blur_kernel", kernel is None or (kernel > 0 and kernel % 2 == 1), "odd or None")
        check_statistics(self.mean, self.std)

    def statistics(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation for images of so many channels; see `channel_statistics`."""
        return channel_statistics(self.mean, self.std, channels)


def channel_statistics(
    mean: tuple[float, ...], std: tuple[float, ...], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give the statistics that images of so many channels are normalized by.

    Args:
        mean: One number for all channels, or one a channel.
        std: Likewise.
        channels: Channels of the images.

    Returns:
        They themselves. For gray images, three numbers become their luma: the mean of the gray
        image, and its standard deviation as far as the channels rise and fall together.

    Raises:
        ValueError: If there are neither one nor `channels` of them, nor three for gray images.

    Examples:
        >>> channel_statistics((0.5,), (0.2,), 3)
        ((0.5,), (0.2,))
        >>> channel_statistics((0.5, 0.4, 0.3), (0.2, 0.2, 0.2), 1)
        ((0.4185,), (0.2,))
    """
    if channels == 1 and len(mean) == 3:
        return (_luma(mean),), (_luma(std),)
    if len(mean) not in (1, channels):
        raise ValueError(f"mean and std must have 1 or {channels} numbers, got {mean} and {std}")
    return mean, std


def _luma(values: tuple[float, ...]) -> float:
    return round(sum(weight * x for weight, x in zip(LUMA, values, strict=True)), 7)


def check_statistics(mean: tuple[float, ...], std: tuple[float, ...]):
    """Require as many means as standard deviations, and those positive."""
    if len(mean) != len(std) or not mean:
        raise ValueError(f"mean and std must be of one length, got {mean} and {std}")
    if not all(map(math.isfinite, mean)):
        raise ValueError(f"mean must be finite, got {mean}")
    if not all(0 < x < math.inf for x in std):
        raise ValueError(f"std must be positive, got {std}")
