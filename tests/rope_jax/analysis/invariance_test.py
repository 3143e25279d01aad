"""Shift errors and commutators."""

import jax
import jax.numpy as jnp

from rope_jax import analysis


def test_commutator_norm_of_zero_is_zero():
    zero, eye = jnp.zeros((2, 2)), jnp.eye(2)
    assert float(analysis.commutator_norm(zero, eye)) == 0.0
    gradient = jax.grad(lambda a: analysis.commutator_norm(a, eye + a))(eye)
    assert gradient.shape == (2, 2)
