"""Train a recipe of `recipes/` on any number of devices: `python train.py RECIPE [--flags]`.

Read it from top to bottom: command line, set-up, step, loop, evaluation. Everything random is a
function of the seed and the step, so that a run that was stopped goes on as if it had not been:
the same command resumes it.
"""

import os
import sys

# The C library asks for huge pages only if it is told so before a process begins. Without them, a
# quarter of a step on a CPU is spent on getting memory: begin anew, as the same process, told so.
if __name__ == "__main__" and sys.platform == "linux":
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if "glibc.malloc.hugetlb" not in tunables:
        os.environ["GLIBC_TUNABLES"] = ":".join(
            [*filter(None, [tunables]), "glibc.malloc.hugetlb=1"]
        )
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

import collections
import contextlib
import functools
import io
import itertools
import json
import logging
import math
import re
import shlex
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import rich.console
import rich.progress
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PRNGKeyArray

from lejepa_jax.data.batches import batches
from lejepa_jax.data.splits import Splits
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.training.checkpoints import Checkpoints
from lejepa_jax.training.microbatch import microbatched_value_and_grad
from lejepa_jax.training.runs import (
    Metrics,
    about,
    differences,
    list_runs,
    read_metrics,
    runs_table,
)
from lejepa_jax.training.sharding import AXES, gather, make_mesh, parse_mesh, shardings
from lejepa_jax.training.task import Batch, Task, Variables
from recipes import Recipe, describe, recipes

