"""Going on with a run: what may differ, and what happens to its schedule."""

import dataclasses
from pathlib import Path
from typing import Any

from lejepa_jax.data.inspection import Fingerprint, fingerprint_changes
from lejepa_jax.training.compatibility import upgrade_config
from lejepa_jax.training.errors import UsageError
from lejepa_jax.training.recipe import Recipe, defaults, describe
from lejepa_jax.training.runs import differences

# What may differ when a run is resumed: it changes where and how, not what is computed. More steps
# than before are handled by `continue_schedule`.
RESUMABLE_FIELDS = frozenset(
    {"workdir", "data_dir", "devices", "mesh", "strategy"}
    | {"distributed", "coordinator", "coordinator_bind_address", "num_processes", "process_id"}
    | {"heartbeat_seconds", "log_every", "checkpoint_every", "evaluate", "profile", "force"}
    | {"debug", "max_bad_records", "max_skipped_steps", "evaluate_every", "keep_best", "extend"}
    | {"logger"}
    | {f"task.data_options.{name}" for name in ("num_threads", "decode_limit", "memory_limit")}
    | {"task.data_options.decode_at_once", "task.memory_limit"}
)


def continue_schedule(
    recipe: Recipe, old: dict[str, Any] | None, newest: int | None = None
) -> Recipe:
    """Settle the learning rates of a run that may get more steps than it had.

    By default it goes on at the last rate. With `extend="warm_restart"` a finished run warms up
    again at its last step, and decays to the new one.

    Args:
        recipe: The run as it is asked for.
        old: Configuration of its newest checkpoint, if there is one.
        newest: Step of that checkpoint.

    Returns:
        The recipe, whose `decay_steps` and `restart_at` say what the rates are.

    Raises:
        UsageError: If a run is to restart that has not come to its end.
    """
    before = None if old is None else upgrade_config(old)
    if before is None or recipe.steps < before["steps"]:
        return recipe
    if recipe.extend == "warm_restart" and recipe.steps > before["steps"]:
        if newest != before["steps"]:
            raise UsageError(
                f"extend must be final_rate for a run that has not come to its end (step {newest} "
                f"of {before['steps']}), got warm_restart: let it finish first"
            )
        return dataclasses.replace(recipe, restart_at=before["steps"])
    recipe = dataclasses.replace(recipe, restart_at=before.get("restart_at"))
    if recipe.decay_steps is not None:
        return recipe
    decay_steps = before.get("decay_steps")
    if recipe.steps > before["steps"] and decay_steps is None:
        decay_steps = before["steps"]
    return dataclasses.replace(recipe, decay_steps=decay_steps)


def check_resumable(
    recipe: Recipe, data: Fingerprint, workdir: Path, old: dict[str, Any] | None
) -> None:
    """Refuse to go on with a run of another configuration or other data, unless forced to.

    Args:
        recipe: The run as it is asked for.
        data: Fingerprint of its data.
        workdir: Its folder.
        old: Configuration of its newest checkpoint, if there is one.

    Raises:
        UsageError: One line that names every difference.
    """
    if old is None or recipe.force:
        return
    before = upgrade_config(old)
    kept = before.pop("fingerprint", None)
    resumable = RESUMABLE_FIELDS | {
        f"task.{field}" for field in getattr(recipe.task, "evaluation_only", ())
    }
    if recipe.steps > before["steps"]:
        resumable |= {"steps", "decay_steps", "restart_at"}
    found = list(differences(before, describe(recipe), resumable, defaults=defaults(recipe)))
    others = {"another configuration": found}
    if kept is not None:  # runs made before had none
        others["other data"] = list(fingerprint_changes(kept, data))
    for what, differ in others.items():
        if differ:
            raise UsageError(
                f"{workdir} holds a run with {what} ({'; '.join(differ)}); choose another "
                "--workdir, or --force to go on with this one"
            )
