"""Train a recipe of `configs/` on any number of devices: `python train.py RECIPE [--flags]`.

Read it from top to bottom: command line, set-up, step, loop, evaluation. Everything random is a
function of the seed and the step, so that a run that was stopped goes on as if it had not been:
the same command resumes it.
"""

import collections
import contextlib
import functools
import importlib.metadata
import io
import itertools
import json
import logging
import math
import os
import platform
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import rich.console
import rich.progress
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PRNGKeyArray

from configs import Recipe, describe, recipes
from lejepa_jax.data import Splits, batches
from lejepa_jax.microbatch import microbatched_value_and_grad
from lejepa_jax.task import Batch, Task, Variables

AXIS = "data"
DEFAULT_RECIPE = "digits"
# What may differ when a run is resumed: it changes where and how, not what is computed.
HARMLESS = {"workdir", "data_dir", "devices", "strategy", "log_every", "checkpoint_every"} | {
    "evaluate",
    "max_bad_records",
}
# Below this standard deviation in some direction, after warm-up, embeddings have collapsed.
COLLAPSED = 0.1
_logger = logging.getLogger("train")


# --- command line ---------------------------------------------------------------------------------


class UsageError(ValueError):
    """Something the person who typed the command can mend; printed as one line."""


def parse(arguments: list[str]) -> tuple[str, Recipe]:
    """Read the recipe and its flags from the command line."""
    import tyro

    found = recipes()
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = [DEFAULT_RECIPE, *arguments]
    name = arguments[0]
    if not name.startswith("-") and name not in found:
        raise UsageError(f"unknown recipe {name!r}; there are {', '.join(found)}")
    boxed = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed):
            recipe = tyro.extras.overridable_config_cli(
                found,
                args=arguments,
                prog="train.py",
                description="Train a recipe, on any number of devices. The same command resumes "
                f"a run that was stopped. Without a recipe: {DEFAULT_RECIPE}.",
            )
    except SystemExit as exit_:
        if exit_.code == 0:
            raise
        raise UsageError(unboxed(boxed.getvalue())) from None
    return name, recipe


def unboxed(message: str) -> str:
    """Take the text out of the box that the command line parser draws: a log wants a line."""
    lines = [line.strip(" │╭╮╰╯─") for line in message.splitlines()]
    lines = [line for line in lines if line.strip("-")]
    # The first line is the title of the box, the last ones point to the help.
    text = " ".join(itertools.takewhile(lambda line: not line.startswith("For full"), lines[1:]))
    return re.sub(r"^Error parsing \S+: ", "", text) or message.strip()


# --- set-up ---------------------------------------------------------------------------------------


class TrainState(NamedTuple):
    """All that changes from step to step."""

    step: jax.Array
    variables: Variables
    optimiser: optax.OptState
    average: Variables | None


def keep_compiled_programs() -> None:
    """Compile each step once a machine, not once a run."""
    if getattr(jax.config, "jax_compilation_cache_dir", None) is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lejepa-jax"
        jax.config.update("jax_compilation_cache_dir", str(cache))


def choose_devices(recipe: Recipe) -> jax.sharding.Mesh:
    """Make the mesh; on a CPU, make as many devices as were asked for."""
    wanted = recipe.devices
    forced = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if wanted is not None and not forced:
        with contextlib.suppress(RuntimeError):  # the devices are there already
            jax.config.update("jax_num_cpu_devices", wanted)
    available = jax.devices()
    wanted = len(available) if wanted is None else wanted
    if wanted > len(available):
        raise UsageError(f"devices must be at most {len(available)} here, got {wanted}")
    if recipe.global_batch % wanted:
        raise UsageError(
            f"global_batch must be divisible by the {wanted} devices, got {recipe.global_batch}"
        )
    return jax.make_mesh(
        (wanted,), (AXIS,), axis_types=(AxisType.Auto,), devices=available[:wanted]
    )


