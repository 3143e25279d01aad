"""The configuration of a training run, and how it is written to a file."""

import dataclasses
import functools
import importlib
import importlib.util
import math
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from lejepa_jax.training.task import TaskConfig

Strategy = Literal["shard_map", "pmap", "jit"]
Precision = Literal["float32", "bfloat16"]
OptimizerName = Literal["adamw", "sgd"]
Extend = Literal["final_rate", "warm_restart"]


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
        warmup_steps: Steps of linear warm-up; a tenth of the steps where there are not more.
        decay_steps: Step at which the cosine ends; the last step by default. After it the learning
            rate keeps its last value.
        extend: How a finished run that gets more steps goes on: at the last learning rate
            (`final_rate`), or warmed up to the peak again and decayed anew (`warm_restart`).
        restart_at: Step of the last warm restart; filled in by `extend`.
        weight_decay: Of weights only; biases, norms, positions and tokens do not decay.
        adam_b2: Decay of the second moment of AdamW.
        momentum: Of SGD.
        clip_norm: Largest norm of the gradient; None, since LeJEPA needs no clipping.
        ema_decay: Decay of an exponential moving average of the variables, which is evaluated in
            place of the last ones; None for none.
        init_from: Model whose weights the run begins with: a run, a folder, a file .safetensors, or
            hf://OWNER/NAME. Positions and patches are resized where sizes differ; the projector is
            new where it is of another size, the head of a classifier always.
        seed: Names everything random: weights, order of the data, views, slices.
        data_dir: Where the data set is: prepared for TFDS, or the folder itself for `folder`.
        holdout: `validation` evaluates on a part of the training data instead of the test data.
        max_bad_records: Unreadable examples that are skipped before the run stops.
        workdir: Where the run is kept; runs/NAME by default. An existing one is resumed.
        devices: Number of devices, over all processes; all by default. A CPU is made into as many
            as are asked for, by default one a core, as far as the batch can be divided.
        mesh: Mesh of the devices: `data=2,fsdp=4` shards the batch by 8, and large weights and
            their moments by 4 (with the strategy shard_map). By default, all along data.
        strategy: How the step is parallelized over devices; all give the same losses.
        precision: Type in which the networks compute; parameters and statistics are float32.
        log_every: Steps from one line of the log to the next.
        logger: Where the log is shown beside `metrics.jsonl`: `tensorboard`, `wandb`, `trackio`,
            several with commas between them, or `none`.
        checkpoint_every: Steps from one checkpoint to the next; the newest 3 and the best are kept.
        keep_best: By what a checkpoint is the best: `loss`, another metric of training (means since
            the last checkpoint), or one of `evaluate_every`, such as `knn`; then there is a
            checkpoint at each evaluation.
        evaluate: Run the evaluators and write the report at the end.
        evaluate_every: Steps from one quick evaluation to the next, on a fixed subset; 0 for none.
            By default a tenth of the steps if there is an evaluation at the end.
        max_skipped_steps: Steps in a row with a non-finite gradient or update (NaN or Inf), which
            therefore change nothing, before the run stops.
        profile: Steps to trace, for TensorBoard or Perfetto, in WORKDIR/profile.
        debug: Show the traceback of errors that usually are one line.
        force: Go on with a run although its configuration or its data was another.
        distributed: Be one of many processes; SLURM, Open MPI, Kubernetes and TPU pods are known.
        coordinator: Elsewhere, HOST:PORT of the first process.
        coordinator_bind_address: HOST:PORT on which the first process listens; all interfaces of
            the machine by default, without authentication.
        num_processes: Elsewhere, how many there are.
        process_id: Elsewhere, which this is.
        heartbeat_seconds: Silence of a process after which the others stop.

    Raises:
        ValueError: For a value out of range.
    """

    data: str
    task: TaskConfig
    steps: int = 1000
    global_batch_size: int = 256
    microbatch: int | None = None
    optimizer: OptimizerName = "adamw"
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-3
    warmup_steps: int = 50
    decay_steps: int | None = None
    extend: Extend = "final_rate"
    restart_at: int | None = None
    weight_decay: float = 0.05
    adam_b2: float = 0.999
    momentum: float = 0.9
    clip_norm: float | None = None
    ema_decay: float | None = None
    init_from: str | None = None
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
    logger: str = "tensorboard"
    checkpoint_every: int = 200
    keep_best: str = "loss"
    evaluate: bool = True
    evaluate_every: int | None = None
    max_skipped_steps: int = 5
    profile: int = 0
    debug: bool = False
    force: bool = False
    distributed: bool = False
    coordinator: str | None = None
    coordinator_bind_address: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    heartbeat_seconds: int = 60

    def __post_init__(self):
        at_least_1 = ("steps", "global_batch_size", "log_every", "checkpoint_every")
        optional = ("devices", "microbatch", "decay_steps", "num_processes", "heartbeat_seconds")
        optional += ("restart_at",)
        not_negative = ("warmup_steps", "weight_decay", "final_learning_rate", "seed")
        not_negative += ("max_bad_records", "max_skipped_steps", "profile", "evaluate_every")
        for name in (*at_least_1, *optional):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name in not_negative:
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} must not be negative, got {value}")
        for name in ("learning_rate", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value}")
        for name in ("momentum", "adam_b2", "ema_decay"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} must be in [0, 1), got {value}")


def describe(config: Any) -> Any:
    """Turn a configuration into what JSON can hold; partial functions name what they call.

    Args:
        config: A dataclass, a partial function, or nested containers of them.

    Returns:
        Dictionaries, lists, strings and numbers.

    Examples:
        >>> describe(functools.partial(math.pow, 2.0))
        {'call': 'pow', '0': 2.0}
    """
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


def defaults(config: Any) -> Any:
    """Return the default of every field of a configuration that has one, as `describe` does.

    Args:
        config: A dataclass, maybe with others in its fields.

    Returns:
        Nested dictionaries; fields without a default are left out.

    Examples:
        >>> from lejepa_jax.augment import digits_view
        >>> defaults(digits_view(2, 8))["flip"]
        0.5
    """
    found = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            found[field.name] = defaults(value)
        elif isinstance(value, tuple) and value and all(map(dataclasses.is_dataclass, value)):
            found[field.name] = [defaults(item) for item in value]
        elif field.default is not dataclasses.MISSING:
            found[field.name] = describe(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = describe(field.default_factory())
    return found


def read_recipes(package: ModuleType) -> dict[str, tuple[str, Recipe]]:
    """Load every recipe of a package: its docstring and its configuration, by name.

    Args:
        package: A package whose modules have a constant `RECIPE`.

    Returns:
        The recipes; a name is that of its file with hyphens for underscores.
    """
    found = {}
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        loaded = importlib.import_module(f"{package.__name__}.{module.name}")
        found[module.name.replace("_", "-")] = (loaded.__doc__ or "", loaded.RECIPE)
    return found


def read_recipe(path: str | Path) -> tuple[str, Recipe]:
    """Load a recipe from a file of the user's own. The file is a program: it is executed.

    Args:
        path: A Python file with a constant `RECIPE`.

    Returns:
        Its docstring and its configuration.

    Raises:
        ValueError: If there is no such file, it raises an error, or it holds no recipe.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"recipe {str(path)!r} is not a file")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"recipe {str(path)!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(file.stem, module)  # dataclasses look for their module there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"recipe {str(path)!r} raises {type(error).__name__}: {error}") from error
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"recipe {str(path)!r} must have a constant RECIPE, a Recipe")
    return module.__doc__ or "", recipe


def _name(thing: Callable[..., Any]) -> str:
    return getattr(thing, "__qualname__", None) or repr(thing)
