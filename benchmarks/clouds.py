"""Networks on clouds of real shapes: which one, which spectrum, which options, how many labels.

    python -m benchmarks.clouds classification --data-dir FOLDER    # sized for one CPU core
    python -m benchmarks.clouds options --data-dir FOLDER
    python -m benchmarks.clouds parts --data-dir FOLDER
    python -m benchmarks.clouds few-shot --data-dir FOLDER
    python -m benchmarks.clouds options --table                     # of what was measured so far

FOLDER holds `shapes69.npz` (69 classes) and, for `parts`, `psb_parts.npz`; the arrays are those of
`npz:PATH` in `pointcloud_jax.data.load`. Each run appends a line to a file of results, and those
that are there are not run again: a run that was stopped goes on, and a table can be made at any
time. All networks have the same budget, schedule and batches; `options` shares its file, and the
runs that both name, with `classification`.

Training rotates clouds about the third axis (z) or in any way (SO(3)); each network is tested under
both, twice. The collections of the shapes disagree about which axis is up.
"""

import argparse
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

import train
from lejepa_jax.augment import example_keys
from lejepa_jax.data import Splits, batches
from lejepa_jax.evaluation import linear_accuracy
from lejepa_jax.evaluation.results import run_evaluators
from lejepa_jax.training.networks import Variables
from lejepa_jax.training.step import make_gradient, make_step
from lejepa_jax.training.task import Task, TaskConfig
from pointcloud_jax import (
    DGCNN,
    PAPER,
    VNDGCNN,
    DiPVNet,
    DiPVNetParts,
    DirectionOptions,
    debye_spectrum,
    degree_spectrum,
    tiny_config,
)
from pointcloud_jax.augment import PointViewSpec
from pointcloud_jax.geometry import rotations
from pointcloud_jax.tasks import ClassificationConfig, CloudPretrainingConfig, SegmentationConfig
from recipes import Recipe, lejepa_shapes

Network = Callable[..., Any]
Row = dict[str, Any]

_UP = (0.0, 0.0, 1.0)
_PROTOCOLS = {"z": "axis", "SO(3)": "so3"}


def dipvnet(encoder: Network = DiPVNet, **changed: Any) -> Network:
    """The smallest DiPVNet with some of the default options changed."""
    return functools.partial(encoder, config=tiny_config(DirectionOptions(**changed)))


DGCNN = functools.partial(DGCNN, widths=(32, 64), embedding=256, k=8)
VN_DGCNN = functools.partial(VNDGCNN, widths=(8, 16), embedding=32, k=8)

CLASSIFIERS: Mapping[str, Network] = {
    "DGCNN": DGCNN,
    "VN-DGCNN": VN_DGCNN,
    "DiPVNet": dipvnet(),
    "DiPVNet, aggregation=projection": dipvnet(aggregation="projection"),
    "DiPVNet, aggregation=statistics": dipvnet(aggregation="statistics"),
    "DiPVNet, spectrum=dasft, rule=fibonacci-36": dipvnet(spectrum="dasft", rule="fibonacci-36"),
    "DiPVNet, spectrum=dasft, rule=design-36": dipvnet(spectrum="dasft", rule="design-36"),
    "DiPVNet, spectrum=dasft, rule=icosahedral-16": dipvnet(
        spectrum="dasft", rule="icosahedral-16"
    ),
    "DiPVNet, spectrum=dasft, rule=lebedev-15": dipvnet(spectrum="dasft", rule="lebedev-15"),
}
# Each option back to the published choice, the others left as they are by default.
OPTIONS: Mapping[str, Network] = {
    "DiPVNet": dipvnet(),
    "DiPVNet, aggregation=projection": dipvnet(aggregation="projection"),
    "DiPVNet, separate=False": dipvnet(separate=False),
    "DiPVNet, pool=max": dipvnet(pool="max"),
    "DiPVNet, exclude_self=False": dipvnet(exclude_self=False),
    "DiPVNet, center=False": dipvnet(center=False),
    "DiPVNet, spectrum=dasft, rule=fibonacci-36": dipvnet(spectrum="dasft", rule="fibonacci-36"),
    "DiPVNet, normalize_radius=False": dipvnet(normalize_radius=False),
    "DiPVNet, log_spectrum=False": dipvnet(log_spectrum=False),
    "DiPVNet, frequency_embedding=False": dipvnet(frequency_embedding=False),
    "DiPVNet, PAPER": functools.partial(DiPVNet, config=tiny_config(PAPER)),
    "DiPVNet, chirality=True": dipvnet(chirality=True),
}
SEGMENTERS: Mapping[str, Network] = {
    "DGCNN": DGCNN,
    "VN-DGCNN": VN_DGCNN,
    "DiPVNet": dipvnet(DiPVNetParts),
}
# One that learns what turning is from its views, and two that need not.
ENCODERS: Mapping[str, Network] = {
    "DGCNN": DGCNN,
    "VN-DGCNN": VN_DGCNN,
    "DiPVNet": dipvnet(),
}


