"""World models: environments, planning in a latent space, and what is trained for it."""

from lejepa_jax.worldmodels.environments.protocol import Environment
from lejepa_jax.worldmodels.environments.rooms import two_room

__all__ = ["Environment", "two_room"]
