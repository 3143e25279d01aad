"""Views of clouds, made on the device from keys."""

from pointcloud_jax.augment.damage import crop_mask, cut_mask, visible_mask
from pointcloud_jax.augment.views import PointViews, PointViewSpec, make_point_views

__all__ = [
    "PointViewSpec",
    "PointViews",
    "crop_mask",
    "cut_mask",
    "make_point_views",
    "visible_mask",
]
