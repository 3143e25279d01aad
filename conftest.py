"""Settings for every test: eight host devices, strict dtypes, no NaN passes unseen."""

import gc
import os
from importlib.metadata import version

# Before jax is imported. Compiling is most of the time of the tests, and their shapes are tiny.
flags = [
    "--xla_force_host_platform_device_count=8",
    "--xla_backend_optimization_level=0",
    "--xla_cpu_parallel_codegen_split_count=1",
]
# Where there are two generators of loops, the older one compiles in half the time.
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
    flags.append("--xla_cpu_use_fusion_emitters=false")
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *flags])

import hypothesis
import jax
import jaxtyping
import pytest

# Tracing makes many small objects that live on; looking for garbage among them at the usual pace
# is 3 % of the time of the tests.
gc.set_threshold(100_000, 20, 20)

jax.config.update("jax_debug_nans", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Every annotated shape and dtype is checked in the tests, and costs nothing outside them. An int is
# taken where a float is asked for. (The pytest flag of jaxtyping cannot pass options on.)
jaxtyping.install_import_hook(
    ["lejepa_jax", "rope_jax", "pointcloud_jax"],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

# Every draw compiles, so examples are few and have no deadline; derandomized, so that a red test
# is red again on the next run.
hypothesis.settings.register_profile(
    "jax", max_examples=6, deadline=None, derandomize=True, database=None
)
hypothesis.settings.load_profile("jax")


def pytest_collection_modifyitems(items: list[pytest.Item]):
    """Begin with the program: its modules are the longest, and must not be left to one process."""
    items.sort(key=lambda item: "program" not in item.path.parts)


@pytest.fixture
def key() -> jax.Array:
    """Give one key, for tests whose claim holds for any."""
    return jax.random.key(0)


@pytest.fixture
def unchecked():
    """Turn the shape checks of the annotations off, so that the library's own errors are seen."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
