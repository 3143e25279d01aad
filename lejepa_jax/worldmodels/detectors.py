"""What tells learning from collapse along time, where loss, deviation and rank look healthy.

Whatever stays the same over an episode, such as its background, is predicted for nothing and
varies from episode to episode: latents that hold nothing else satisfy the objective. They show in
two ways: predictions do not depend on actions, and nothing varies within an episode.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from lejepa_jax.report.metric import Metric
from lejepa_jax.statistics.reductions import (
    AxisName,
    center_rows,
    gather_over_devices,
    global_mean,
)

#: Below this ratio predictions do as well with the actions of somebody else.
_NO_ACTIONS = 1.1
#: Below this share of their variance latents hardly change within an episode.
_STATIC = 0.1


def swap_examples(
    values: Float[Array, "b ..."], *, axis_name: AxisName | None = None
) -> Float[Array, "b ..."]:
    """Give each example the values of another one: that half a global batch away.

    Args:
        values: One row an example.
        axis_name: Mapped axis over which the batch is sharded.

    Returns:
        The rows of others, whatever the number of devices.

    Examples:
        >>> swap_examples(jnp.arange(4.0)[:, None])[:, 0].tolist()
        [2.0, 3.0, 0.0, 1.0]
    """
    if axis_name is None:
        return jnp.roll(values, len(values) // 2, axis=0)
    count = len(values)
    whole = gather_over_devices(values, axis_name)
    whole = whole.reshape(-1, *values.shape[1:])
    whole = jnp.roll(whole, len(whole) // 2, axis=0)
    return lax.dynamic_slice_in_dim(whole, lax.axis_index(axis_name) * count, count)


def within_share(
    latents: Float[Array, "b t d"], *, axis_name: AxisName | None = None
) -> Float[Array, ""]:
    r"""Share of the variance of latents that is within windows.

    .. math:: \frac{\sum_{n,t} |z_{n,t} - \bar z_n|^2}{\sum_{n,t} |z_{n,t} - \bar z|^2}

    Args:
        latents: Latents of windows.
        axis_name: Mapped axis over which the batch is sharded.

    Returns:
        The share; 1 where windows have all the same mean, 0 where nothing changes within them.

    Examples:
        >>> print(within_share(jnp.array([[[0.0], [2.0]], [[4.0], [6.0]]])))
        0.2
    """
    within = global_mean(jnp.square(latents - latents.mean(1, keepdims=True)), axis_name=axis_name)
    centered, _, _ = center_rows(latents.reshape(-1, latents.shape[-1]), axis_name=axis_name)
    total = global_mean(jnp.square(centered), axis_name=axis_name)
    return within / jnp.maximum(total, 1e-12)


def episode_share(
    latents: Float[Array, "n d"], episode: Int[Array, " n"], num_episodes: int
) -> Float[Array, ""]:
    """Share of the variance of latents that is within episodes, of any lengths.

    Args:
        latents: Latents of frames.
        episode: The episode of each, counted from 0.
        num_episodes: How many there are.

    Returns:
        The share.

    Examples:
        >>> latents = jnp.array([[0.0], [2.0], [4.0], [6.0]])
        >>> print(episode_share(latents, jnp.array([0, 0, 1, 1]), 2))
        0.2
    """
    ones = jnp.zeros(num_episodes).at[episode].add(1.0)
    sums = jnp.zeros((num_episodes, latents.shape[1])).at[episode].add(latents)
    means = sums / jnp.maximum(ones, 1)[:, None]
    within = jnp.square(latents - means[episode]).sum()
    total = jnp.square(latents - latents.mean(0, keepdims=True)).sum()
    return within / jnp.maximum(total, 1e-12)


def detector_metrics(*, prefix: str = "") -> dict[str, Metric]:
    """Say how the detectors are shown, and when they raise the alarm.

    Args:
        prefix: What their names begin with: `eval/` for those of held-out episodes.

    Returns:
        How each is shown, by name.
    """
    what = "Held-out " if prefix else ""
    advice = "add --task.inverse-weight 1, which what stays the same over an episode cannot satisfy"
    found = {
        "shuffled_ratio": Metric(
            f"{what}error with shuffled actions".capitalize(),
            "over that with the true ones",
            log_scale=True,
            reference=1.0,
            reference_name="actions are ignored",
            progress=True,
            warn_below=_NO_ACTIONS,
            warning="predictions are as good with the actions of other episodes: the latents may "
            f"hold only what stays the same over an episode; {advice}",
            higher_is_better=True,
        ),
        "within_episode": Metric(
            f"{what}variance within episodes".capitalize(),
            "share of that of the latents",
            reference=1.0,
            reference_name="all of it",
            # Windows are short, and little changes in them: whole episodes say it.
            warn_below=_STATIC if prefix else None,
            warning=f"the latents hardly change within an episode; {advice}",
            higher_is_better=True,
        ),
        "action_sensitivity": Metric(
            f"{what}action sensitivity".capitalize(),
            "difference that other actions make, over a step",
            reference=0.0,
            reference_name="actions are ignored",
        ),
    }
    return {prefix + name: metric for name, metric in found.items()}
