"""Tutorials: Python files in cells (`# %%`), run as notebooks when the site is built."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbconvert
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
_LIMIT = 600  # seconds a cell
#: Run first: kernels ask programs for colors, which a page shows as codes.
_PLAIN = """
import os
for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
    os.environ.pop(name, None)
os.environ["COLUMNS"] = "96"
"""


class Executed(NamedTuple):
    """A tutorial that was run.

    Attributes:
        page: Markdown with outputs.
        notebook: The notebook as JSON, outputs included.
        pictures: PNG files by name, to stand beside the page.
    """

    page: str
    notebook: str
    pictures: Mapping[str, bytes]


def run_tutorial(source: Path, kept: Path) -> Executed:
    """Run a tutorial, or take what an earlier build kept of the very same text.

    With the environment variable `TUTORIALS=no` nothing is run: a quick look at the other pages.

    Args:
        source: The Python file.
        kept: Folder for notebooks that were run.

    Returns:
        The page, the notebook and its pictures.

    Raises:
        CellExecutionError: If a cell raises an error.
    """
    text = source.read_text()
    file = kept / f"{source.stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.ipynb"
    if file.is_file():
        notebook = nbformat.read(file, as_version=4)
    else:
        notebook = jupytext.reads(text, fmt="py:percent")
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        if os.environ.get("TUTORIALS") == "no":
            return Executed(*_export(notebook, source.stem))
        kept.mkdir(parents=True, exist_ok=True)
        # Where it runs is a folder of its own: tutorials write files.
        place = kept / source.stem
        place.mkdir(exist_ok=True)
        where = {"metadata": {"path": str(place)}}
        notebook.cells.insert(0, nbformat.v4.new_code_cell(_PLAIN))
        NotebookClient(notebook, timeout=_LIMIT, resources=where).execute()
        del notebook.cells[0]
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        nbformat.write(notebook, file)
    return Executed(*_export(notebook, source.stem))


def _export(notebook: nbformat.NotebookNode, name: str) -> tuple[str, str, dict[str, bytes]]:
    page, resources = nbconvert.MarkdownExporter().from_notebook_node(notebook)
    pictures = {f"{name}_{file}": data for file, data in resources["outputs"].items()}
    page = re.sub(r"!\[png\]\(([^)]+)\)", rf"![output]({name}_\1)", page)
    page = re.sub(r"\x1b\[[0-9;]*m", "", page)
    return page, nbformat.writes(notebook), pictures


def title_of(source: Path) -> str:
    """Return the title of a tutorial: its first heading."""
    found = re.search(r"^# # (.+)$", source.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{source} has no title: a line `# # Title` in its first cell")
    return found[1]
