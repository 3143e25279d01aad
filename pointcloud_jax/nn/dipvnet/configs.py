"""What a DiPVNet looks like: how it sees directions, its widths, and presets of both."""

import dataclasses
from typing import Literal, get_args

from lejepa_jax.checks import check_choice
from pointcloud_jax.geometry.sphere import sphere_rule
from pointcloud_jax.nn.local_features import AGGREGATIONS, Aggregation

Spectrum = Literal["dasft", "degrees", "debye"]
Pool = Literal["mean", "max"]


@dataclasses.dataclass(frozen=True)
class DirectionOptions:
    """How a DiPVNet layer sees directions. The defaults are ours, `PAPER` is as published.

    Attributes:
        aggregation: Of L2DP: "projection" (neighbors side by side: knows their rank, jumps when
            two swap), "statistics" (maximum, mean, variance) or "radial" (soft shells of distance).
        separate: L2DP reads differences to the neighbors and centers of the pooled features.
            Published are two halves of one mixed edge feature, neither a difference nor a center.
        pool: Of the edges' vectors to the points: "mean", or as published "max", the neighbor that
            reaches farthest along a direction. The direction decides by an index, has no gradient
            and stays as it was drawn.
        exclude_self: A point is no neighbor of itself.
        coordinate_graph: The first graph is that of the points; published is that of points and
            normals together, which have no common scale.
        center: Clouds are moved to their centroid; published is that the data is.
        spectrum: "degrees" (by degree of the harmonics: exactly invariant, knows directions),
            "dasft" (over `rule`) or "debye" (the sphere's average, exactly invariant).
        rule: Name of the sphere rule of "dasft". On normalized channels `lebedev-29` is exact in
            float32; `fibonacci-36` changes by 4 % and so do the logits, in the third digit.
        max_degree: Of "degrees".
        max_radius: Largest radius of the spectrum.
        normalize_radius: Each channel is centered and scaled to radius 1 first. Hidden features
            have no bound, and beyond it no rule is exact.
        log_spectrum: Tokens are logarithms of the mean energy. Published are raw sums, of the size
            of the squared number of points, under a LayerNorm that removes the decay and,
            at radius 0 where all channels are equal, divides rounding errors by almost nothing:
            with it the logits change by several per cent under rotation, whatever the rule.
        frequency_embedding: Tokens know their radius; without, attention sees a set.
        chirality: L2DP adds triple products: mirror images differ, rotations still do not.

    Raises:
        ValueError: For an unknown aggregation, pool, spectrum or rule.

    Examples:
        >>> DirectionOptions(spectrum="dasft", rule="design-36").rule
        'design-36'
    """

    aggregation: Aggregation = "radial"
    separate: bool = True
    pool: Pool = "mean"
    exclude_self: bool = True
    coordinate_graph: bool = True
    center: bool = True
    spectrum: Spectrum = "degrees"
    rule: str = "lebedev-29"
    max_degree: int = 4
    max_radius: float = 12.0
    normalize_radius: bool = True
    log_spectrum: bool = True
    frequency_embedding: bool = True
    chirality: bool = False

    def __post_init__(self):
        check_choice("aggregation", self.aggregation, AGGREGATIONS)
        check_choice("pool", self.pool, get_args(Pool))
        check_choice("spectrum", self.spectrum, get_args(Spectrum))
        sphere_rule(self.rule)


#: Every option as published, with 36 Fibonacci directions and L2DP by projection.
PAPER = DirectionOptions(
    aggregation="projection",
    separate=False,
    pool="max",
    exclude_self=False,
    coordinate_graph=False,
    center=False,
    spectrum="dasft",
    rule="fibonacci-36",
    normalize_radius=False,
    log_spectrum=False,
    frequency_embedding=False,
)


