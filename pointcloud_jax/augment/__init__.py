"""Views of clouds, made on the device from keys."""

from pointcloud_jax.augment.damage import crop_mask, cut_mask, visible_mask
from pointcloud_jax.augment.view_sets import (
    CLOUD_VIEW_SETS,
    cloud_views_by_name,
    part_views,
    scan_views,
    whole_views,
)
from pointcloud_jax.augment.views import PointViews, PointViewSpec, make_point_views

__all__ = [
    "CLOUD_VIEW_SETS",
    "PointViewSpec",
    "PointViews",
    "cloud_views_by_name",
    "crop_mask",
    "cut_mask",
    "make_point_views",
    "part_views",
    "scan_views",
    "visible_mask",
    "whole_views",
]
