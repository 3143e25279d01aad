"""Tables of accuracy, each from a file in docs/results/ that says how its numbers were measured.

    python -m benchmarks results digits          # trains the seeds, writes the file and the tables
    python -m benchmarks results digits --show   # prints the table of the file

Runs are kept in runs/results/NAME; those that are finished there are not trained again.
"""

import argparse
import datetime
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "results"
SCORES = {"knn": "k-NN", "linear": "linear"} | {
    f"few_shot_{shots}": f"{shots}-shot" for shots in (1, 5, 10)
}
ROWS = {"encoder": "**encoder**", "untrained": "untrained encoder", "pixels": "raw pixels"}


class Table(NamedTuple):
    """A table of the probes of a recipe.

    Attributes:
        title: Its first cell.
        seeds: Seeds of the runs that it is the mean of.
        pages: Where it stands.
    """

    title: str
    seeds: tuple[int, ...]
    pages: tuple[str, ...]


TABLES = {
    "digits": Table(
        "accuracy on 500 held-out digits, %", (0, 1, 2), ("README.md", "docs/results.md")
    ),
    "cifar10-small": Table(
        "accuracy on 10,000 test images of CIFAR-10, %", (0,), ("docs/results.md",)
    ),
}


def read_result(name: str) -> dict[str, Any]:
    """Read the file of a table."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def markdown(name: str) -> str:
    """Write the table of a file: means over its seeds, in percent."""
    runs = read_result(name)["runs"]

    def cell(score: str, row: str) -> str:
        mean = sum(run["results"][score][row] for run in runs) / len(runs)
        return f"**{100 * mean:.1f}**" if row == "encoder" else f"{100 * mean:.1f}"

    lines = [f"| {TABLES[name].title} | {' | '.join(SCORES.values())} |"]
    lines += ["| " + " | ".join(["---"] * (1 + len(SCORES))) + " |"]
    lines += [
        f"| {title} | {' | '.join(cell(score, row) for score in SCORES)} |"
        for row, title in ROWS.items()
    ]
    return "\n".join(lines)


def write_tables(name: str) -> None:
    """Put the table of a file in its pages, in place of the one with the same first cell."""
    for page in TABLES[name].pages:
        path = ROOT / page
        begin = re.escape(f"| {TABLES[name].title} |")
        table = re.compile(rf"^{begin}.*\n(?:\|.*\n)+", re.MULTILINE)
        path.write_text(table.sub(lambda _: markdown(name) + "\n", path.read_text()))


def gather(runs: list[Path], machine: str) -> dict[str, Any]:
    """Read what runs say of themselves."""
    found = []
    for folder in runs:
        metadata = json.loads((folder / "run.json").read_text())
        results = json.loads((folder / "results.json").read_text())
        measured = datetime.date.fromtimestamp((folder / "results.json").stat().st_mtime)
        found.append(
            {
                "command": re.sub(r" --(workdir|data-dir) \S+", "", metadata["command"]),
                "seed": metadata["config"]["seed"],
                "commit": metadata["source"]["commit"],
                "date": str(measured),
                "versions": metadata["versions"],
                "results": {score: results[score] for score in SCORES},
            }
        )
    return {"machine": machine, "runs": found}


def main() -> int:
    """Measure, or show, one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=TABLES)
    parser.add_argument("--show", action="store_true", help="print the table of the file")
    parser.add_argument("--machine", default="2 CPU cores", help="what the runs are made on")
    options, flags = parser.parse_known_args()
    if options.show:
        print(markdown(options.name))
        return 0
    folders = []
    for seed in TABLES[options.name].seeds:
        folder = ROOT / "runs" / "results" / options.name / str(seed)
        command = ["train.py", options.name, "--seed", str(seed), "--workdir", str(folder), *flags]
        subprocess.run([sys.executable, *command], cwd=ROOT, check=True)
        folders.append(folder)
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(gather(folders, options.machine), indent=1)
    (FOLDER / f"{options.name}.json").write_text(text + "\n")
    write_tables(options.name)
    print(markdown(options.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
