"""The layout of the packages: imports go one way, names are one thing, everything is shipped."""

import ast
import subprocess
import sys
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
    "training",
    "tasks",
    "worldmodels",
    "models",
    "commands",
    "program",
    "testing",
)
# What does not hold yet, each with the reason. Nothing may join; what is mended should leave.
AGAINST_THE_LAYERS: dict[tuple[str, str], str] = {}
NAMED_LIKE_THEIR_FUNCTION: dict[str, str] = {}
WITHOUT_NAMES = {"lejepa_jax.training": "its modules are imported one by one"}

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
    assert bad <= set(AGAINST_THE_LAYERS)


def test_modules_import_modules_and_not_what_packages_gather():
    """Else two sub-packages that use parts of each other's layers would import in a circle."""
    modules = {module_name(path) for path in FILES}
    gathering = {module_name(path) for path in FILES if path.name == "__init__.py"} - set(PACKAGES)
    bad = set()
    for path in FILES:
        name = module_name(path)
        if path.name == "__init__.py" or not name.startswith("lejepa_jax."):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in gathering:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                if not names <= modules:
                    bad.add((name, node.module))
    assert not bad


def public_names(path):
    """Functions and classes that a module defines, without those that start with a line."""
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, kinds) and node.name[0] != "_"}


def test_no_module_is_named_like_a_function_or_class_beside_it():
    """`from package.part import name` would be the module or the function, by what came first."""
    bad = set()
    for path in FILES:
        name = module_name(path)
        if path.name != "__init__.py":
            beside = public_names(path) | exported(path.parent / "__init__.py")
            bad |= {name} & {f"{name.rpartition('.')[0]}.{other}" for other in beside}
    assert bad <= set(NAMED_LIKE_THEIR_FUNCTION)


def exported(path):
    """`__all__` of a file without the modules in it; empty where there is none."""
    tree = ast.parse(path.read_text())
    names, modules = set(), set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = set(ast.literal_eval(node.value))
        if isinstance(node, ast.ImportFrom) and node.module == module_name(path):
            modules |= {alias.name for alias in node.names}
    return names - modules


def test_every_sub_package_is_shipped_and_lists_its_names():
    folders = {module_name(path) for path in FILES if path.name == "__init__.py"}
    assert folders == {
        module_name(path.parent / "__init__.py") for path in FILES if path.suffix == ".py"
    }
    found = setuptools.find_packages(str(ROOT), include=[f"{name}*" for name in PACKAGES[:3]])
    assert folders == set(found)
    for path in FILES:
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"
            named = exported(path) or module_name(path) in WITHOUT_NAMES
            assert named, f"{path} has no __all__"


@pytest.mark.parametrize("package", PACKAGES[:3])
def test_importing_a_package_is_light(package):
    heavy = {"matplotlib", "sklearn", "PIL", "grain", "tyro", "tensorflow_datasets", "torch"}
    if package != "pointcloud_jax":  # its networks are of flax, which brings rich
        heavy |= {"flax", "optax", "orbax", "rich"}
    program = f"import sys, {package}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not heavy & set(done.stdout.split())