DEFAULT_RECIPE = "digits"
# What may differ when a run is resumed: it changes where and how, not what is computed.
HARMLESS = (
    {"workdir", "data_dir", "devices", "mesh", "strategy"}
    | {"distributed", "coordinator", "num_processes", "process_id", "heartbeat_seconds"}
    | {"log_every", "checkpoint_every", "evaluate", "profile", "force"}
    | {"max_bad_records", "max_skipped_steps"}
)
# Below this standard deviation in some direction, after warm-up, embeddings have collapsed.
COLLAPSED = 0.1
# Steps of a trace begin here: compiled, and with the first log line behind them.
PROFILE_FROM = 10


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
        raise UsageError(
            f"unknown recipe {name!r}; there are {', '.join(found)} (and ls, to list runs)"
        )
    boxed = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed):
            recipe = tyro.extras.overridable_config_cli(
                found,
                args=arguments,
                prog="train.py",
                description="Train a recipe, on any number of devices. The same command resumes "
                f"a run that was stopped. Without a recipe: {DEFAULT_RECIPE}. `python train.py ls "
                "[FOLDER]` lists the runs below a folder, `show WORKDIR` tells all of one.",
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
    optimizer: optax.OptState
    average: Variables | None


def keep_compiled_programs() -> None:
    """Compile each step once a machine, not once a run."""
    if getattr(jax.config, "jax_compilation_cache_dir", None) is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lejepa-jax"
        jax.config.update("jax_compilation_cache_dir", str(cache))


def join(recipe: Recipe) -> None:
    """Find the other processes of the run, if there are to be any."""
    if recipe.devices is not None and "host_platform_device_count" not in os.environ.get(
        "XLA_FLAGS", ""
    ):
        # On a CPU, make as many devices as were asked for; nowhere else does this mean anything.
        with contextlib.suppress(RuntimeError):  # the devices are there already
            share = recipe.devices // (recipe.num_processes or 1)
            jax.config.update("jax_num_cpu_devices", max(share, 1))
    if recipe.distributed:
        try:
            jax.distributed.initialize(
                recipe.coordinator,
                recipe.num_processes,
                recipe.process_id,
                heartbeat_timeout_seconds=recipe.heartbeat_seconds,
            )
        except (ValueError, RuntimeError) as error:
            raise UsageError(
                "distributed needs a cluster that JAX knows, or --coordinator HOST:PORT, "
                f"--num-processes and --process-id: {' '.join(str(error).split())}"
            ) from None


def choose_devices(recipe: Recipe) -> jax.sharding.Mesh:
    """Make the mesh of the devices of all processes."""
    available = jax.devices()
    sizes = None if recipe.mesh is None else parse_mesh(recipe.mesh)
    wanted = recipe.devices or (math.prod(sizes.values()) if sizes else len(available))
    sizes = sizes or {"data": wanted, "fsdp": 1}
    if math.prod(sizes.values()) != wanted:
        raise UsageError(f"mesh must have {wanted} devices, got {recipe.mesh}")
    if wanted > len(available):
        raise UsageError(f"devices must be at most {len(available)} here, got {wanted}")
    if jax.process_count() > 1 and wanted != len(available):
        raise UsageError(
            f"devices must be all {len(available)} of the {jax.process_count()} processes, "
            f"got {wanted}"
        )
    if sizes["fsdp"] > 1 and recipe.strategy != "shard_map":
        raise UsageError(f"mesh with fsdp needs --strategy shard_map, got {recipe.strategy}")
    if recipe.global_batch_size % wanted:
        raise UsageError(
            f"global_batch_size must be divisible by the {wanted} devices, got {recipe.global_batch_size}"
        )
    return make_mesh(sizes, available[:wanted])


def count_microbatches(recipe: Recipe, mesh: jax.sharding.Mesh) -> int:
    """In how many parts a device encodes its share of a batch."""
    share = recipe.global_batch_size // mesh.size
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
    if len(splits.train) < recipe.global_batch_size:
        raise UsageError(
            f"global_batch_size must not exceed the {len(splits.train)} training examples, "
            f"got {recipe.global_batch_size}"
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


def make_optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """AdamW or SGD, whose weight decay leaves biases, norms, positions and tokens alone."""

    def kernels(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: getattr(path[-1], "key", None) == "kernel", params
        )

    rates, decay = learning_rates(recipe), recipe.weight_decay
    if recipe.optimizer == "adamw":
        optimizer = optax.adamw(rates, b2=recipe.adam_b2, weight_decay=decay, mask=kernels)
    else:
        optimizer = optax.chain(
            optax.add_decayed_weights(decay, kernels), optax.sgd(rates, recipe.momentum)
        )
    if recipe.clip_norm is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(recipe.clip_norm), optimizer)


def initial_state(
    recipe: Recipe, task: Task, optimizer: optax.GradientTransformation, key: PRNGKeyArray
) -> TrainState:
    """Make the state of step 0."""
    variables = task.init(key)
    average = None if recipe.average_decay is None else jax.tree.map(jnp.copy, variables)
    return TrainState(jnp.int32(0), variables, optimizer.init(variables.params), average)


# --- step -----------------------------------------------------------------------------------------


def make_gradient(
    recipe: Recipe,
    task: Task,
    key: PRNGKeyArray,
    num_microbatches: int = 1,
    axis_name: AxisName | None = None,
    gather: Callable[[Any], Any] = lambda params: params,
) -> Callable[..., tuple[jax.Array, Any, dict[str, Any], dict[str, jax.Array]]]:
    """Make what one device does with its share of a batch: the loss of all of it, and its slope."""

    def loss_and_gradient(variables: Variables, step: jax.Array, batch: Batch):
        step_key = jax.random.fold_in(key, step)
        # Divided parameters are put together once a step; what they get back is added up in parts.
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
            # added up by `scatter`.
            gradient = jax.lax.pmean(gradient, axis_name)
        return value, gradient, {**variables.state, **encoder_state, **loss_state}, metrics

    return loss_and_gradient


def make_step(
    recipe: Recipe, optimizer: optax.GradientTransformation, loss_and_gradient: Callable[..., Any]
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """Make the step: the gradient, and what follows from it."""

    def step(train: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        variables = train.variables
        value, gradient, state, metrics = loss_and_gradient(variables, train.step, batch)
        updates, optimizer_state = optimizer.update(gradient, train.optimizer, variables.params)
        # A step whose gradient is no number changes nothing but the count of steps.
        finite = jnp.array([jnp.isfinite(g).all() for g in jax.tree.leaves(gradient)])
        sound = finite.all() & jnp.isfinite(value)
        variables, optimizer_state = jax.tree.map(
            lambda new, old: jnp.where(sound, new, old),
            (Variables(optax.apply_updates(variables.params, updates), state), optimizer_state),
            (variables, train.optimizer),
        )
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
            "finite_gradients": finite,
        }
        return TrainState(train.step + 1, variables, optimizer_state, average), metrics

    return step


class Spread(NamedTuple):
    """A step spread over devices, and how to put batches and the state there."""

    step: Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]
    place: Callable[[Mapping[str, np.ndarray]], Batch]
    place_to_evaluate: Callable[[Mapping[str, np.ndarray]], Batch]
    state: Any  # a sharding for each array of the state


def axis_name_of(recipe: Recipe) -> AxisName | None:
    """Name the mapped axes that a batch is spread over; None where the compiler spreads it."""
    return {"shard_map": AXES, "pmap": AXES[0], "jit": None}[recipe.strategy]


def spread_step(
    recipe: Recipe,
    mesh: jax.sharding.Mesh,
    task: Task,
    optimizer: optax.GradientTransformation,
    key: PRNGKeyArray,
    like: TrainState,
    num_microbatches: int = 1,
) -> Spread:
    """Run the step under shard_map, pmap, or as one program the compiler divides."""
    rows, everywhere = NamedSharding(mesh, P(AXES)), NamedSharding(mesh, P())
    where = shardings(like, mesh)
    axis_name = axis_name_of(recipe)
    make = functools.partial(make_gradient, recipe, task, key, num_microbatches, axis_name)

    def place(batch: Mapping[str, np.ndarray]) -> Batch:
        return {
            name: jax.make_array_from_process_local_data(rows, np.asarray(array))
            for name, array in batch.items()
        }

    def place_to_evaluate(batch: Mapping[str, np.ndarray]) -> Batch:
        # Every process has the whole batch. The last rows of a data set need not divide among the
        # devices: they go to each.
        whole = len(next(iter(batch.values()))) % mesh.size == 0
        return {
            name: jax.make_array_from_callback(
                np.shape(array), rows if whole else everywhere, np.asarray(array).__getitem__
            )
            for name, array in batch.items()
        }

    if recipe.strategy != "pmap":
        loss_and_gradient = make()  # of the whole batch, if the compiler divides it
        if recipe.strategy == "shard_map":
            specs = jax.tree.map(lambda sharding: sharding.spec, where.variables)
            loss_and_gradient = jax.shard_map(
                make(gather=functools.partial(gather, specs=specs.params)),
                mesh=mesh,
                in_specs=(specs, P(), P(AXES)),
                out_specs=(P(), specs.params, specs.state, P()),
            )
        step = jax.jit(
            make_step(recipe, optimizer, loss_and_gradient),
            in_shardings=(where, rows),
            out_shardings=(where, everywhere),
            donate_argnums=0,
        )
        return Spread(step, place, place_to_evaluate, where)

    mapped = jax.pmap(
        make_step(recipe, optimizer, make()),
        axis_name=axis_name,
        in_axes=(None, 0),
        out_axes=None,
        devices=list(mesh.devices.flat),
    )

    def split(batch: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
        return {k: np.reshape(v, (mesh.size, -1, *np.shape(v)[1:])) for k, v in batch.items()}

    return Spread(mapped, split, place_to_evaluate, where)


# --- loop -----------------------------------------------------------------------------------------


class NonFiniteLossError(RuntimeError):
    """The loss is no number any more."""


class Stop:
    """Set by the first SIGTERM or Ctrl-C; the second ends the process at once.

    With several processes JAX listens for SIGTERM itself, and they agree on the step to stop at.
    """

    def __init__(self):
        self.signal: int | None = None

    def __enter__(self) -> "Stop":
        listened = {signal.SIGINT}
        if jax.process_count() == 1:
            listened.add(signal.SIGTERM)
        self._before = {s: signal.signal(s, self._ask) for s in listened}
        return self

    def _ask(self, number: int, frame: Any) -> None:
        self.signal = number
        signal.signal(number, signal.SIG_DFL)

    def asked(self, step: int) -> bool:
        """Whether to stop after this step; the same answer in all processes."""
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            self.signal = signal.SIGTERM
        return self.signal is not None

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Progress:
    """A live line in a terminal, plain lines in a file."""

    def __init__(self, console: rich.console.Console, steps: int):
        self.console = console
        self.steps = steps
        self.warned: set[str | None] = set()
        self.bar = None

    @contextlib.contextmanager
    def live(self, first_step: int):
        """Show a line that moves, if there is a terminal; errors of threads get a line, too."""

        def warn_of_thread(failed: threading.ExceptHookArgs) -> None:
            name = failed.thread.name if failed.thread else "a thread"
            self.warn(f"{name} ended: {failed.exc_value}", once=name)

        before, threading.excepthook = threading.excepthook, warn_of_thread
        try:
            with self._bar(first_step):
                yield
        finally:
            threading.excepthook = before

    @contextlib.contextmanager
    def _bar(self, first_step: int):
        if not self.console.is_terminal:
            yield
            return
        columns = rich.progress
        self.bar = columns.Progress(
            columns.TextColumn("{task.completed}/{task.total}"),
            columns.BarColumn(bar_width=20),
            columns.TextColumn("{task.description}"),
            columns.TextColumn("left"),
            columns.TimeRemainingColumn(),
            console=self.console,
        )
        self.line = self.bar.add_task("compiling", total=self.steps, completed=first_step)
        with self.bar:
            yield

    def warn(self, text: str, once: str | None = None) -> None:
        """Print a warning; with a subject, the first one about it alone."""
        if once is None or once not in self.warned:
            self.warned.add(once)
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
    workdir: Path,
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
    paths = jax.tree_util.tree_leaves_with_path(state.variables.params)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths]
    losses: list[float] = []
    last: dict[str, float] = {}
    skipped, in_a_row = 0, 0
    first_step = int(state.step)
    since, since_step, waited = time.perf_counter(), first_step, 0.0
    compiled: float | None = None

    def settle(keep: int) -> None:
        """Look at finished steps, all but the newest `keep`, so that the devices never wait."""
        nonlocal last, since, since_step, waited, skipped, in_a_row
        while len(pending) > keep:
            step, values = pending.popleft()
            finite = np.asarray(values.pop("finite_gradients"))
            row = {name: float(value) for name, value in values.items()}
            if math.isfinite(row["loss"]) and finite.all():
                in_a_row = 0
                losses.append(row["loss"])
                last = {"step": step, **row}
            else:
                skipped, in_a_row = skipped + 1, in_a_row + 1
                what = diagnose(row, finite, names)
                progress.warn(f"step {step} is skipped: {what}", once="skipped")
                if in_a_row > recipe.max_skipped_steps:
                    newest = checkpoints.newest()
                    back = (
                        "there is no checkpoint yet" if newest is None else f"step {newest} is kept"
                    )
                    raise NonFiniteLossError(
                        f"{what} at step {step}, the last of {in_a_row} steps without a finite "
                        f"gradient; last finite metrics: {json.dumps(last) if last else 'none'}; "
                        f"{back}"
                    )
            if last and (step % recipe.log_every == 0 or step == recipe.steps):
                seconds = time.perf_counter() - since
                done = max(step - since_step, 1)
                row = last | {
                    "step": step,
                    "images_per_second": recipe.global_batch_size * done / seconds,
                    "seconds_per_step": seconds / done,
                    "data_wait": waited / seconds,
                    "skipped_steps": skipped,
                    "compile_seconds": compiled or 0.0,
                    **device_bytes(),
                }
                since, since_step, waited = time.perf_counter(), step, 0.0
                metrics.write(row)
                progress.show(row)
                if step > recipe.warmup_steps and row.get("embedding_std", 1) < COLLAPSED:
                    progress.warn(
                        f"embeddings collapse: at step {step} their standard deviation falls to "
                        f"{row['embedding_std']:.2g}, where SIGReg has almost no gradient; raise "
                        "--task.trade-off or lower --learning-rate",
                        once="collapsed",
                    )

    def save(step: int, state: TrainState) -> None:
        settle(keep=0)  # so that nothing non-finite is ever saved
        mean_loss = sum(losses) / max(len(losses), 1)
        checkpoints.save(step, state._asdict(), data.get_state(), config, loss=mean_loss)
        losses.clear()

    # The order matters: the state of step s and the position in the data after s batches are saved
    # together, before the iterator moves on.
    for step in range(first_step + 1, recipe.steps + 1):
        if recipe.profile and step == first_step + PROFILE_FROM:
            jax.profiler.start_trace(str(workdir / "profile"))
        asked = time.perf_counter()
        batch = spread.place(next(data))
        waited += time.perf_counter() - asked
        asked = time.perf_counter()
        state, values = spread.step(state, batch)
        if compiled is None:  # the call returns once the program is there, before it has run
            compiled = time.perf_counter() - asked
        pending.append((step, values))
        settle(keep=2)
        if recipe.profile and step == first_step + PROFILE_FROM + recipe.profile - 1:
            jax.block_until_ready(values)
            jax.profiler.stop_trace()
        stopping = stop.asked(step)
        if stopping or step % recipe.checkpoint_every == 0 or step == recipe.steps:
            save(step, state)
        if stopping:
            break
    settle(keep=0)
    return state


def diagnose(row: Mapping[str, float], finite: np.ndarray, names: list[str]) -> str:
    """Say which terms and which layers are no numbers."""
    terms = [f"{name} is {value}" for name, value in row.items() if not math.isfinite(value)]
    terms = [term for term in terms if not term.startswith("gradient_norm")]
    bad = [name for name, good in zip(names, finite, strict=True) if not good]
    where = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
    layers = f"no finite gradient in {len(bad)} of {len(names)} arrays" + (
        f" ({where})" if bad else ""
    )
    return "; ".join([*sorted(terms, key=lambda t: not t.startswith("loss")), layers])


def device_bytes() -> dict[str, float]:
    """Most memory a device has had in use, where devices say."""
    stats = jax.local_devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    return {} if peak is None else {"device_bytes": float(peak)}


def resumable(recipe: Recipe, workdir: Path, checkpoints: Checkpoints) -> None:
    """Refuse to go on with a run of another configuration."""
    old = checkpoints.configuration()
    if old is None:
        return
    evaluation_only = getattr(recipe.task, "evaluation_only", ())
    harmless = HARMLESS | {f"task.{field}" for field in evaluation_only}
    found = list(differences(old, describe(recipe), harmless))
    if found and not recipe.force:
        raise UsageError(
            f"{workdir} holds a run with another configuration ({'; '.join(found)}); "
            "choose another --workdir, or --force to go on with this one"
        )


def look(arguments: list[str]) -> int:
    """`ls [FOLDER]` and `show WORKDIR`: what runs there are, and all about one."""
    console = rich.console.Console(soft_wrap=True)
    command, *rest = arguments
    folder = Path(rest[0]) if rest else Path("runs")
    if len(rest) > 1 or (command == "show" and not rest) or not folder.is_dir():
        raise UsageError(f"{command} wants a folder that exists, got {' '.join(rest) or folder}")
    runs = list_runs(folder)
    if not runs:
        raise UsageError(f"{folder} holds no runs")
    if command == "ls":
        console.print(runs_table(runs))
        return 0
    for run in runs:
        console.print(runs_table([run]))
        console.print_json(data={**run.about, "results": run.results})
    return 0


def main(arguments: list[str]) -> int:
    """Run the program; returns its exit code."""
    console = rich.console.Console(soft_wrap=True)
    command = shlex.join(["python", "train.py", *arguments])
    # Orbax logs the trace of a failed write; it is reported in a line where it is caught.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    try:
        if arguments[:1] in (["ls"], ["show"]):
            return look(arguments)
        name, recipe = parse(arguments)
        keep_compiled_programs()
        join(recipe)
        first = jax.process_index() == 0
        if not first:
            console = rich.console.Console(quiet=True)
        mesh = choose_devices(recipe)
        num_microbatches = count_microbatches(recipe, mesh)
        splits = load_data(recipe)
        task = recipe.task.build(
            splits, dtype=jnp.dtype(recipe.precision), axis_name=axis_name_of(recipe)
        )
        optimizer = make_optimizer(recipe)
        # One key for the weights, one for the steps, one for the probes.
        init_key, step_key, probe_key = jax.random.split(jax.random.key(recipe.seed), 3)
        make_state = functools.partial(initial_state, recipe, task, optimizer)
        like = jax.eval_shape(make_state, init_key)
        spread = spread_step(recipe, mesh, task, optimizer, step_key, like, num_microbatches)
        workdir = Path(recipe.workdir or f"runs/{name}")
        workdir.mkdir(parents=True, exist_ok=True)
        progress = Progress(console, recipe.steps)
        checkpoints = Checkpoints(workdir, progress.warn)
        resumable(recipe, workdir, checkpoints)

        # Resume. The order matters: make the state, so that its shapes and places are known; read
        # the checkpoint into it; move the data to the batch after the last one that was used.
        init = jax.jit(make_state, out_shardings=spread.state)
        state = init(init_key)
        data = batches(
            splits.train,
            batch_size=recipe.global_batch_size,
            seed=recipe.seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        restored = checkpoints.restore(state._asdict())
        if restored is not None:
            state = TrainState(**restored[0])
            data.set_state(restored[1])
        first_step = int(state.step)
        config = describe(recipe)
        if first:
            told = json.dumps(about(name, command, config, recipe.steps), indent=2)
            (workdir / "run.json").write_text(told)
        metrics = Metrics(workdir if first else None, first_step, progress.warn)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2

    processes = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    console.print(
        f"{name}: {len(splits.train):,} examples to train on, {len(splits.test):,} held out; "
        f"{mesh.size} {mesh.devices.flat[0].device_kind} device{'s' * (mesh.size > 1)}{processes}, "
        f"{recipe.strategy}, {recipe.precision}; "
        + (f"resuming at step {first_step}" if restored else f"{recipe.steps} steps")
        + f"; kept in {workdir}",
        highlight=False,
    )
    try:
        with Stop() as stop, progress.live(first_step):
            state = fit(
                recipe,
                config,
                workdir,
                state,
                spread,
                data,
                metrics,
                checkpoints,
                progress,
                stop,
            )
    except NonFiniteLossError as error:
        print(f"error: {error}; nothing was overwritten in {workdir}", file=sys.stderr)
        return 1
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        # Leaving, JAX waits for the others and says whose heartbeat has stopped.
        print(
            f"error: process {jax.process_index()} lost another one "
            f"({str(error).splitlines()[0]}); JAX names it below. Start all again with the same "
            "command",
            file=sys.stderr,
            flush=True,
        )
        return 1
    finally:
        written = checkpoints.close()
        metrics.close()
    if stop.signal is not None and int(state.step) < recipe.steps:
        if not written:
            return 1
        console.print(f"stopped and saved at step {int(state.step)}; resume with: {command}")
        return 0 if stop.signal == signal.SIGTERM else 128 + stop.signal
    for record in itertools.islice(splits.train.bad_records, 20):
        console.print(f"skipped {record.name}: {record.reason}")

    # Evaluate. The untrained variables are made once more: keeping them would cost their memory.
    if not recipe.evaluate:
        return 0 if written else 1
    variables = state.variables if state.average is None else state.average
    evaluation = task.evaluate(
        probe_key, variables, init(init_key).variables, splits, spread.place_to_evaluate
    )
    if first:
        (workdir / "results.json").write_text(json.dumps(evaluation.results, indent=2))
        report = evaluation.write_report(
            workdir / "report.html", f"{name} on {splits.name}", config, read_metrics(workdir)
        )
        console.print(evaluation.table)
        console.print(f"report: {report}", highlight=False)
    return 0 if written else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
