"""Pages of the reference, written from the public names of the packages: they cannot go stale."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("lejepa_jax", "rope_jax", "pointcloud_jax")
#: Modules that are public without a package that gathers their names.
MODULES = (
    "lejepa_jax.training.recipe",
    "lejepa_jax.training.task",
    "lejepa_jax.training.step",
    "lejepa_jax.worldmodels.config",
)
#: Sub-packages whose names are of use inside the program alone.
INTERNAL = ("lejepa_jax.commands", "lejepa_jax.program", "lejepa_jax.training.storage")


class Names(NamedTuple):
    """What a package says of itself.

    Attributes:
        summary: Its docstring.
        modules: Where each public name is defined, by name; sub-modules are left out.
    """

    summary: str
    modules: dict[str, str]


def read_names(path: Path) -> Names:
    """Read a package's docstring and public names without importing it."""
    tree = ast.parse(path.read_text())
    package = ".".join(path.relative_to(ROOT).parent.parts)
    public: list[str] = []
    origin: dict[str, str] = {}
    for node in ast.walk(tree):  # imports for type checkers alone are in an `if`
        if isinstance(node, ast.ImportFrom) and node.module:
            origin |= {alias.asname or alias.name: node.module for alias in node.names}
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            public = ast.literal_eval(node.value)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            origin.setdefault(node.name, package)
    found = {name: origin[name] for name in public if origin.get(name, package) != package}
    return Names(ast.get_docstring(tree) or "", found)


def read_module(name: str) -> Names:
    """Read a module's docstring and the functions and classes that it defines."""
    tree = ast.parse((ROOT / name.replace(".", "/")).with_suffix(".py").read_text())
    kinds = (ast.FunctionDef, ast.ClassDef)
    public = [node.name for node in tree.body if isinstance(node, kinds) and node.name[0] != "_"]
    return Names(ast.get_docstring(tree) or "", dict.fromkeys(public, name))


def all_names() -> dict[str, Names]:
    """Read every public package: its name and names, from the deepest package to the top."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("__init__.py"):
            name = ".".join(path.relative_to(ROOT).parent.parts)
            if name not in INTERNAL:
                found[name] = read_names(path)
    found |= {name: read_module(name) for name in MODULES}
    order = sorted(found, key=lambda name: (-name.count("."), name))
    return {name: found[name] for name in order if found[name].modules}


def reference_pages() -> Iterator[tuple[str, str]]:
    """Write the pages: a name and Markdown each, sorted by name.

    A name that several packages export is explained on the page of the deepest one; the others list
    it with a link.
    """
    explained: dict[tuple[str, str], str] = {}
    pages = {}
    for package, names in all_names().items():
        own, listed = [], []
        for name, module in sorted(names.modules.items(), key=lambda item: item[0].lower()):
            if (module, name) in explained:
                listed.append(f"[`{name}`][{explained[module, name]}]")
            else:
                explained[module, name] = f"{module}.{name}"
                own.append(f"::: {module}.{name}\n    options:\n      heading_level: 2\n")
        text = f"# `{package}`\n\n{names.summary}\n\n"
        if listed:
            text += "Also exported here: " + ", ".join(listed) + ".\n\n"
        pages[package] = text + "\n".join(own)
    yield from sorted(pages.items())
