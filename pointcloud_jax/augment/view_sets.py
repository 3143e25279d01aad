"""Sets of views of clouds by name and options, as they are chosen on a command line."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from lejepa_jax.choices import choose
from pointcloud_jax.augment.views import PointViewSpec


def whole_views(*, count: int = 2, num_points: int = 256) -> tuple[PointViewSpec, ...]:
    """Make views of whole clouds: other points, another pose, a little noise.

    An invariant encoder sees through them at once: what is left to learn is the noise of sampling.

    Args:
        count: How many views.
        num_points: Points of each.

    Returns:
        The specification.

    Examples:
        >>> whole_views()[0].rotation
        'so3'
    """
    return (PointViewSpec(count, num_points, rotation="so3", scale=(0.8, 1.25), jitter=0.01),)


def part_views(
    *,
    num_global: int = 2,
    num_local: int = 2,
    num_points: int = 256,
    local_points: int = 128,
) -> tuple[PointViewSpec, ...]:
    """Make views of which parts are missing: cut by a plane, and small ones of a ball.

    Global views lose up to a quarter of the cloud to a plane, local ones keep 25 to 75 % of it, the
    points nearest to one of them. All have uneven densities, fewer points than asked for by up to a
    half, noise, and any pose.

    Args:
        num_global: Views of most of the cloud.
        num_local: Views of a part of it.
        num_points: Points of a global view.
        local_points: Points of a local view.

    Returns:
        The specifications, the global ones first.

    Examples:
        >>> [spec.crop for spec in part_views()]
        [(1.0, 1.0), (0.25, 0.75)]
    """
    common = {
        "dropout": (0.0, 0.5),
        "density_gradient": 3.0,
        "rotation": "so3",
        "scale": (0.8, 1.25),
        "jitter": 0.01,
    }
    specs = [PointViewSpec(num_global, num_points, cut=(0.0, 0.25), **common)]
    if num_local:
        specs.append(PointViewSpec(num_local, local_points, crop=(0.25, 0.75), **common))
    return tuple(specs)


def scan_views(*, count: int = 4, num_points: int = 256) -> tuple[PointViewSpec, ...]:
    """Make views as a depth camera has them: what is seen from a random side.

    Args:
        count: How many views.
        num_points: Points of each, where as many are seen.

    Returns:
        The specification.

    Examples:
        >>> scan_views()[0].occlusion
        1.0
    """
    spec = PointViewSpec(
        count,
        num_points,
        occlusion=1.0,
        density_gradient=3.0,
        rotation="so3",
        scale=(0.8, 1.25),
        jitter=0.01,
    )
    return (spec,)


#: Makers of sets of views by name; their keyword-only arguments are the options.
CLOUD_VIEW_SETS: Mapping[str, Callable[..., tuple[PointViewSpec, ...]]] = MappingProxyType(
    {"whole": whole_views, "parts": part_views, "scans": scan_views}
)


def cloud_views_by_name(text: str) -> tuple[PointViewSpec, ...]:
    """Give the views that a line of text asks for.

    Args:
        text: A name of `CLOUD_VIEW_SETS`, alone or called with options.

    Returns:
        Specifications of views, the global ones first.

    Raises:
        ValueError: If there is no such name or option.

    Examples:
        >>> cloud_views_by_name("scans(count=2, num_points=64)")[0].num_points
        64
    """
    return choose("views", text, CLOUD_VIEW_SETS)()
