"""Images: decoded one by one, scaled to 8 bits, and served from memory or on demand."""

from lejepa_jax.data.images.arrays import DecodedImages, from_arrays
from lejepa_jax.data.images.decoding import read_image
from lejepa_jax.data.images.encoded import EncodedImages

__all__ = ["DecodedImages", "EncodedImages", "from_arrays", "read_image"]
