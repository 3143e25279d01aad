"""What a step needs is compared with what there is, before the first step."""

import jax
import jax.numpy as jnp
import pytest

from lejepa_jax.training import memory
from lejepa_jax.training.distributed import compile_together
from lejepa_jax.training.memory import step_memory


@pytest.fixture(scope="module")
def compiled():
    step = jax.jit(lambda x: (jnp.sin(x) @ jnp.cos(x)).sum())
    return compile_together(step, jnp.ones((512, 512)))


def test_what_is_needed_is_what_the_compiler_says(compiled):
    found = step_memory(compiled)
    assert 2**20 <= found.needed < 2**23  # a megabyte an array
    assert found.free is None or found.free > 0


def test_devices_of_a_cpu_share_what_is_free(compiled, monkeypatch, tmp_path):
    file = tmp_path / "meminfo"
    file.write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    monkeypatch.setattr(memory, "_MEMORY_OF_LINUX", file)
    assert step_memory(compiled).free == 8000 * 1024 // jax.local_device_count()
    monkeypatch.setattr(memory, "_MEMORY_OF_LINUX", tmp_path / "none")
    assert step_memory(compiled).free is None


def test_a_program_that_says_nothing_is_passed_over():
    class Silent:
        def memory_analysis(self):
            raise NotImplementedError

    assert step_memory(Silent()) is None
