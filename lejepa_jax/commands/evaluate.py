"""`evaluate MODEL --data NAME`: every probe on another labeled data set, and a report."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro

from lejepa_jax.commands.options import cores, parse_options, prepare_devices
from lejepa_jax.commands.table import Program
from lejepa_jax.models.loading import load
from lejepa_jax.models.reuse.transfer import evaluate_transfer, load_for
from lejepa_jax.report.facts import data_facts
from lejepa_jax.report.page import write_report
from lejepa_jax.report.tables import results_table
from lejepa_jax.training.errors import UsageError
from lejepa_jax.training.storage.files import write_atomically


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """Probe a model on another labeled data set: k-NN, linear and few-shot, with a report.

    Attributes:
        model: A run, a model, a file .safetensors, or hf://OWNER/NAME.
        data: Name of the data set: `digits`, `folder`, `npz:PATH` or a TFDS name; of a model of
            fields what its recipe takes, such as `csv:FILE`.
        data_dir: Where it is: prepared for TFDS, or the folder itself for `folder`.
        out: Folder of the report and of the numbers; evaluations/DATA by default.
        holdout: `validation` evaluates on a part of the training data instead of the test data.
        num_layers: Last layers whose features the probes read side by side; the published linear
            probe of a ViT reads 2.
        knn_k: Neighbors that vote in the k-NN probe.
        max_probe_examples: Training examples that probes are fitted to, of every class its share.
        max_bad_records: Unreadable examples that are skipped before it is an error.
        seed: Draws the labeled examples of the few-shot probes.
        devices: Number of devices; all by default. On a CPU, as many are made.
    """

    model: Annotated[str, tyro.conf.Positional]
    data: str = "folder"
    data_dir: str | None = None
    out: str | None = None
    holdout: Literal["test", "validation"] = "test"
    num_layers: int = 1
    knn_k: int = 20
    max_probe_examples: int = 50_000
    max_bad_records: int = 0
    seed: int = 0
    devices: int | None = None


def run(arguments: list[str], program: Program) -> int:
    """Probe a model on a data set, and write a report.

    Args:
        arguments: `evaluate`, a model and flags.
        program: What runs the command.

    Returns:
        The exit code.

    Raises:
        UsageError: One line about what is wrong.
    """
    options = parse_options(EvaluateOptions, arguments)
    prepare_devices(options.devices, usual=cores())
    model = load(options.model)
    model.num_devices = options.devices
    splits = load_for(
        model,
        options.data,
        data_dir=options.data_dir,
        holdout=options.holdout,
        max_bad_records=options.max_bad_records,
    )
    if splits.train.num_classes < 2:
        raise UsageError(f"data must have at least 2 classes to probe, got none in {splits.name}")
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in options.data).strip("-")
    out = Path(options.out or f"evaluations/{name}")
    out.mkdir(parents=True, exist_ok=True)
    program.console.print(
        f"{options.model} on {splits.name}: {len(splits.train):,} examples to fit probes to, "
        f"{len(splits.test):,} held out; {jax.local_device_count()} devices"
    )
    results = evaluate_transfer(
        jax.random.key(options.seed),
        model,
        splits,
        num_layers=options.num_layers,
        knn_k=options.knn_k,
        max_probe_examples=options.max_probe_examples,
    )
    write_atomically(out / "results.json", json.dumps(results.as_json(), indent=2))
    report = write_report(
        out / "report.html",
        title=f"{model.provenance.get('recipe', 'A model')} on {splits.name}",
        config={**dataclasses.asdict(options), "model_digest": model.digest()},
        rows=[],
        metrics={},
        results=results,
        facts=data_facts(splits),
        usage=f'import lejepa_jax\n\nmodel = lejepa_jax.load("{options.model}")',
    )
    program.console.print(results_table(results))
    program.console.print(f"report: {report}")
    return 0
