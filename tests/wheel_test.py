"""What people install: the wheel, in a folder of its own, away from this clone."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Run from the folder of the wheel: every module is imported, and one doctest a package is run.
PROGRAM = """
import doctest, importlib, pathlib, pkgutil, sys

folder = pathlib.Path(sys.argv[1])
count = 0
for package in ("rope_jax", "lejepa_jax", "pointcloud_jax"):
    module = importlib.import_module(package)
    assert folder in pathlib.Path(module.__file__).parents, module.__file__
    assert (folder / package / "py.typed").is_file()
    for found in pkgutil.walk_packages(module.__path__, package + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
            count += 1
for name in ("rope_jax.layout", "lejepa_jax.objectives.slicing", "pointcloud_jax.geometry.sphere"):
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=options)
    assert tried and not failed, name
print("modules", count)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, built and installed without a network."""
    built, folder = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    # A copy is built, since setuptools leaves a folder `build` behind.
    clone = tmp_path_factory.mktemp("copy") / "clone"
    names = ("rope_jax", "lejepa_jax", "pointcloud_jax", "pyproject.toml", "README.md", "LICENSE")
    clone.mkdir()
    subprocess.run(["cp", "-r", *(str(ROOT / name) for name in names), str(clone)], check=True)
    command = ["wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", str(built), str(clone)]
    subprocess.run([*pip, *command], check=True)
    (wheel,) = built.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder), str(wheel)], check=True)
    return folder


def test_the_wheel_holds_every_module_and_runs_outside_the_clone(installed):
    modules = {
        path.relative_to(ROOT).with_suffix("")
        for package in ("rope_jax", "lejepa_jax", "pointcloud_jax")
        for path in (ROOT / package).rglob("*.py")
    }
    got = {path.relative_to(installed).with_suffix("") for path in installed.rglob("*.py")}
    assert modules <= got, sorted(map(str, modules - got))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(installed)],
        cwd=installed,
        env={"PYTHONPATH": str(installed), "JAX_PLATFORMS": "cpu", "HOME": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 100
