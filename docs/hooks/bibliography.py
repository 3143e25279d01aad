"""The bibliography: every entry under `References:` in a docstring of the packages."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("lejepa_jax", "rope_jax", "pointcloud_jax")
_ARXIV = re.compile(r"arXiv:?\s?(\d{4}\.\d{4,5})(?:, \d{4})?")
# An initial ends with a point after a capital, an entry after something else.
_BETWEEN = re.compile(r"(?<=[a-z0-9)])(?<!Trans)(?<!Anal)(?<!Appl)\.\s+(?=[A-Z])")


def references(docstring: str) -> Iterator[str]:
    """Split the section of references of a docstring into entries."""
    section = re.search(r"^References:\n((?:[ ]+.*\n?|\n)+)", docstring, re.MULTILINE)
    if section:
        text = " ".join(section[1].split())
        yield from _BETWEEN.split(text.rstrip("."))


def bibliography() -> str:
    """Write the list as Markdown: one paper a line, with the modules that name it."""
    texts: dict[str, list[str]] = {}
    modules: dict[str, set[str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            kinds = (ast.Module, ast.FunctionDef, ast.ClassDef)
            nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
            for node in nodes:
                for entry in references(ast.get_docstring(node) or ""):
                    found = _ARXIV.search(entry)
                    if not found and not re.search(r"\b(1[89]|20)\d\d\b", entry):
                        continue  # a remark, not a paper
                    # Equations and sections are of one place; the paper is what comes before.
                    paper = entry[: found.end()] if found else entry
                    key = found[1] if found else paper
                    texts.setdefault(key, []).append(paper.replace('"', ""))
                    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                    modules.setdefault(key, set()).add(name.removesuffix(".__init__"))
    entries = [max(found, key=len) for found in texts.values()]
    lines = [
        f"- {entry}. " + ", ".join(f"`{name}`" for name in sorted(modules[key]))
        for entry, key in sorted(zip(entries, texts, strict=True), key=lambda pair: pair[0].lower())
    ]
    return "\n".join(lines)
