"""What people install: the wheel, in a folder of its own, away from this clone."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lejepa_jax

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
    """The wheel that the source distribution makes, built and installed without a network."""
    built, folder = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    # A copy is built, since setuptools leaves folders behind.
    clone = tmp_path_factory.mktemp("copy") / "clone"
    left_out = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, clone, ignore=left_out)
    make = f"from setuptools import build_meta; build_meta.build_sdist({str(built)!r})"
    quiet = subprocess.DEVNULL
    subprocess.run([sys.executable, "-c", make], cwd=clone, stdout=quiet, stderr=quiet, check=True)
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert held >= {"train.py", "recipes/digits.py", "tests/wheel_test.py", "docs/models.md"}
    command = ["wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", str(built)]
    subprocess.run([*pip, *command, str(source)], check=True)
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
    printed = run_installed(installed, "-c", PROGRAM, str(installed), cwd=installed)
    assert int(printed.split()[-1]) > 100
    (metadata,) = installed.glob("lejepa_jax-*.dist-info/METADATA")
    assert f"\nVersion: {lejepa_jax.__version__}\n" in metadata.read_text()


def test_the_command_runs_from_the_wheel_alone(installed, tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(np.full((9, 7), 200, np.uint8)).save(tmp_path / "images" / "one.png")
    lejepa = str(installed / "bin" / "lejepa")
    shown = run_installed(installed, lejepa, "--help", cwd=tmp_path)
    assert "digits" in shown
    assert "embed MODEL" in shown
    command = ["embed", "digits", "--data-dir", "images", "--devices", "1"]
    run_installed(installed, lejepa, *command, cwd=tmp_path)
    with np.load(tmp_path / "features.npz") as features:
        assert features["features"].shape == (1, 576)


def run_installed(folder, *arguments, cwd):
    """Run Python where the packages of the wheel come before all others."""
    own = {"PYTHONPATH": str(folder), "JAX_PLATFORMS": "cpu", "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=own | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