def count_microbatches(recipe: Recipe, mesh: jax.sharding.Mesh) -> int:
    """In how many parts a device encodes its share of a batch."""
    share = recipe.global_batch // mesh.size
    part = recipe.microbatch or share
    if share % part:
        raise UsageError(
            f"microbatch must divide the {share} examples of a device, got {recipe.microbatch}"
        )
    return share // part


def load_data(recipe: Recipe) -> Splits:
    """Load the data set."""
    splits = recipe.task.load(
        recipe.data,
        data_dir=recipe.data_dir,
        holdout=recipe.holdout,
        max_bad_records=recipe.max_bad_records,
    )
    if len(splits.train) < recipe.global_batch:
        raise UsageError(
            f"global_batch must not exceed the {len(splits.train)} training examples, "
            f"got {recipe.global_batch}"
        )
    return splits


def learning_rates(recipe: Recipe) -> optax.Schedule:
    """Linear warm-up, then half a cosine."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=recipe.learning_rate,
        warmup_steps=recipe.warmup_steps,
        decay_steps=recipe.steps,
        end_value=recipe.learning_rate * recipe.final_learning_rate,
    )


def make_optimiser(recipe: Recipe) -> optax.GradientTransformation:
    """AdamW whose weight decay leaves biases, norms, positions and tokens alone."""

    def kernels(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: getattr(path[-1], "key", None) == "kernel", params
        )

    adamw = optax.adamw(
        learning_rates(recipe),
        b2=recipe.adam_b2,
        weight_decay=recipe.weight_decay,
        mask=kernels,
    )
    if recipe.clip_norm is None:
        return adamw
    return optax.chain(optax.clip_by_global_norm(recipe.clip_norm), adamw)


def initial_state(
    recipe: Recipe, task: Task, optimiser: optax.GradientTransformation, key: PRNGKeyArray
) -> TrainState:
    """Make the state of step 0."""
    variables = task.init(key)
    average = None if recipe.average_decay is None else jax.tree.map(jnp.copy, variables)
    return TrainState(jnp.int32(0), variables, optimiser.init(variables.params), average)


# --- step -----------------------------------------------------------------------------------------


def make_step(
    recipe: Recipe,
    task: Task,
    optimiser: optax.GradientTransformation,
    key: PRNGKeyArray,
    num_microbatches: int,
    axis_name: str | None,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """Make what one device does in one step; no branch on how it is run but the last reduction."""

    def step(train: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        variables, step_key = train.variables, jax.random.fold_in(key, train.step)

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
            (value, (encoder_state, loss_state, metrics)), gradient = value_and_grad(
                variables.params
            )
        else:
            result = microbatched_value_and_grad(
                encode,
                loss,
                num_microbatches=num_microbatches,
                loss_has_aux=True,
                encoder_has_aux=True,
            )(variables.params, batch)
            value, gradient, (loss_state, metrics) = result[:3]
            encoder_state = jax.tree.map(lambda x: x.mean(0), result.encoder_aux)
        state = {**variables.state, **encoder_state, **loss_state}
        if axis_name is not None:
            # The loss is a mean over the global batch already. Under pmap each device holds the
            # gradient of its own share, times the number of devices; under shard_map all hold the
            # whole gradient. The mean is right for both.
            gradient = jax.lax.pmean(gradient, axis_name)
        updates, optimiser_state = optimiser.update(gradient, train.optimiser, variables.params)
        variables = Variables(optax.apply_updates(variables.params, updates), state)
        average = train.average
        if average is not None and recipe.average_decay is not None:
            # Young averages forget faster, or the initial weights would linger.
            decay = jnp.minimum(recipe.average_decay, (1.0 + train.step) / (10.0 + train.step))
            average = jax.tree.map(lambda a, v: decay * a + (1 - decay) * v, average, variables)
        metrics = {
            "loss": value,
            **metrics,
            "gradient_norm": optax.tree.norm(gradient),
            "learning_rate": learning_rates(recipe)(train.step),
        }
        return TrainState(train.step + 1, variables, optimiser_state, average), metrics

    return step


class Spread(NamedTuple):
    """A step spread over devices, and how to put batches and the state there."""

    step: Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]
    place: Callable[[Mapping[str, np.ndarray]], Batch]
    place_to_evaluate: Callable[[Mapping[str, np.ndarray]], Batch]
    replicated: NamedSharding


def spread_step(recipe: Recipe, mesh: jax.sharding.Mesh, make: Callable[..., Any]) -> Spread:
    """Run the per-device step under shard_map, pmap, or as one program the compiler divides."""
    rows, everywhere = NamedSharding(mesh, P(AXIS)), NamedSharding(mesh, P())

    def place(batch: Mapping[str, np.ndarray]) -> Batch:
        return {
            name: jax.make_array_from_process_local_data(rows, np.asarray(array))
            for name, array in batch.items()
        }

    def place_to_evaluate(batch: Mapping[str, np.ndarray]) -> Batch:
        # The last rows of a data set need not divide among the devices: they go to each.
        whole = len(next(iter(batch.values()))) % mesh.size == 0
        return place(batch) if whole else jax.device_put(dict(batch), everywhere)

    if recipe.strategy == "shard_map":
        mapped = jax.shard_map(
            make(axis_name=AXIS), mesh=mesh, in_specs=(P(), P(AXIS)), out_specs=P()
        )
        return Spread(jax.jit(mapped, donate_argnums=0), place, place_to_evaluate, everywhere)
    if recipe.strategy == "jit":
        step = jax.jit(
            make(axis_name=None),
            in_shardings=(everywhere, rows),
            out_shardings=everywhere,
            donate_argnums=0,
        )
        return Spread(step, place, place_to_evaluate, everywhere)

    mapped = jax.pmap(
        make(axis_name=AXIS),
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=None,
        devices=list(mesh.devices.flat),
    )

    def split(batch: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
        return {k: np.reshape(v, (mesh.size, -1, *np.shape(v)[1:])) for k, v in batch.items()}

    return Spread(mapped, split, place_to_evaluate, everywhere)


# --- the run's folder -----------------------------------------------------------------------------


class Metrics:
    """Rows of numbers, in `metrics.jsonl` and for TensorBoard."""

    def __init__(self, workdir: Path, first_step: int):
        from tensorboardX import SummaryWriter

        self.path = workdir / "metrics.jsonl"
        # Steps after the checkpoint are about to be made, and written, again.
        kept = [row for row in self.rows() if row["step"] <= first_step]
        replacement = self.path.with_suffix(".new")
        replacement.write_text("".join(json.dumps(row) + "\n" for row in kept))
        replacement.replace(self.path)
        self.file = self.path.open("a", buffering=1)
        self.board = SummaryWriter(str(workdir / "tensorboard"), purge_step=first_step)

    def rows(self) -> list[dict[str, float]]:
        """Read all rows; the last line may be torn if the machine died."""
        rows = []
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                with contextlib.suppress(json.JSONDecodeError):
                    rows.append(json.loads(line))
        return rows

    def write(self, row: dict[str, float]) -> None:
        """Add a row."""
        self.file.write(json.dumps(row) + "\n")
        for name, value in row.items():
            if name != "step":
                self.board.add_scalar(name, value, int(row["step"]))

    def close(self) -> None:
        """Flush and close both."""
        self.file.close()
        self.board.close()


class Checkpoints:
    """State, position in the data and configuration of a run: the newest 3 and the best.

    The best is the one with the lowest mean loss since the checkpoint before it.
    """

    def __init__(self, workdir: Path):
        keep = ocp.checkpoint_managers
        self.manager = ocp.CheckpointManager(
            (workdir / "checkpoints").absolute(),
            options=ocp.CheckpointManagerOptions(
                # Without best_fn the metrics, by which BestN chooses, would not be written.
                best_fn=_mean_loss,
                best_mode="min",
                preservation_policy=keep.AnyPreservationPolicy(
                    [
                        keep.LatestN(3),
                        keep.BestN(get_metric_fn=_mean_loss, reverse=True, n=1),
                    ]
                ),
            ),
        )

    def newest(self) -> int | None:
        """Step of the newest checkpoint."""
        return self.manager.latest_step()

    def save(self, state: TrainState, data: Any, config: dict[str, Any], loss: float) -> None:
        """Write in the background; the state may be donated to the next step at once."""
        step = int(state.step)
        if step in self.manager.all_steps():
            return
        self.manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state._asdict()),
                data=ocp.args.JsonSave(data),
                config=ocp.args.JsonSave(config),
            ),
            metrics={"loss": loss},
        )

    def configuration(self, step: int) -> dict[str, Any]:
        """Read the configuration a checkpoint was made with."""
        return self.manager.restore(step, args=ocp.args.Composite(config=ocp.args.JsonRestore()))[
            "config"
        ]

    def restore(self, step: int, like: TrainState) -> tuple[TrainState, Any]:
        """Read the state, onto the devices of `like`, and the position in the data."""
        restored = self.manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(like._asdict()), data=ocp.args.JsonRestore()
            ),
        )
        return TrainState(**restored["state"]), restored["data"]

    def close(self) -> None:
        """Wait until everything is on disk."""
        self.manager.wait_until_finished()
        self.manager.close()


def _mean_loss(metrics: Mapping[str, float]) -> float:
    return metrics["loss"]


def differences(old: Any, new: Any, harmless: set[str], path: str = "") -> Iterator[str]:
    """Name what two configurations do not share, harmless fields left out."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            inner = f"{path}.{name}".lstrip(".")
            if inner not in harmless:
                yield from differences(old.get(name), new.get(name), harmless, inner)
    elif old != new:
        yield f"{path} was {old}, is {new}"


