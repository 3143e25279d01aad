"""The devices and processes of a run: found, laid out, and of one mind."""

import contextlib
import hashlib
import json
import math
import os
import socket
from pathlib import Path
from typing import Any

import jax

from lejepa_jax.training.distributed import exchange_texts
from lejepa_jax.training.errors import UsageError
from lejepa_jax.training.recipe import Recipe
from lejepa_jax.training.sharding import make_mesh, parse_mesh

# Examples that are worth a device of their own.
_FEWEST = 8
# What may differ between the processes of a run.
_LOCAL_FIELDS = ("process_id", "coordinator_bind_address", "data_dir")


def cache_compiled_programs() -> None:
    """Compile each step once a machine, not once a run."""
    if getattr(jax.config, "jax_compilation_cache_dir", None) is None:
        base = os.environ.get("XDG_CACHE_HOME")
        with contextlib.suppress(RuntimeError):  # no home folder: then nothing is kept
            cache = (Path(base) if base else Path.home() / ".cache") / "lejepa-jax"
            jax.config.update("jax_compilation_cache_dir", str(cache))
            # The many small programs too: together they are half a second of every start.
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def initialize_distributed(recipe: Recipe) -> None:
    """Find the other processes of the run, if there are to be any.

    Args:
        recipe: The run.

    Raises:
        UsageError: If they cannot be found.
    """
    count = recipe.devices
    if count is not None:
        count = max(count // (recipe.num_processes or 1), 1)
    elif not recipe.distributed:
        count = devices_of_a_cpu(recipe, _cores())
    if count is not None and "host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        # Devices of a CPU are made; nowhere else does this mean anything.
        with contextlib.suppress(RuntimeError):  # they are there already
            jax.config.update("jax_num_cpu_devices", count)
    if not recipe.distributed:
        return
    if recipe.process_id == 0 and recipe.coordinator is not None:
        _check_port(recipe.coordinator_bind_address or recipe.coordinator)
    try:
        jax.distributed.initialize(
            recipe.coordinator,
            recipe.num_processes,
            recipe.process_id,
            coordinator_bind_address=recipe.coordinator_bind_address,
            heartbeat_timeout_seconds=recipe.heartbeat_seconds,
        )
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            "distributed needs a cluster that JAX knows, or --coordinator HOST:PORT, "
            f"--num-processes and --process-id: {' '.join(str(error).split())}"
        ) from None