class Results:
    """Lines of JSON in a file, one a run."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def rows(self) -> list[Row]:
        """Read what is there."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [json.loads(line) for line in lines]

    def has(self, **wanted: Any) -> bool:
        """Whether there is a run like this."""
        return any(wanted.items() <= row.items() for row in self.rows())

    def write(self, **row: Any) -> None:
        """Append a run."""
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


@functools.partial(jax.jit, static_argnames="rotation")
def turned(key: jax.Array, batch: Mapping[str, Any], rotation: str) -> dict[str, Any]:
    """Turn the clouds of a batch before the step, so that one compiled step serves z and SO(3)."""
    keys = example_keys(key, batch["index"])
    if rotation == "axis":
        up = jax.numpy.array(_UP)
        turns = jax.vmap(lambda key: rotations.random_rotation_about(key, up))(keys)
    else:
        turns = jax.vmap(rotations.random_rotation)(keys)
    return {**batch, "points": rotations.rotate(batch["points"], turns)}


class Trainer:
    """The loop of `train.py` without its files: one compiled step for all seeds."""

    def __init__(self, recipe: Recipe, splits: Splits):
        self.recipe, self.splits = recipe, splits
        self.task: Task = recipe.task.build(splits, dtype=jax.numpy.float32, axis_name=None)
        self.optimizer = train.make_optimizer(recipe, self.task.kinds)

        @functools.partial(jax.jit, donate_argnums=1)
        def step(key, state, batch):
            gradient = make_gradient(recipe, self.task, key)
            return make_step(recipe, self.optimizer, gradient)(state, batch)

        @jax.jit
        def init(key):
            return train.initial_state(recipe, self.task, self.optimizer, key)

        self.step, self.init = step, init

    def run(self, seed: int, rotation: str | None, splits: Splits) -> tuple[Variables, Row]:
        """Train with a seed; returns the variables, and what to note about the run."""
        recipe = self.recipe
        init_key, step_key, turn_key = jax.random.split(jax.random.key(seed), 3)
        state = self.init(init_key)
        order = batches(
            splits.train,
            batch_size=recipe.global_batch_size,
            seed=seed,
            steps=recipe.steps,
            prefetch=0,
        )
        losses, began = [], 0.0
        for number, batch in enumerate(order):
            if rotation is not None:
                batch = turned(jax.random.fold_in(turn_key, number), batch, rotation)
            state, metrics = self.step(step_key, state, batch)
            losses.append(metrics["loss"])
            if number == 0:  # compiled
                metrics["loss"].block_until_ready()
                began = time.process_time()
        loss = float(np.mean([float(loss) for loss in losses[-50:]]))
        params = state.variables.params
        return state.variables, {
            "steps": recipe.steps,
            "batch": recipe.global_batch_size,
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
            "seconds": round(time.process_time() - began, 1),
            "loss": round(loss, 4),
        }

    def evaluate(self, seed: int, variables: Variables, splits: Splits) -> dict[str, Any]:
        """Test, against the variables the seed began with where the task wants them."""
        untrained = self.init(jax.random.split(jax.random.key(seed), 3)[0]).variables
        key = jax.random.key(seed)
        both = {"encoder": variables, "untrained": untrained}
        found = run_evaluators(self.task.evaluators, key, both, splits, jax.device_put)
        return found.as_json()


def recipe_for(args: argparse.Namespace, task: TaskConfig) -> Recipe:
    """The settings of the optimizer that all runs share."""
    return Recipe(
        data="npz",
        task=task,
        steps=args.steps,
        global_batch_size=args.batch,
        learning_rate=args.rate,
        warmup_steps=args.steps // 10,
    )


