"""Views of clouds, made on the device from keys."""

from pointcloud_jax.augment.views import (
    PointViews,
    PointViewSpec,
    crop_mask,
    cut_mask,
    make_point_views,
    visible_mask,
)

__all__ = [
    "PointViewSpec",
    "PointViews",
    "crop_mask",
    "cut_mask",
    "make_point_views",
    "visible_mask",
]
