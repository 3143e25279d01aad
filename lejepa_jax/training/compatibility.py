"""Names that fields of a configuration and of a saved state had before, and have now."""

from collections.abc import Collection
from typing import Any

# At the top of a configuration, directly below `task`, and at any depth.
_RECIPE_FIELDS = {"global_batch": "global_batch_size", "average_decay": "ema_decay"}
_TASK_FIELDS = {"neighbours": "knn_k", "quadrature": "statistic"}
_FIELDS = {
    "optimiser": "optimizer",
    "eval_batch": "eval_batch_size",
    "neighbours": "neighbors",
    "num_neighbours": "num_neighbors",
    "normalise": "normalize",
    "normalise_radius": "normalize_radius",
    "standardise": "standardize",
    "centre": "center",
    "colours": "colors",
    "grey": "gray",
}
_CALLABLES = {
    "Dgcnn": "DGCNN",
    "VnDgcnn": "VNDGCNN",
    "Dipvnet": "DiPVNet",
    "DipvnetParts": "DiPVNetParts",
    "L2dp": "L2DP",
    "normalise": "normalize",
    "normalise_radius": "normalize_radius",
    "generalised_normal_target": "generalized_normal_target",
}
_STATISTICS = {"folded": "epps_pulley", "paper": "paper_epps_pulley"}

# What the fields of a training state were called, the latest name first.
_STATE_FIELDS = {
    "opt_state": ("optimizer", "optimiser"),
    "ema": ("average",),
    "ema_params": ("average",),
}


def upgrade_config(old: dict[str, Any]) -> dict[str, Any]:
    """Give the fields of an old configuration the names they have now.

    Args:
        old: Configuration of a run, as it was described when the run was made. One with the names
            of today is returned as it is.

    Returns:
        The same values under the names of today.

    Examples:
        >>> upgrade_config({"optimiser": "sgd", "task": {"neighbours": 20, "quadrature": "paper"}})
        {'optimizer': 'sgd', 'task': {'knn_k': 20, 'statistic': 'paper_epps_pulley'}}
    """
    renamed = _rename(old, _RECIPE_FIELDS)
    task = renamed.get("task")
    if isinstance(task, dict):
        if task.get("quadrature") in _STATISTICS:
            task = {
                name: _STATISTICS[value] if name == "quadrature" else value
                for name, value in task.items()
            }
        renamed["task"] = _rename(task, _TASK_FIELDS)
    return {name: _upgrade(value) for name, value in _rename(renamed, _FIELDS).items()}


def _upgrade(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _upgrade(inner) for name, inner in _rename(value, _FIELDS).items()}
    if isinstance(value, list):
        return [_upgrade(inner) for inner in value]
    return _CALLABLES.get(value, value) if isinstance(value, str) else value


def _rename(fields: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {
        names[name] if name in names and names[name] not in fields else name: value
        for name, value in fields.items()
    }


def saved_names(wanted: Collection[str], saved: Collection[str]) -> dict[str, str]:
    """Find under which names a checkpoint has the fields of a state.

    Args:
        wanted: Names of the fields as they are now.
        saved: Names in the checkpoint.

    Returns:
        The name in the checkpoint for each wanted one; the same where it has no other.

    Examples:
        >>> saved_names(["step", "opt_state", "ema"], ["step", "optimiser"])
        {'step': 'step', 'opt_state': 'optimiser', 'ema': 'ema'}
    """
    names = {}
    for name in wanted:
        former = (old for old in _STATE_FIELDS.get(name, ()) if old in saved)
        names[name] = name if name in saved else next(former, name)
    return names
