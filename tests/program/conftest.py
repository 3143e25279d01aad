"""What all tests of the program share: a tiny recipe, and compiled programs."""

import contextlib
import os

import jax
import numpy as np
import pytest

import train
from tests.program import tiny_run
from tests.program.helpers import losses, run, start


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Compile the tiny step once for all processes, and leave the home folder alone."""
    # Side by side, test processes share the folder above their own.
    base = tmp_path_factory.getbasetemp()
    folder = str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled")
    before = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    # Small programs too, as `train.py` does where it chooses the folder.
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    least = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_compilation_cache_dir", folder)
    yield
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
    jax.config.update("jax_compilation_cache_dir", before)
    os.environ.pop("JAX_COMPILATION_CACHE_DIR")
    os.environ.pop("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")


@contextlib.contextmanager
def lenience():
    """Optax promotes types by itself, so the strictness of the other tests cannot hold here."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module", autouse=True)
def lenient():
    """For the modules of this folder alone."""
    with lenience():
        yield


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Let `train.main` see the tiny recipe alone, in this process."""
    monkeypatch.setattr(train, "recipes", tiny_run.recipes)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Losses of a run of its own process that nothing stopped."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    process = start(workdir)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return losses(workdir)


@pytest.fixture(scope="session")
def reference_run(tmp_path_factory):
    """Folder of a run in this process, on one device; tests copy it before they change it."""
    workdir = tmp_path_factory.mktemp("reference")
    train.recipes, before = tiny_run.recipes, train.recipes
    try:
        with lenience():
            assert run(workdir) == 0
    finally:
        train.recipes = before
    return workdir


@pytest.fixture(scope="session")
def reference_curve(reference_run):
    """Its curve."""
    return np.array(losses(reference_run))