def about(name: str, recipe: Recipe, command: str) -> dict[str, Any]:
    """Describe the run, for a person who finds its folder."""
    packages = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
    return {
        "recipe": name,
        "command": command,
        "config": describe(recipe),
        "versions": {
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in packages},
        },
        "devices": [device.device_kind for device in jax.devices()],
        "machine": {"system": platform.platform(), "cpus": os.cpu_count()},
    }


# --- loop -----------------------------------------------------------------------------------------


class NonFiniteLossError(RuntimeError):
    """The loss is no number any more."""


class Stop:
    """Set by the first SIGTERM or Ctrl-C; the second ends the process at once."""

    def __init__(self):
        self.signal: int | None = None

    def __enter__(self) -> "Stop":
        self._before = {s: signal.signal(s, self._ask) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _ask(self, number: int, frame: Any) -> None:
        self.signal = number
        signal.signal(number, signal.SIG_DFL)

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Progress:
    """A live line in a terminal, plain lines in a file."""

    def __init__(self, console: rich.console.Console, first_step: int, steps: int):
        self.console = console
        self.steps = steps
        self.warned: set[str] = set()
        self.bar = None
        if console.is_terminal:
            columns = rich.progress
            self.bar = columns.Progress(
                columns.TextColumn("{task.completed}/{task.total}"),
                columns.BarColumn(bar_width=20),
                columns.TextColumn("{task.description}"),
                columns.TextColumn("left"),
                columns.TimeRemainingColumn(),
                console=console,
            )
            self.line = self.bar.add_task("compiling", total=steps, completed=first_step)

    def __enter__(self) -> "Progress":
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def warn(self, about: str, text: str) -> None:
        """Print a warning, the first time that it is about this."""
        if about not in self.warned:
            self.warned.add(about)
            self.console.print(f"warning: {text}", highlight=False)

    def show(self, row: dict[str, float]) -> None:
        """Show the newest row of metrics."""
        shown = {
            "loss": row["loss"],
            "prediction": row.get("prediction"),
            "sigreg": row.get("sigreg"),
        }
        text = "  ".join(
            f"{name} {value:.4f}" for name, value in shown.items() if value is not None
        )
        speed = row["images_per_second"]
        text += f"  {speed:,.0f} images/s"
        if self.bar is not None:
            self.bar.update(self.line, completed=int(row["step"]), description=text)
            return
        left = (self.steps - row["step"]) * row["seconds_per_step"]
        self.console.print(
            f"step {int(row['step'])}/{self.steps}  {text}  {left:.0f} s left", highlight=False
        )


def fit(
    recipe: Recipe,
    config: dict[str, Any],
    state: TrainState,
    spread: Spread,
    data: Any,
    metrics: Metrics,
    checkpoints: Checkpoints,
    progress: Progress,
    stop: Stop,
) -> TrainState:
    """Train from the step of `state` to the last, or until asked to stop."""
    pending: collections.deque[tuple[int, dict[str, jax.Array]]] = collections.deque()
    losses: list[float] = []
    last: dict[str, float] = {}
    since, since_step, waited = time.perf_counter(), int(state.step), 0.0

    def settle(keep: int) -> None:
        """Look at finished steps, all but the newest `keep`, so that the devices never wait."""
        nonlocal last, since, since_step, waited
        while len(pending) > keep:
            step, values = pending.popleft()
            row = {name: float(value) for name, value in values.items()}
            if not math.isfinite(row["loss"]):
                newest = checkpoints.newest()
                back = "there is no checkpoint yet" if newest is None else f"step {newest} is kept"
                raise NonFiniteLossError(
                    f"the loss is {row['loss']} at step {step}; last finite metrics: "
                    f"{json.dumps(last) if last else 'none'}; {back}"
                )
            losses.append(row["loss"])
            last = {"step": step, **row}
            if step % recipe.log_every == 0 or step == recipe.steps:
                seconds = time.perf_counter() - since
                done = max(step - since_step, 1)
                last |= {
                    "images_per_second": recipe.global_batch * done / seconds,
                    "seconds_per_step": seconds / done,
                    "data_wait": waited / seconds,
                }
                since, since_step, waited = time.perf_counter(), step, 0.0
                metrics.write(last)
                progress.show(last)
                if step > recipe.warmup_steps and last.get("embedding_std", 1) < COLLAPSED:
                    progress.warn(
                        "collapsed",
                        f"embeddings collapse: at step {step} their standard deviation falls to "
                        f"{last['embedding_std']:.2g}, where SIGReg has almost no gradient; raise "
                        "--task.trade-off or lower --learning-rate",
                    )

    def save(state: TrainState) -> None:
        settle(keep=0)  # so that nothing non-finite is ever saved
        mean_loss = sum(losses) / max(len(losses), 1)
        checkpoints.save(state, data.get_state(), config, mean_loss)
        losses.clear()

    # The order matters: the state of step s and the position in the data after s batches are saved
    # together, before the iterator moves on.
    for step in range(int(state.step) + 1, recipe.steps + 1):
        asked = time.perf_counter()
        batch = spread.place(next(data))
        waited += time.perf_counter() - asked
        state, values = spread.step(state, batch)
        pending.append((step, values))
        settle(keep=2)
        if stop.signal is not None or step % recipe.checkpoint_every == 0 or step == recipe.steps:
            save(state)
        if stop.signal is not None:
            break
    settle(keep=0)
    return state


def main(arguments: list[str]) -> int:
    """Run the program; returns its exit code."""
    console = rich.console.Console(soft_wrap=True)
    command = shlex.join(["python", "train.py", *arguments])
    try:
        name, recipe = parse(arguments)
        keep_compiled_programs()
        mesh = choose_devices(recipe)
        num_microbatches = count_microbatches(recipe, mesh)
        splits = load_data(recipe)
        axis_name = None if recipe.strategy == "jit" else AXIS
        task = recipe.task.build(splits, dtype=jnp.dtype(recipe.precision), axis_name=axis_name)
        optimiser = make_optimiser(recipe)
        # One key for the weights, one for the steps, one for the probes.
        init_key, step_key, probe_key = jax.random.split(jax.random.key(recipe.seed), 3)
        spread = spread_step(
            recipe,
            mesh,
            functools.partial(make_step, recipe, task, optimiser, step_key, num_microbatches),
        )
        jax.eval_shape(functools.partial(initial_state, recipe, task, optimiser), init_key)
        workdir = Path(recipe.workdir or f"runs/{name}")
        workdir.mkdir(parents=True, exist_ok=True)
        checkpoints = Checkpoints(workdir)
        newest = checkpoints.newest()
        if newest is not None:
            evaluation_only = getattr(recipe.task, "evaluation_only", ())
            harmless = HARMLESS | {f"task.{field}" for field in evaluation_only}
            old = checkpoints.configuration(newest)
            found = list(differences(old, describe(recipe), harmless))
            if found:
                raise UsageError(
                    f"{workdir} holds a run with another configuration ({'; '.join(found)}); "
                    "choose another --workdir"
                )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2

    # Resume. The order matters: make the state, so that its shapes and places are known; read the
    # checkpoint into it; move the data to the batch after the last one that was used.
    init = jax.jit(
        functools.partial(initial_state, recipe, task, optimiser), out_shardings=spread.replicated
    )
    state = init(init_key)
    untrained = jax.tree.map(np.asarray, state.variables)
    data = batches(splits.train, batch_size=recipe.global_batch, seed=recipe.seed)
    if newest is not None:
        state, position = checkpoints.restore(newest, state)
        data.set_state(position)
    config = describe(recipe)
    (workdir / "run.json").write_text(json.dumps(about(name, recipe, command), indent=2))

    console.print(
        f"{name}: {len(splits.train):,} examples to train on, {len(splits.test):,} held out; "
        f"{mesh.size} {mesh.devices.flat[0].device_kind} device{'s' * (mesh.size > 1)}, "
        f"{recipe.strategy}, {recipe.precision}; "
        + (f"resuming at step {newest}" if newest is not None else f"{recipe.steps} steps")
        + f"; kept in {workdir}",
        highlight=False,
    )
    metrics = Metrics(workdir, int(state.step))
    try:
        with Stop() as stop, Progress(console, int(state.step), recipe.steps) as progress:
            state = fit(recipe, config, state, spread, data, metrics, checkpoints, progress, stop)
    except NonFiniteLossError as error:
        print(f"error: {error}; nothing was overwritten in {workdir}", file=sys.stderr)
        return 1
    finally:
        checkpoints.close()
        metrics.close()
    if stop.signal is not None and int(state.step) < recipe.steps:
        console.print(f"stopped and saved at step {int(state.step)}; resume with: {command}")
        return 0 if stop.signal == signal.SIGTERM else 128 + stop.signal
    for record in itertools.islice(splits.train.bad_records, 20):
        console.print(f"skipped {record.name}: {record.reason}")

    # Evaluate.
    if not recipe.evaluate:
        return 0
    variables = state.variables if state.average is None else state.average
    evaluation = task.evaluate(
        probe_key,
        variables,
        jax.device_put(Variables(*untrained), spread.replicated),
        splits,
        spread.place_to_evaluate,
    )
    (workdir / "results.json").write_text(json.dumps(evaluation.results, indent=2))
    report = evaluation.write_report(
        workdir / "report.html", f"LeJEPA on {splits.name}", config, metrics.rows()
    )
    console.print(evaluation.table)
    console.print(f"report: {report}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
