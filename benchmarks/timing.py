"""Fair timings: warmed up, in turn, and medians."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax


def machine() -> str:
    """Name what the numbers were measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":")[1].strip() if lines else model
    kinds = {device.device_kind for device in jax.devices()}
    return (
        f"{model}, {os.cpu_count()} cores; {len(jax.devices())} x {', '.join(kinds)}; "
        f"Python {platform.python_version()}, jax {jax.__version__}"
    )


def milliseconds(functions: Mapping[str, Callable[[], Any]], rounds: int = 7) -> dict[str, float]:
    """Time functions without arguments.

    Every round goes through all of them, so that a machine that slows down slows all of them down.

    Args:
        functions: What to time; results may be arrays of jax, which are waited for.
        rounds: Number of rounds after one that warms up and compiles.

    Returns:
        The median of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, function in functions.items():
            began = time.perf_counter()
            jax.block_until_ready(function())
            if number:
                seconds[name].append(time.perf_counter() - began)
    return {name: 1e3 * statistics.median(times) for name, times in seconds.items()}


def temporaries(function: Callable[..., Any], *arguments: Any) -> int:
    """Bytes that a compiled function holds beside its arguments and results."""
    return jax.jit(function).lower(*arguments).compile().memory_analysis().temp_size_in_bytes
