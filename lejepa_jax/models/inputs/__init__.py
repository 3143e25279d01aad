"""What people give to a model, as sources: images, clouds and fields, as arrays and as files."""

from lejepa_jax.models.inputs.clouds import clouds_source, to_unit_ball
from lejepa_jax.models.inputs.fields import field_files_source, fields_source
from lejepa_jax.models.inputs.images import as_uint8, image_files_source, images_source
from lejepa_jax.models.inputs.sources import batch_source, files_source, require_files

__all__ = [
    "as_uint8",
    "batch_source",
    "clouds_source",
    "field_files_source",
    "fields_source",
    "files_source",
    "image_files_source",
    "images_source",
    "require_files",
    "to_unit_ball",
]