@dataclasses.dataclass(frozen=True)
class DiPVNetConfig:
    """Widths of a DiPVNet.

    Attributes:
        widths: Vector channels of each stage, even and divisible by `num_heads` over two.
        depths: Layers in each stage, on one graph.
        num_radii: Frequencies of the spectrum in each stage.
        k: Number of neighbors.
        embedding: Vector channels after the stages are joined.
        normals: Whether clouds come with normals, a second vector a point.
        num_heads: Of the attention to the spectrum.
        dropout_rate: Inside the layers.
        options: How directions are seen.

    Raises:
        ValueError: If `widths`, `depths` and `num_radii` differ in length, or a width does not fit.

    Examples:
        >>> small_config().widths
        (16, 16, 32, 64)
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    num_radii: tuple[int, ...]
    k: int
    embedding: int
    normals: bool = False
    num_heads: int = 8
    dropout_rate: float = 0.1
    options: DirectionOptions = DirectionOptions()

    def __post_init__(self):
        if not len(self.widths) == len(self.depths) == len(self.num_radii) > 0:
            raise ValueError(
                "widths, depths and num_radii must have one entry a stage, got "
                f"{self.widths}, {self.depths}, {self.num_radii}"
            )
        if any(width % 2 or 2 * width % self.num_heads for width in self.widths):
            raise ValueError(
                f"widths must be even, and twice them divisible by the {self.num_heads} heads, "
                f"got {self.widths}"
            )


def modelnet40_config(options: DirectionOptions = DirectionOptions()) -> DiPVNetConfig:
    """Widths of the published ModelNet40 classifier: points with normals, 12 neighbors.

    Args:
        options: `PAPER` for the published network: 3.449 M parameters with its head.

    Returns:
        The configuration.

    Examples:
        >>> modelnet40_config(PAPER).k
        12
    """
    return DiPVNetConfig(
        widths=(32, 32, 64, 128),
        depths=(1, 1, 1, 1),
        num_radii=(64, 64, 32, 32),
        k=12,
        embedding=256,
        normals=True,
        options=options,
    )


def scanobjectnn_config(options: DirectionOptions = DirectionOptions()) -> DiPVNetConfig:
    """Widths of the published ScanObjectNN classifier: points alone, 20 neighbors.

    Args:
        options: The published network is `dataclasses.replace(PAPER, aggregation="statistics")`:
            3.239 M parameters with its head for 15 classes.

    Returns:
        The configuration.

    Examples:
        >>> scanobjectnn_config().normals
        False
    """
    return dataclasses.replace(modelnet40_config(options), k=20, normals=False)


def shapenetpart_config(options: DirectionOptions = DirectionOptions()) -> DiPVNetConfig:
    """Widths of the published part segmenter: points with normals, 40 neighbors.

    Args:
        options: `PAPER` for the published network: 1.901 M parameters with its head for 16
            categories and 50 parts.

    Returns:
        The configuration.

    Examples:
        >>> shapenetpart_config().depths
        (2, 2, 1)
    """
    return DiPVNetConfig(
        widths=(16, 32, 64),
        depths=(2, 2, 1),
        num_radii=(64, 32, 32),
        k=40,
        embedding=256,
        normals=True,
        options=options,
    )


def small_config(options: DirectionOptions = DirectionOptions()) -> DiPVNetConfig:
    """Half the published widths and a quarter of the radii, for points alone.

    Args:
        options: How directions are seen.

    Returns:
        The configuration.

    Examples:
        >>> small_config().embedding
        64
    """
    return DiPVNetConfig(
        widths=(16, 16, 32, 64),
        depths=(1, 1, 1, 1),
        num_radii=(16, 16, 16, 16),
        k=12,
        embedding=64,
        options=options,
    )


def tiny_config(options: DirectionOptions = DirectionOptions()) -> DiPVNetConfig:
    """Two narrow stages, for a laptop and for tests.

    Args:
        options: How directions are seen.

    Returns:
        The configuration.

    Examples:
        >>> tiny_config().widths
        (8, 16)
    """
    return DiPVNetConfig(
        widths=(8, 16),
        depths=(1, 1),
        num_radii=(12, 12),
        k=8,
        embedding=32,
        num_heads=4,
        options=options,
    )
