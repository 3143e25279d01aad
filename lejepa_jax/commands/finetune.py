"""`finetune MODEL --data-dir PATH`: a classifier of labeled data, compared with what it beats."""

import dataclasses
import json
from pathlib import Path

from lejepa_jax.commands.options import parse_options, prepare_devices
from lejepa_jax.commands.table import Program
from lejepa_jax.models.loading import load
from lejepa_jax.models.reuse.finetuning import (
    FinetuneOptions,
    finetune_recipe,
    finetune_task,
    linear_probe,
)
from lejepa_jax.training.runs import read_run
from lejepa_jax.training.storage.files import write_atomically


def run(arguments: list[str], program: Program) -> int:
    """Fine-tune a model, after its linear probe and the same training from random weights.

    Args:
        arguments: `finetune`, a model and flags.
        program: What runs the command.

    Returns:
        The exit code.

    Raises:
        UsageError: One line about what is wrong.
    """
    # A model is the first argument, as for the other commands.
    words = list(arguments)
    if len(words) > 1 and not words[1].startswith("-"):
        words[1:2] = ["--model", words[1]]
    options = parse_options(FinetuneOptions, words)
    prepare_devices(options.devices)
    model = load(options.model)
    model.num_devices = options.devices
    task = finetune_task(model, options)
    splits = task.load(
        options.data,
        data_dir=options.data_dir,
        holdout=options.holdout,
        max_bad_records=options.max_bad_records,
    )
    recipe = finetune_recipe(task, options, len(splits.train))
    workdir, say = Path(options.workdir), program.console.print
    baselines = {} if options.force else read_baselines(workdir)
    if "linear probe" not in baselines and splits.train.num_classes > 1:
        say(f"linear probe of {options.model} on {len(splits.train):,} labeled examples")
        baselines["linear probe"] = linear_probe(model, splits, options.seed)
        workdir.mkdir(parents=True, exist_ok=True)
        write_atomically(workdir / "baselines.json", json.dumps(baselines))
    if options.scratch and "from scratch" not in baselines:
        scratch = workdir / "scratch"
        # All of it learns, and alike: there is nothing to keep.
        own = dataclasses.replace(task, layer_decay=None, frozen=False)
        changes = {"task": own, "init_from": None, "workdir": str(scratch)}
        code = program.train(arguments, ("from-scratch", dataclasses.replace(recipe, **changes)))
        found = read_run(scratch).results.get("accuracy", {}) if code == 0 else {}
        if "encoder" not in found:
            return code  # stopped, or failed: the same command goes on
        baselines["from scratch"] = float(found["encoder"])
        write_atomically(workdir / "baselines.json", json.dumps(baselines))
    task = dataclasses.replace(task, baselines=tuple(baselines.items()))
    return program.train(arguments, ("finetune", dataclasses.replace(recipe, task=task)))


def read_baselines(workdir: Path) -> dict[str, float]:
    """Read what was compared with before the run was stopped; nothing where that is not known."""
    try:
        found = json.loads((workdir / "baselines.json").read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): float(value) for name, value in found.items()}
