"""Recipes: one file each, whose docstring gives the command, the expected result, time and machine.

A recipe is a module of this folder with a constant `RECIPE`. Its name on the command line is that
of the file with hyphens for underscores.
"""

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, Literal

from lejepa_jax.training.task import TaskConfig

Strategy = Literal["shard_map", "pmap", "jit"]
Precision = Literal["float32", "bfloat16"]
Optimizer = Literal["adamw", "sgd"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training run.

    Attributes:
        data: Name of the data set. Of images: `digits`, `folder:PATH`, `npz:PATH` or a TFDS name.
        task: What is trained.
        steps: Number of steps.
        global_batch_size: Examples a step, over all devices.
        microbatch: Examples a device encodes at a time; all of its share by default. A part of them
            needs less memory and one more forward pass. SIGReg still sees the whole batch, and the
            gradient is the same but for BatchNorm in the encoder, which sees the part.
        optimizer: `adamw`, or `sgd` with momentum, whose weight decay is part of the gradient.
        learning_rate: Its peak.
        final_learning_rate: Its last value, as a part of the peak; cosine decay leads there.
        warmup_steps: Steps of linear warm-up.
        weight_decay: Of kernels only; biases, norms, positions and tokens do not decay.
        adam_b2: Decay of the second moment of AdamW.
        momentum: Of SGD.
        clip_norm: Largest norm of the gradient; None, since LeJEPA needs no clipping.
        average_decay: Decay of an average of the weights that is evaluated in place of the last
            ones; None for none.
        seed: Names everything random: weights, order of the data, views, slices.
        data_dir: Where the data set lies: prepared for TFDS, or the folder itself for `folder`.
        holdout: `validation` evaluates on a part of the training data instead of the test data.
        max_bad_records: Unreadable examples that are skipped before the run stops.
        workdir: Where the run is kept; runs/NAME by default. An existing one is resumed.
        devices: Number of devices, over all processes; all by default. On a CPU, as many are made.
        mesh: How devices are laid out: `data=2,fsdp=4` divides the batch by 8, and large parameters
            and their moments by 4 (with the strategy shard_map). By default, all along data.
        strategy: How the step is spread over devices; all give the same losses.
        precision: Type in which the networks compute; parameters and statistics are float32.
        log_every: Steps from one line of the log to the next.
        checkpoint_every: Steps from one checkpoint to the next; the newest 3 and the best are kept.
        evaluate: Run the probes and write the report at the end.
        max_skipped_steps: Steps in a row whose gradient is no number, and that therefore change
            nothing, before the run stops.
        profile: Steps to trace, for TensorBoard or Perfetto, in WORKDIR/profile.
        force: Go on with a run although its configuration was another.
        distributed: Be one of many processes; SLURM, Open MPI, Kubernetes and TPU pods are known.
        coordinator: Elsewhere, HOST:PORT of the first process.
        num_processes: Elsewhere, how many there are.
        process_id: Elsewhere, which this is.
        heartbeat_seconds: Silence of a process after which the others stop.
    """

    data: str
    task: TaskConfig
    steps: int = 1000
    global_batch_size: int = 256
    microbatch: int | None = None
    optimizer: Optimizer = "adamw"
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-3
    warmup_steps: int = 50
    weight_decay: float = 0.05
    adam_b2: float = 0.999
    momentum: float = 0.9
    clip_norm: float | None = None
    average_decay: float | None = None
    seed: int = 0
    data_dir: str | None = None
    holdout: Literal["test", "validation"] = "test"
    max_bad_records: int = 0
    workdir: str | None = None
    devices: int | None = None
    mesh: str | None = None
    strategy: Strategy = "shard_map"
    precision: Precision = "float32"
    log_every: int = 10
    checkpoint_every: int = 200
    evaluate: bool = True
    max_skipped_steps: int = 5
    profile: int = 0
    force: bool = False
    distributed: bool = False
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    heartbeat_seconds: int = 60

    def __post_init__(self):
        for name in ("steps", "global_batch_size", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        not_negative = ("warmup_steps", "weight_decay", "seed", "max_bad_records")
        for name in (*not_negative, "max_skipped_steps", "profile"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps must be below steps = {self.steps}, got {self.warmup_steps}"
            )
        for name in ("devices", "microbatch", "num_processes", "heartbeat_seconds"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")
        if self.average_decay is not None and not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay must be in [0, 1), got {self.average_decay}")


def recipes() -> dict[str, tuple[str, Recipe]]:
    """Load every recipe of this folder: its docstring and its configuration, by name."""
    found = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        found[module.name.replace("_", "-")] = (loaded.__doc__ or "", loaded.RECIPE)
    return found


def describe(config: Any) -> Any:
    """Turn a configuration into what JSON can hold; partial functions name what they call."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        fields = dataclasses.fields(config)
        return {field.name: describe(getattr(config, field.name)) for field in fields}
    if isinstance(config, functools.partial):
        called = {k: describe(v) for k, v in config.keywords.items()}
        called |= {str(i): describe(v) for i, v in enumerate(config.args)}
        return {"call": _name(config.func), **called}
    if isinstance(config, tuple | list):
        return [describe(item) for item in config]
    if isinstance(config, dict):
        return {str(key): describe(value) for key, value in config.items()}
    if config is None or isinstance(config, bool | int | float | str):
        return config
    return _name(config)


def _name(thing: Callable[..., Any]) -> str:
    return getattr(thing, "__qualname__", None) or repr(thing)
