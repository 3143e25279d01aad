"""What to draw for one kind of view of a field."""

import dataclasses
import math
from types import MappingProxyType
from typing import Literal, NamedTuple

from lejepa_jax.augment.fields.sphere import cells_of


class Operation(NamedTuple):
    """An operation of a view, for documentation and for pictures of it alone.

    Attributes:
        unit: Of its numbers.
        meaning: What it does.
        axes: Of which fields it is, by their number of axes.
    """

    unit: str
    meaning: str
    axes: tuple[int, ...] = (1, 2, 3)


#: Operations of `FieldView`, by the name of their option.
OPERATIONS = MappingProxyType(
    {
        "scale": Operation("part of the field's volume", "size of the window"),
        "ratio": Operation("side by side", "how much one side is longer than the others", (2, 3)),
        "stretch": Operation("samples of the field a sample of the view", "speed, or zoom"),
        "shift": Operation("part of the free room", "where a short field lies in the view"),
        "flip": Operation("probability, of each axis", "mirror image"),
        "turn": Operation("probability", "right-angle turns in the plane of the last axes", (2, 3)),
        "polarity": Operation("probability", "change of sign"),
        "gain": Operation("factor", "louder or brighter, all channels alike"),
        "channel_gain": Operation("factor", "each channel by its own factor"),
        "offset": Operation("standard deviations of the channel", "shift of the values"),
        "gamma": Operation("exponent, on the range of the channel", "bends the scale of values"),
        "equalizer": Operation("decibel, standard deviation", "a smooth random filter", (1,)),
        "blur": Operation("samples of the view, standard deviation", "Gaussian blur"),
        "noise": Operation("standard deviations of the channel", "white noise"),
        "channel_drop": Operation("probability, of each channel", "channels that are missing"),
        "erase": Operation("part of a side", "a stretch or box that is missing"),
        "rotation": Operation("axis", "rotation of the sphere", (1, 2)),
    }
)


# Operations that would move samples of a plane; a sphere is rotated.
_FLAT = ("scale", "ratio", "stretch", "shift", "flip", "turn", "equalizer", "blur", "erase")


