"""Weights of other libraries: timm and torchvision, both ways."""

from lejepa_jax.models.weights.architectures import ARCHITECTURES, Architecture
from lejepa_jax.models.weights.conversion import (
    Imported,
    from_timm,
    from_torchvision,
    named_model,
    to_timm,
    to_torchvision,
)
from lejepa_jax.models.weights.files import export_pytorch, import_model
from lejepa_jax.models.weights.pytorch import TorchModel, pytorch_lines, torch_model

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Imported",
    "TorchModel",
    "export_pytorch",
    "from_timm",
    "from_torchvision",
    "import_model",
    "named_model",
    "pytorch_lines",
    "to_timm",
    "to_torchvision",
    "torch_model",
]