def supervised(
    args: argparse.Namespace,
    results: Results,
    make: Callable[..., ClassificationConfig | SegmentationConfig],
    networks: Mapping[str, Network],
    trained_on: Iterable[str],
    splits: Splits,
) -> None:
    """Train every network from every seed under every rotation, but what is there already."""
    wanted = [(train_as, seed) for train_as in trained_on for seed in args.seeds]
    for name, network in networks.items():
        missing = [
            run for run in wanted if not results.has(network=name, train=run[0], seed=run[1])
        ]
        if not missing:
            continue
        trainer = Trainer(recipe_for(args, make(networks={name: network})), splits)
        for train_as, seed in missing:
            variables, noted = trainer.run(seed, _PROTOCOLS[train_as], splits)
            scores = trainer.evaluate(seed, variables, splits)
            changes = scores.pop("diagnostics")[name]
            # Of "I/SO(3)", since it is here that clouds are turned in training, the end.
            found = {
                test.partition("/")[2]: score[name]
                for test, score in scores.items()
                if test != "confusion"
            }
            results.write(
                network=name,
                train=train_as,
                seed=seed,
                points=args.points,
                **noted,
                **found,
                change=changes["change, I/SO(3)"],
            )


def task_options(args: argparse.Namespace) -> dict[str, Any]:
    """What the tasks on labeled clouds share."""
    return {
        "view": PointViewSpec(
            count=1, num_points=args.points, up=_UP, scale=(0.8, 1.25), jitter=0.01
        ),
        "stored_points": 2 * args.points,
        "eval_rotations": 2,
        "eval_batch_size": 64,
    }


def classifying(args: argparse.Namespace) -> Callable[..., ClassificationConfig]:
    """Make tasks of classification."""
    return functools.partial(
        ClassificationConfig,
        hidden=(128,),
        dropout_rate=0.2,
        label_smoothing=0.1,
        **task_options(args),
    )


def segmenting(args: argparse.Namespace) -> Callable[..., SegmentationConfig]:
    """Make tasks of segmentation."""
    return functools.partial(
        SegmentationConfig,
        hidden=(64, 64),
        dropout_rate=0.2,
        label_smoothing=0.1,
        **task_options(args),
    )


