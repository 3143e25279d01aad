"""Ways to leave N(0, 1), one parameter each, 0 being N(0, 1) itself.

All but the first two keep mean 0 and variance 1.
"""

import jax.numpy as jnp


def shift(g, mean):
    """Move the mean."""
    return g + mean


def scale(g, doublings):
    """Multiply by a power of two."""
    return g * 2**doublings


def skew(g, sigma):
    """Standardized log-normal law; negative parameters have the long tail on the left."""
    if abs(sigma) < 1e-3:
        return g
    variance = (jnp.exp(sigma**2) - 1) * jnp.exp(sigma**2)
    return jnp.sign(sigma) * (jnp.exp(sigma * g) - jnp.exp(sigma**2 / 2)) / jnp.sqrt(variance)


def tail(g, h):
    """Tukey's h law: g exp(h g^2 / 2), heavy tails above 0 and light ones below."""
    return g * jnp.exp(h * g**2 / 2) * (1 - 2 * h) ** 0.75


def peaks(g, separation, sign):
    """Two normal laws at plus and minus the separation."""
    return separation * sign + (1 - separation**2) ** 0.5 * g
