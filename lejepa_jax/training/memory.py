"""How much memory a compiled step needs, beside what the devices have."""

from pathlib import Path
from typing import Any, NamedTuple

import jax

_MEMORY_OF_LINUX = Path("/proc/meminfo")


class Memory(NamedTuple):
    """Memory of the devices of this process, in bytes.

    Attributes:
        needed: What a step takes beside the state and the batch, on one device.
        free: What is left for it; None where neither the device nor the system says.
    """

    needed: int
    free: int | None


def step_memory(compiled: Any) -> Memory | None:
    """Read off a compiled step how much memory it takes while it runs.

    Args:
        compiled: A program compiled for the devices of this process.

    Returns:
        What it needs and what there is; the devices of a CPU share what there is. None where the
        compiler does not say.

    Examples:
        >>> import jax.numpy as jnp
        >>> compiled = jax.jit(lambda x: jnp.sin(x) @ x).lower(jnp.ones((256, 256))).compile()
        >>> step_memory(compiled).needed >= 4 * 256 * 256
        True
    """
    try:
        found = compiled.memory_analysis()
    except (AttributeError, NotImplementedError, RuntimeError):
        return None
    if found is None:
        return None
    needed = found.temp_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    return Memory(max(needed, 0), _free_bytes())


def _free_bytes() -> int | None:
    device, count = jax.local_devices()[0], jax.local_device_count()
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        if "bytes_limit" not in stats:
            return None
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    try:
        lines = _MEMORY_OF_LINUX.read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return found[0] * 1024 // count if found else None


def describe_memory(memory: Memory) -> str:
    """Say that a step needs more memory than there is, and what needs less; empty if it fits.

    Args:
        memory: Made by `step_memory`.

    Returns:
        One line, or nothing.

    Examples:
        >>> describe_memory(Memory(10**9, 2 * 10**9)), describe_memory(Memory(10**9, None))
        ('', '')
        >>> print(describe_memory(Memory(17 * 10**9, 8 * 10**9)))
        a step needs 17.0 GB of memory on a device, and 8.0 GB are free: it may end without a word.
        A part of the batch at a time (--microbatch), a smaller one (--batch-size), --precision
        bfloat16 or an encoder with remat=True need less
    """
    if memory.free is None or memory.needed <= memory.free:
        return ""
    return (
        f"a step needs {memory.needed / 1e9:.1f} GB of memory on a device, and "
        f"{memory.free / 1e9:.1f} GB are free: it may end without a word. A part of the batch at a "
        "time (--microbatch), a smaller one (--batch-size), --precision bfloat16 or an encoder "
        "with remat=True need less"
    )