@dataclasses.dataclass(frozen=True)
class FieldView:
    """What to draw for one kind of view of series, planes, volumes or spheres.

    An option that is left alone changes nothing. Values are normalized before anything is done to
    them, so that noise and offsets are in standard deviations of a channel.

    Attributes:
        count: How many views of this kind.
        size: Samples along each axis; one number for all.
        fit: "resize" reads the window at `size` places, whatever its extent; "pad" keeps the
            distance of the samples, and what the window does not fill is missing: for sounds, and
            wherever a step of time or length means something. "sphere" reads a field on the sphere
            at the `size` cells of a HEALPix grid, nested order, see `read_sphere`; of the
            operations, those on values and `rotation` are for spheres.
        scale: Range of the window's part of the field, by volume.
        ratio: Range of a side by the geometric mean of all sides, log-uniform.
        stretch: Range of the step with "pad", in samples of the field, log-uniform; the same along
            all axes.
        shift: Whether a field that does not fill the view lies anywhere in it ("pad"); else in its
            middle.
        flip: Probability of a mirror image, one number or one for each axis.
        turn: Probability that the last two axes are turned by 90, 180 or 270 degrees; they must be
            equally long.
        polarity: Probability of a change of sign.
        gain: Range of the factor, log-uniform.
        channel_gain: The same, drawn for each channel.
        offset: Standard deviation of a shift of each channel.
        gamma: Range of the exponent, log-uniform, on the range between the channel's `low` and
            `high` (see `Normalization`).
        equalizer: Standard deviation of the gains of a smooth random filter, in decibel; of series.
        equalizer_bands: Gains that are drawn over its frequencies, with cosines between them.
        blur: Range of the standard deviation of a Gaussian; (0, 0) for none.
        noise: Standard deviation of white noise; drawn uniformly up to it.
        channel_drop: Probability of each channel to be missing; at least one stays.
        erase: Range of the part of each side that one missing stretch or box has.
        erase_count: How many of them.
        rotation: How a sphere is turned: "any" draws from SO(3), "yaw" about its poles.

    Raises:
        ValueError: For a value out of range.

    Examples:
        >>> FieldView(2, 128, fit="pad", stretch=(0.8, 1.25)).sides(1)
        (128,)
    """

    count: int
    size: int | tuple[int, ...]
    fit: Literal["resize", "pad", "sphere"] = "resize"
    scale: tuple[float, float] = (1.0, 1.0)
    ratio: tuple[float, float] = (1.0, 1.0)
    stretch: tuple[float, float] = (1.0, 1.0)
    shift: bool = False
    flip: float | tuple[float, ...] = 0.0
    turn: float = 0.0
    polarity: float = 0.0
    gain: tuple[float, float] = (1.0, 1.0)
    channel_gain: tuple[float, float] = (1.0, 1.0)
    offset: float = 0.0
    gamma: tuple[float, float] = (1.0, 1.0)
    equalizer: float = 0.0
    equalizer_bands: int = 8
    blur: tuple[float, float] = (0.0, 0.0)
    noise: float = 0.0
    channel_drop: float = 0.0
    erase: tuple[float, float] = (0.0, 0.0)
    erase_count: int = 1
    rotation: Literal["none", "yaw", "any"] = "none"

    def __post_init__(self):
        def require(name: str, holds: bool, wanted: str):
            if not holds:
                raise ValueError(f"{name} must be {wanted}, got {getattr(self, name)}")

        def positive(n: object) -> bool:
            return isinstance(n, int) and n >= 1

        sizes = (self.size,) if isinstance(self.size, int) else self.size
        require("size", all(map(positive, sizes)), "at least 1")
        for name in ("count", "equalizer_bands", "erase_count"):
            require(name, positive(getattr(self, name)), "at least 1")
        require("fit", self.fit in ("resize", "pad", "sphere"), "resize, pad or sphere")
        require("rotation", self.rotation in ("none", "yaw", "any"), "none, yaw or any")
        for name in ("turn", "polarity", "channel_drop"):
            require(name, 0 <= getattr(self, name) <= 1, "between 0 and 1")
        flips = self.flip if isinstance(self.flip, tuple) else (self.flip,)
        require("flip", all(0 <= p <= 1 for p in flips), "between 0 and 1")
        for name in ("offset", "equalizer", "noise"):
            require(name, 0 <= getattr(self, name) < math.inf, "zero or more")
        for name in ("ratio", "stretch", "gain", "channel_gain", "gamma"):
            low, high = getattr(self, name)
            require(name, 0 < low <= high < math.inf, "a range (low, high) above 0")
        low, high = self.scale
        require("scale", 0 < low <= high <= 1, "a range (low, high) within (0, 1]")
        low, high = self.erase
        require("erase", 0 <= low <= high < 1, "a range (low, high) within [0, 1)")
        low, high = self.blur
        require("blur", 0 <= low <= high < math.inf, "a range (low, high) from 0")
        if self.fit == "sphere":
            cells_of(math.prod(sizes))
            for name in _FLAT:
                usual = FieldView.__dataclass_fields__[name].default
                require(name, getattr(self, name) == usual, f"{usual} on the sphere")
        elif self.rotation != "none":
            raise ValueError(f"rotation wants fit='sphere', got {self.fit!r}")

    def sides(self, num_axes: int) -> tuple[int, ...]:
        """Samples along each axis of a view.

        Raises:
            ValueError: If the options do not fit fields of so many axes.
        """
        if self.fit == "sphere":
            if num_axes == 3:
                raise ValueError("a sphere must be stored along 1 or 2 axes, got 3")
            return (self.size,) if isinstance(self.size, int) else tuple(self.size)
        sides = (self.size,) * num_axes if isinstance(self.size, int) else tuple(self.size)
        if len(sides) != num_axes:
            raise ValueError(f"size must be one number or {num_axes}, got {self.size}")
        if isinstance(self.flip, tuple) and len(self.flip) != num_axes:
            raise ValueError(f"flip must be one number or {num_axes}, got {self.flip}")
        if self.turn and (num_axes == 1 or sides[-1] != sides[-2]):
            raise ValueError(f"turn wants the last two axes equally long, got sides {sides}")
        if self.equalizer and num_axes != 1:
            raise ValueError(f"equalizer is for series, got {num_axes} axes")
        return sides
