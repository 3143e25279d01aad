"""Where models lie beside folders of their own: in the folder of a run, and on the hub."""

from lejepa_jax.models.storage.hub import fetch_model, parse_hub_name, publish_model
from lejepa_jax.models.storage.run_models import describe_kept, export_run, load_run

__all__ = [
    "describe_kept",
    "export_run",
    "fetch_model",
    "load_run",
    "parse_hub_name",
    "publish_model",
]
