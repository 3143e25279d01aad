"""Environments whose functions are compiled, as tests call them."""

import dataclasses

import jax


def jitted(world):
    names = ("reset", "step", "render", "distance", "solved", "shortest_steps")
    functions = {name: jax.jit(getattr(world, name)) for name in names}
    sample_goal = jax.jit(world.sample_goal, static_argnames="where")
    return dataclasses.replace(world, sample_goal=sample_goal, **functions)
