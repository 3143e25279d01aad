"""One step: the gradient of a task, and what follows from it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, PRNGKeyArray, PyTree

from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.training.microbatch import microbatched_value_and_grad
from lejepa_jax.training.networks import Variables, merge_states
from lejepa_jax.training.optimizer import count_updates, learning_rates
from lejepa_jax.training.recipe import Recipe
from lejepa_jax.training.task import Batch, Task

# A finite gradient beyond this would overflow in its square, the second moment of Adam. So moments
# need no look of their own, which on a CPU would be a tenth of the step of a small network.
_MAX_GRADIENT = 1e18


class TrainState(NamedTuple):
    """All that changes from step to step.

    Attributes:
        step: Number of steps done.
        variables: Parameters and state of the network.
        opt_state: State of the optimizer.
        ema: Exponential moving average of the variables, if there is one.
    """

    step: jax.Array
    variables: Variables
    opt_state: optax.OptState
    ema: Variables | None


def initial_state(
    recipe: Recipe, task: Task, optimizer: optax.GradientTransformation, key: PRNGKeyArray
) -> TrainState:
    """Make the state of step 0.

    Args:
        recipe: The run.
        task: What is trained.
        optimizer: Made by `make_optimizer`.
        key: Random key of the weights.

    Returns:
        The state.
    """
    variables = task.init(key)
    ema = None if recipe.ema_decay is None else jax.tree.map(jnp.copy, variables)
    return TrainState(jnp.int32(0), variables, optimizer.init(variables.params), ema)


def trained_variables(state: TrainState) -> Variables:
    """Return the variables that are evaluated and kept: the averages if there are any."""
    return state.variables if state.ema is None else state.ema


def make_gradient(
    recipe: Recipe,
    task: Task,
    key: PRNGKeyArray,
    num_microbatches: int = 1,
    axis_name: AxisName | None = None,
    gather: Callable[[Any], Any] = lambda params: params,
) -> Callable[..., tuple[jax.Array, Any, dict[str, Any], dict[str, jax.Array]]]:
    """Make what one device does with its share of a batch: the loss of all of it, and the gradient.

    Args:
        recipe: The run.
        task: What is trained.
        key: Random key of the steps.
        num_microbatches: Parts in which the share is encoded.
        axis_name: Mapped axis over which the batch is sharded.
        gather: All-gathers sharded parameters.

    Returns:
        A function of the variables, the step and the batch, that returns the loss, the gradient,
        the new state and the metrics.
    """

    def loss_and_gradient(variables: Variables, step: jax.Array, batch: Batch):
        step_key = jax.random.fold_in(key, step)
        # Sharded parameters are all-gathered once a step, their cotangents reduce-scattered once.
        params, scatter = jax.vjp(gather, variables.params)

        def encode(params: Any, batch: Batch):
            return task.encode(params, variables.state, step_key, batch)

        def loss(params: Any, outputs: Any):
            return task.loss(params, variables.state, step_key, outputs, batch)

        def whole(params: Any):
            outputs, encoder_state = encode(params, batch)
            value, aux = loss(params, outputs)
            return value, (encoder_state, *aux)

        if num_microbatches == 1:
            value_and_grad = jax.value_and_grad(whole, has_aux=True)
            (value, (encoder_state, loss_state, metrics)), gradient = value_and_grad(params)
        else:
            result = microbatched_value_and_grad(
                encode,
                loss,
                num_microbatches=num_microbatches,
                loss_has_aux=True,
                encoder_has_aux=True,
            )(params, batch)
            value, gradient, (loss_state, metrics) = result[:3]
            encoder_state = jax.tree.map(lambda x: x.mean(0), result.encoder_aux)
        (gradient,) = scatter(gradient)
        if recipe.strategy == "pmap":
            # The loss is a mean over the global batch already. Under pmap each device holds the
            # gradient of its own share, times the number of devices. Under shard_map it has been
            # summed by `scatter`.
            gradient = jax.lax.pmean(gradient, axis_name)
        state = merge_states(variables.state, encoder_state, loss_state)
        return value, gradient, state, metrics

    return loss_and_gradient


def make_step(
    recipe: Recipe, optimizer: optax.GradientTransformation, loss_and_gradient: Callable[..., Any]
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """Make the step: the gradient, and what follows from it.

    A step with a non-finite gradient, or after which anything would be non-finite, changes nothing
    but the count of steps.

    Args:
        recipe: The run.
        optimizer: Made by `make_optimizer`.
        loss_and_gradient: Made by `make_gradient`, maybe mapped over devices.

    Returns:
        A function of the state and the batch that returns the new state and the metrics. Among
        them are `finite_gradients`, one truth value a parameter, and `skipped`.
    """
    rates = learning_rates(recipe)

    def step(train: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        old = train.variables
        value, gradient, state, metrics = loss_and_gradient(old, train.step, batch)
        updates, opt_state = optimizer.update(gradient, train.opt_state, old.params)
        new = Variables(optax.apply_updates(old.params, updates), state)
        ema = train.ema
        if ema is not None and recipe.ema_decay is not None:
            # Young averages forget faster, or the initial weights would linger.
            decay = jnp.minimum(recipe.ema_decay, (1.0 + train.step) / (10.0 + train.step))
            ema = jax.tree.map(lambda a, v: decay * a + (1 - decay) * v, ema, new)
        finite = _all_below(gradient, _MAX_GRADIENT)
        sound = finite.all() & jnp.isfinite(value) & _all_below(new, jnp.inf).all()
        variables, opt_state, ema = jax.tree.map(
            lambda new, old: jnp.where(sound, new, old),
            (new, opt_state, ema),
            (old, train.opt_state, train.ema),
        )
        metrics = {
            "loss": value,
            **metrics,
            "gradient_norm": optax.tree.norm(gradient),
            "learning_rate": rates(count_updates(train.opt_state)),
            "finite_gradients": finite,
            "skipped": ~sound,
        }
        return TrainState(train.step + 1, variables, opt_state, ema), metrics

    return step


def _all_below(tree: PyTree, limit: float) -> Bool[Array, " leaves"]:
    """Say of each array whether all of it is finite and of a magnitude below a limit."""
    return jnp.array([(jnp.abs(leaf) < limit).all() for leaf in jax.tree.leaves(tree)])
