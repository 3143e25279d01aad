"""The layout of the packages: imports go one way, names are one thing, everything is shipped."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import setuptools

ROOT = Path(__file__).parent.parent
#: Each may import those before it.
PACKAGES = ("rope_jax", "lejepa_jax", "pointcloud_jax", "recipes", "train")
LAYERS = (
    "checks",
    "choices",
    "statistics",
    "objectives",
    "diagnostics",
    "nn",
    "data",
    "augment",
    "evaluation",
    "report",
    "models",
    "training",
    "tasks",
    "testing",
)
#: (from, to) by module, imports that go the other way, each with the reason.
AGAINST_THE_LAYERS: dict[tuple[str, str], str] = {}

FILES = sorted(
    path
    for package in PACKAGES[:3]
    for path in (ROOT / package).rglob("*.py")
    if "__pycache__" not in path.parts
)


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Modules that a file imports, inside its functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports name the package, not its place"
            yield node.module
            # `from lejepa_jax import nn` imports the sub-package.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_packages_import_one_way():
    bad = []
    for path in FILES:
        package = path.relative_to(ROOT).parts[0]
        later = PACKAGES[PACKAGES.index(package) + 1 :]
        bad += [(module_name(path), name) for name in imports(path) if name.split(".")[0] in later]
    assert not bad


def test_layers_import_one_way():
    bad = set()
    for path in FILES:
        name = module_name(path)
        here = name.split(".")
        if here[0] != "lejepa_jax" or len(here) == 1:
            continue  # the package itself re-exports from all of them
        assert here[1] in LAYERS, f"{name} is in no layer: LAYERS in this file lists them"
        later = LAYERS[LAYERS.index(here[1]) + 1 :]
        for target in imports(path):
            there = target.split(".")
            if there[0] == "lejepa_jax" and len(there) > 1 and there[1] in later:
                bad.add((name, ".".join(there[:3])))
    assert bad == set(AGAINST_THE_LAYERS)


def test_modules_import_modules_and_not_what_packages_gather():
    """Else two sub-packages could not import parts of each other's layers without a cycle."""
    packages = {module_name(path) for path in FILES if path.name == "__init__.py"}
    inside = {p for p in packages if "." in p}
    bad = []
    for path in FILES:
        name = module_name(path)
        if path.name == "__init__.py" or name.split(".")[0] != "lejepa_jax":
            continue
        own = name.rsplit(".", 1)[0]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in inside:
                # The modules of its own sub-package it may take from there.
                modules = all(
                    f"{node.module}.{alias.name}" in {module_name(p) for p in FILES}
                    for alias in node.names
                )
                if not modules:
                    bad.append((name, node.module, own))
    assert not bad


def public_names(path):
    """Functions and classes that a module defines, without those that start with a line."""
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, kinds) and node.name[0] != "_"}


@pytest.mark.parametrize("package", PACKAGES[:3])
def test_no_module_is_named_like_a_function_or_class_of_its_package(package):
    mine = [path for path in FILES if path.relative_to(ROOT).parts[0] == package]
    names = set().union(*(public_names(path) for path in mine))
    modules = {module_name(path).split(".")[-1] for path in mine if module_name(path) != package}
    assert not modules & names


def test_every_sub_package_is_shipped_and_lists_its_names():
    folders = {module_name(path) for path in FILES if path.name == "__init__.py"}
    assert folders == {
        module_name(path.parent / "__init__.py") for path in FILES if path.suffix == ".py"
    }
    found = setuptools.find_packages(str(ROOT), include=[f"{name}*" for name in PACKAGES[:3]])
    assert folders == set(found)
    for path in FILES:
        if path.name == "__init__.py":
            tree = ast.parse(path.read_text())
            assert ast.get_docstring(tree), f"{path} has no docstring"
            listed = [
                ast.literal_eval(node.value)
                for node in tree.body
                if isinstance(node, ast.Assign)
                and isinstance(node.targets[0], ast.Name)
                and node.targets[0].id == "__all__"
            ]
            assert len(listed) == 1, f"{path} has no __all__"
            assert max(Counter(listed[0]).values(), default=1) == 1, f"{path} lists a name twice"


@pytest.mark.parametrize("package", PACKAGES[:3])
def test_importing_a_package_is_light(package):
    heavy = "matplotlib sklearn PIL grain tyro rich tensorflow_datasets tensorflow torch pandas"
    program = f"import sys, {package}; print(*sorted(set('{heavy}'.split()) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
