"""Rotations, rules on the sphere, and graphs of points."""

from pointcloud_jax.geometry.graph import (
    Neighbors,
    ball_query,
    farthest_point_sampling,
    gather,
    interpolate,
    knn,
    knn_between,
)
from pointcloud_jax.geometry.neighborhoods import share_of, spread_neighbors
from pointcloud_jax.geometry.rotations import (
    matrix_to_axis_angle,
    matrix_to_quaternion,
    quaternion_to_matrix,
    random_quaternion,
    random_rotation,
    random_rotation_about,
    random_small_rotation,
    rotate,
    rotation_about,
    rotation_angle,
)
from pointcloud_jax.geometry.sphere import (
    SphereRule,
    fibonacci,
    icosahedral,
    lebedev,
    sphere_rule,
    spherical_design,
)

__all__ = [
    "Neighbors",
    "SphereRule",
    "ball_query",
    "farthest_point_sampling",
    "fibonacci",
    "gather",
    "icosahedral",
    "interpolate",
    "knn",
    "knn_between",
    "lebedev",
    "matrix_to_axis_angle",
    "matrix_to_quaternion",
    "quaternion_to_matrix",
    "random_quaternion",
    "random_rotation",
    "random_rotation_about",
    "random_small_rotation",
    "rotate",
    "rotation_about",
    "rotation_angle",
    "share_of",
    "sphere_rule",
    "spherical_design",
    "spread_neighbors",
]
