"""DiPVNet: configurations, and networks for classification and for parts."""

from pointcloud_jax.nn.dipvnet.configs import (
    PAPER,
    DiPVNetConfig,
    DirectionOptions,
    modelnet40_config,
    scanobjectnn_config,
    shapenetpart_config,
    small_config,
    tiny_config,
)
from pointcloud_jax.nn.dipvnet.networks import DiPVNet, DiPVNetParts

__all__ = [
    "PAPER",
    "DiPVNet",
    "DiPVNetConfig",
    "DiPVNetParts",
    "DirectionOptions",
    "modelnet40_config",
    "scanobjectnn_config",
    "shapenetpart_config",
    "small_config",
    "tiny_config",
]