def descriptors(args: argparse.Namespace, results: Results, file: str) -> None:
    """What needs no network: a linear probe on spectra that are invariant by themselves."""
    radii = np.linspace(0, 12, 31)
    degrees = functools.partial(degree_spectrum, max_degree=8)
    loader = classifying(args)(networks={"none": DGCNN})
    # Debye's sum over the pairs of 1,024 points would take longer than training a network.
    for points, name, spectrum in (
        (args.points, "Debye spectrum", debye_spectrum),
        (args.points, "degree spectrum", degrees),
        (1024, "degree spectrum", degrees),
    ):
        if results.has(descriptor=name, points=points):
            continue
        splits = dataclasses.replace(loader, stored_points=points).load(file)

        @jax.jit
        def describe(clouds, spectrum=spectrum):
            energy = spectrum(clouds, radii)
            return jax.numpy.log(energy.reshape(energy.shape[0], -1) + 1e-4)

        seen = []
        for source in (splits.train, splits.test):
            rows = np.array_split(np.arange(len(source)), -(-len(source) // 64))
            clouds = (source.gather(row)["points"] for row in rows)
            seen += [np.concatenate([describe(part) for part in clouds]), source.labels]
        classes = splits.train.num_classes
        accuracy = linear_accuracy(jax.random.key(0), *seen, num_classes=classes)
        results.write(descriptor=name, points=points, accuracy=accuracy)


def few_shot(
    args: argparse.Namespace, results: Results, encoders: Mapping[str, Network], file: str
) -> None:
    """LeJEPA without labels and probes on few, against training on those few alone."""
    pretraining = lejepa_shapes.RECIPE
    config = pretraining.task
    assert isinstance(config, CloudPretrainingConfig)
    steps = args.pretraining_steps
    for name, encoder in encoders.items():
        missing = [
            seed
            for seed in args.seeds
            if not results.has(learned="LeJEPA", network=name, seed=seed, steps=steps)
        ]
        if not missing:
            continue
        task = dataclasses.replace(
            config,
            encoder=encoder,
            views=tuple(dataclasses.replace(v, num_points=args.points) for v in config.view_specs),
            stored_points=2 * args.points,
            eval_points=args.points,
        )
        recipe = dataclasses.replace(pretraining, task=task, steps=steps, warmup_steps=steps // 10)
        splits = task.load(file)
        trainer = Trainer(recipe, splits)
        for seed in missing:
            variables, noted = trainer.run(seed, None, splits)
            found = trainer.evaluate(seed, variables, splits)
            diagnostics = found.pop("diagnostics")
            results.write(
                learned="LeJEPA",
                network=name,
                seed=seed,
                points=args.points,
                clouds=len(splits.train),
                **noted,
                **found,
                sigreg=diagnostics["encoder"]["sigreg"],
            )
    make = classifying(args)
    splits = make(networks={"none": DGCNN}).load(file)
    for name, encoder in encoders.items():
        missing = [
            (shots, seed)
            for shots in (5, 10)
            for seed in args.seeds
            if not results.has(
                learned="scratch", network=name, shots=shots, seed=seed, steps=args.steps
            )
        ]
        if not missing:
            continue
        trainer = Trainer(recipe_for(args, make(networks={name: encoder})), splits)
        for shots, seed in missing:
            order = np.random.default_rng(seed).permutation(len(splits.train))
            labels = splits.train.labels[order]
            few = [order[labels == c][:shots] for c in range(splits.train.num_classes)]
            part = splits._replace(train=splits.train.subset(np.sort(np.concatenate(few))))
            variables, noted = trainer.run(seed, "axis", part)
            found = trainer.evaluate(seed, variables, part)
            results.write(
                learned="scratch",
                network=name,
                shots=shots,
                seed=seed,
                points=args.points,
                **noted,
                **{test: found[f"I/{test}"][name] for test in _PROTOCOLS},
            )


# --- tables ---------------------------------------------------------------------------------------


def spread(values: Iterable[float]) -> str:
    """Mean over seeds in per cent, and half the distance of the outermost."""
    values = [100 * value for value in values]
    if not values:
        return ""
    half = f" ± {(max(values) - min(values)) / 2:.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{half}"


def markdown(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A table of cells."""
    head = list(head)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *lines])


def networks_table(rows: list[Row], names: Iterable[str], scores: Mapping[str, str]) -> str:
    """Networks by protocol; `scores` gives the name of each score and the end of its key."""
    protocols = [("z", "z"), ("z", "SO(3)"), ("SO(3)", "SO(3)")]
    head = ["network", "parameters", "seeds"]
    head += [f"{a}/{b}{score}" for score in scores for a, b in protocols]
    lines = []
    for name in names:
        own = [row for row in rows if row.get("network") == name]
        if not own:
            continue
        seeds = len({row["seed"] for row in own})
        cells = [name, f"{own[0]['parameters']:,}", str(seeds)]
        for end in scores.values():
            for train_as, test in protocols:
                cells.append(spread(row[test + end] for row in own if row["train"] == train_as))
        change = np.mean([row["change"] for row in own])
        lines.append([*cells, f"{change:.0e}"])
    lines += [
        [f"{row['descriptor']} of {row['points']} points, linear", "", ""]
        + [spread([row["accuracy"]])] * len(protocols)
        + ["0"]
        for row in rows
        if "descriptor" in row
    ]
    return markdown([*head, "change"], lines)


def options_table(rows: list[Row]) -> str:
    """Options by accuracy under z/SO(3), and by how far that is from the default."""
    score = {
        (row["network"], row["seed"]): row["SO(3)"]
        for row in rows
        if "network" in row and row["train"] == "z"
    }
    lines = []
    for name in OPTIONS:
        own = {seed: value for (network, seed), value in score.items() if network == name}
        if not own:
            continue
        gains = [100 * (v - score["DiPVNet", s]) for s, v in own.items() if ("DiPVNet", s) in score]
        parts = [row for row in rows if row.get("network") == name and row["train"] == "z"]
        lines.append(
            [
                name,
                spread(own.values()),
                ", ".join(f"{gain:+.1f}" for gain in gains),
                f"{np.mean([row['loss'] for row in parts]):.3f}",
                f"{np.mean([row['change'] for row in parts]):.0e}",
                f"{np.mean([row['seconds'] for row in parts]):.0f}",
            ]
        )
    head = ["options", "z/SO(3)", "against the default, by seed", "loss", "change", "seconds"]
    return markdown(head, lines)


def few_shot_table(rows: list[Row]) -> str:
    """What is probed, by network and number of labels, and what those labels alone teach it."""
    probes = {
        "5 labels": "few_shot_5",
        "10 labels": "few_shot_10",
        "all, linear": "linear",
        "k-NN": "knn",
    }
    lines, spectrum = [], []
    for network, steps in dict.fromkeys((row["network"], row["steps"]) for row in rows):
        own = [row for row in rows if (row["network"], row["steps"]) == (network, steps)]
        learned = [row for row in own if row["learned"] == "LeJEPA"]

        def scores(*sources: str, learned: list[Row] = learned) -> list[str]:
            return [spread(r[p][s] for r in learned) for p in probes.values() for s in sources]

        if learned:
            trained = scores("encoder", "encoder, SO(3)")
            lines.append([network, f"LeJEPA, {steps} steps", *trained])
            untrained = [network, "untrained", *scores("untrained", "untrained, SO(3)")]
            lines += [untrained] * (untrained not in lines)  # the same after any number of steps
            spectrum = [["", "degree spectrum", *scores("degree spectrum", "degree spectrum")]]
        else:
            cells = [
                spread(r[test] for r in own if r["shots"] == shots)
                for shots in (5, 10)
                for test in _PROTOCOLS
            ]
            lines.append([network, "those labels alone", *cells, "", "", "", ""])
    head = [f"{name}, z/{test}" for name in probes for test in _PROTOCOLS]
    return markdown(["network", "", *head], [*sorted(lines, key=lambda line: line[0]), *spectrum])


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("suite", choices=("classification", "options", "parts", "few-shot"))
    parser.add_argument("--data-dir", type=Path, default=Path())
    parser.add_argument("--results", type=Path, default=Path("runs/clouds"))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--train", nargs="*", choices=tuple(_PROTOCOLS), default=list(_PROTOCOLS))
    parser.add_argument("--networks", nargs="*", help="of the suite's; by default all of them")
    parser.add_argument("--points", type=int, help="64, of parts 128")
    parser.add_argument("--steps", type=int, help="400, of parts 300")
    parser.add_argument("--batch", type=int, help="16, of parts 8")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--pretraining-steps", type=int, default=800)
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    suite = args.suite
    usual = {"points": 128, "steps": 300, "batch": 8} if suite == "parts" else {}
    for key, value in {"points": 64, "steps": 400, "batch": 16, **usual}.items():
        setattr(args, key, getattr(args, key) or value)
    name = "classification" if suite == "options" else suite.replace("-", "_")
    results = Results(args.results / f"{name}.jsonl")
    shapes = f"npz:{args.data_dir / 'shapes69.npz'}"
    networks = {"classification": CLASSIFIERS, "options": OPTIONS, "parts": SEGMENTERS}.get(suite)

    if not args.table:
        if networks is None:
            chosen = {k: v for k, v in ENCODERS.items() if k in (args.networks or ENCODERS)}
            few_shot(args, results, chosen, shapes)
        else:
            make = segmenting(args) if suite == "parts" else classifying(args)
            file = f"npz:{args.data_dir / 'psb_parts.npz'}" if suite == "parts" else shapes
            chosen = {k: v for k, v in networks.items() if k in (args.networks or networks)}
            trained_on = ["z"] if suite == "options" else args.train
            splits = make(networks=chosen).load(file)
            if suite == "classification":
                descriptors(args, results, shapes)
            supervised(args, results, make, chosen, trained_on, splits)
    if suite == "classification":
        print(networks_table(results.rows(), CLASSIFIERS, {"": ""}))
    elif suite == "options":
        print(options_table(results.rows()))
    elif suite == "parts":
        # With as many test clouds of each category, the mean over categories is that over clouds.
        scores = {", mIoU": ", instance mIoU", ", points": ", points"}
        print(networks_table(results.rows(), SEGMENTERS, scores))
    else:
        print(few_shot_table(results.rows()))


if __name__ == "__main__":
    main()