def devices_of_a_cpu(recipe: Recipe, cores: int) -> int:
    """Choose how many devices a CPU is where none were asked for: as many as it has cores.

    One device a core is faster than one device with a thread a core: every operation of a step then
    runs on all cores, also those that are not divided among threads.

    Args:
        recipe: The run.
        cores: Cores that this process may use.

    Returns:
        The largest number that divides the batch, leaves each device at least 8 examples and whole
        micro-batches, and is no more than the cores. As many as the mesh has, where it is given; 1
        where the compiler partitions the step (`jit`).

    Examples:
        >>> from lejepa_jax.augment import digits_view
        >>> from lejepa_jax.tasks import PretrainingConfig
        >>> views = (digits_view(2, 8),)
        >>> task = PretrainingConfig(image_size=8, encoder="resnet18", views=views, num_global=2)
        >>> recipe = Recipe("digits", task, global_batch_size=128)
        >>> devices_of_a_cpu(recipe, 2), devices_of_a_cpu(recipe, 6), devices_of_a_cpu(recipe, 64)
        (2, 4, 16)
    """
    if recipe.mesh is not None:
        return math.prod(parse_mesh(recipe.mesh).values())
    if recipe.strategy == "jit":
        return 1
    batch, part = recipe.global_batch_size, recipe.microbatch or 1
    fits = [n for n in range(1, cores + 1) if batch % (n * part) == 0 and batch // n >= _FEWEST]
    return max(fits, default=1)


def _cores() -> int:
    """Count the cores that this process may use, where the system says."""
    allowed = getattr(os, "sched_getaffinity", None)
    return os.cpu_count() or 1 if allowed is None else len(allowed(0))


def _check_port(address: str) -> None:
    """Require a free port: JAX would end with a segmentation fault."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        raise UsageError(f"coordinator must read HOST:PORT, got {address!r}")
    try:
        with socket.create_server((host.strip("[]"), int(port))):
            pass
    except OSError as error:
        raise UsageError(
            f"coordinator {address} cannot be listened on: {error.strerror or error}"
        ) from None


def choose_devices(recipe: Recipe) -> jax.sharding.Mesh:
    """Make the mesh of the devices of all processes.

    Args:
        recipe: The run.

    Returns:
        The mesh.

    Raises:
        UsageError: If the devices, the mesh, the strategy and the batch do not go together.
    """
    available = jax.devices()
    sizes = None if recipe.mesh is None else parse_mesh(recipe.mesh)
    wanted = recipe.devices or (math.prod(sizes.values()) if sizes else len(available))
    sizes = sizes or {"data": wanted, "fsdp": 1}
    if math.prod(sizes.values()) != wanted:
        raise UsageError(f"mesh must have {wanted} devices, got {recipe.mesh}")
    if wanted > len(available):
        raise UsageError(f"devices must be at most {len(available)} here, got {wanted}")
    if jax.process_count() > 1 and wanted != len(available):
        raise UsageError(
            f"devices must be all {len(available)} of the {jax.process_count()} processes, "
            f"got {wanted}"
        )
    if jax.process_count() > 1 and recipe.strategy == "pmap":
        raise UsageError(
            f"strategy pmap is for one process, got {jax.process_count()}: use shard_map or jit"
        )
    if sizes["fsdp"] > 1 and recipe.strategy != "shard_map":
        raise UsageError(f"mesh with fsdp needs --strategy shard_map, got {recipe.strategy}")
    if recipe.global_batch_size % wanted:
        raise UsageError(
            f"global_batch_size must be divisible by the {wanted} devices, "
            f"got {recipe.global_batch_size}"
        )
    return make_mesh(sizes, available[:wanted])


def count_microbatches(recipe: Recipe, mesh: jax.sharding.Mesh) -> int:
    """Return in how many parts a device encodes its share of a batch.

    Args:
        recipe: The run.
        mesh: The devices.

    Returns:
        The number of parts.

    Raises:
        UsageError: If micro-batches do not divide the share of a device.
    """
    share = recipe.global_batch_size // mesh.size
    part = recipe.microbatch or share
    if share % part:
        raise UsageError(
            f"microbatch must divide the {share} examples of a device, got {recipe.microbatch}"
        )
    return share // part


def check_same_configuration(config: dict[str, Any], *sizes: int) -> None:
    """Require that all processes were given the same configuration and data of the same sizes.

    Args:
        config: The configuration.
        sizes: Numbers of examples.

    Raises:
        UsageError: In every process, naming those that differ from the first.
    """
    if jax.process_count() == 1:
        return
    shared = {name: value for name, value in config.items() if name not in _LOCAL_FIELDS}
    text = json.dumps([shared, sizes], sort_keys=True).encode()
    digests = exchange_texts(hashlib.sha256(text).hexdigest())
    others = [str(number) for number, digest in enumerate(digests) if digest != digests[0]]
    if others:
        raise UsageError(
            f"all processes need the same flags and data, and process {', '.join(others)} has "
            "others than process 0"
        )


def peak_device_bytes() -> dict[str, float]:
    """Return the most memory a device has had in use, where devices say."""
    stats = jax.local_devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    return {} if peak is None else {"device_bytes": float(peak)}


def describe_devices(mesh: jax.sharding.Mesh, recipe: Recipe) -> str:
    """Say in a few words what a run computes on.

    Args:
        mesh: The devices.
        recipe: The run, which may say how many.

    Returns:
        Number and kind.
    """
    count = jax.process_count()
    processes = f" of {count} processes" if count > 1 else ""
    kind = mesh.devices.flat[0].device_kind
    chosen = recipe.devices is not None or recipe.mesh is not None
    why = " (one a core; --devices 1 for one)" if kind == "cpu" and not chosen else ""
    return f"{mesh.size} {kind} device{'s' * (mesh.size > 1)}{processes}{why * (mesh.size > 1)}"


def describe_lost_process(error: Exception) -> str:
    """Say that another process is gone. Leaving, JAX waits for the others and says which it is."""
    return (
        f"process {jax.process_index()} lost another one ({str(error).splitlines()[0]}); JAX names "
        "it below. Start all again with the same command"
    )
