"""What the compilers for accelerators make of the hot functions. No accelerator is needed.

    python -m benchmarks.accelerators v5e        # one chip of Google's; pip install -e '.[tpu]'
    python -m benchmarks.accelerators h100       # NVIDIA's; pip install -e '.[cuda]'
    python -m benchmarks.accelerators v5e --steps digits imagenette-vit-s8:32:bfloat16

The compilers can be told of a device that is not there. Printed is what one reads off the programs
they write: kernels, temporaries, and the bytes that kernels read and write, for each function with
its gradient; beside it the same function written plainly. The compiler for TPU also notes how long
it believes every kernel to take: its estimate, not a measurement. `--steps` compiles whole training
steps for one chip instead, RECIPE[:BATCH[:PRECISION]], each in a minute or some.
"""

import argparse
import functools
import os
import re
import sys
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from benchmarks import sigreg as of_sigreg
from benchmarks import spectra as of_spectra
from benchmarks.hlo import executed
from lejepa_jax.sharding import make_mesh
from pointcloud_jax.dasft import dasft
from pointcloud_jax.sphere import fibonacci


class Target(NamedTuple):
    """A device to compile for."""

    platform: str
    options: dict[str, str]
    peak: float = float("nan")  # bfloat16 operations a second
    clock: float = float("nan")  # cycles a second, of estimates


_H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448 registers_per_core_limit: 65536
  registers_per_block_limit: 65536 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84929347584 cuda_compute_capability { major: 9 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 7 }
runtime_version { major: 12 minor: 9 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
TARGETS = {
    # Four units of 128 x 128 multiply and add once a cycle.
    "v5e": Target("tpu", {"topology_name": "v5e:2x2"}, 197e12, 197e12 / (4 * 2 * 128**2)),
    "h100": Target("cuda", {"target_config": _H100, "topology": "1x1x1"}),
}
# What launches something on the device; the rest names, slices or waits.
_KERNELS = frozenset(
    {"fusion", "custom-call", "dot", "convolution", "reduce", "reduce-window", "sort", "scatter"}
    | {"gather", "select-and-scatter", "dynamic-update-slice", "concatenate", "pad", "iota"}
    | {"copy", "copy-start", "transpose", "broadcast"}
)


def describe(target: Target) -> list[Any]:
    """Make the devices that programs are compiled for."""
    # Neither library is to look for hardware, or for the cloud that usually surrounds it.
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "TPU_SKIP_MDS_QUERY": "1"}
    jax.config.update("jax_platforms", "cpu")
    try:
        found = topologies.get_topology_desc(platform=target.platform, **target.options)
    except (NotImplementedError, RuntimeError) as error:
        extra = target.platform
        sys.exit(f"error: no compiler for {extra}: pip install -e '.[{extra}]' ({error})")
    return list(found.devices)


def row(program: Any, target: Target) -> list[str]:
    """Cells that every table ends with."""
    text = program.as_text()
    kernels = [e for e in executed(text) if e.operation in _KERNELS]
    cycles = sum(
        e.times * int(found[1])
        for e in kernels
        if (found := re.search(r'estimated_cycles":"(\d+)"', e.line))
    )
    moved = sum(e.times * (e.inputs + e.outputs) for e in kernels)
    cells = [
        f"{sum(e.times for e in kernels):,}",
        f"{program.memory_analysis().temp_size_in_bytes / 1e6:,.0f}",
        f"{moved / 1e6:,.0f}",
    ]
    if cycles:
        cells.append(f"{1e3 * cycles / target.clock:.2f}")
    return cells


def functions() -> dict[str, tuple[Callable[..., Any], jax.ShapeDtypeStruct]]:
    """What to compile, by name and size: values with their gradients."""
    found, k = {}, of_sigreg.SLICES
    for n, d, knots in ((4096, 512, 17), (32768, 512, 17), (32768, 512, 41)):
        ways = {f"SIGReg, {knots} knots": functools.partial(of_sigreg.ours, num_knots=knots)}
        if knots == of_sigreg.KNOTS:
            ways["written plainly"] = of_sigreg.naive
        cloud, directions = jax.ShapeDtypeStruct((n, d), jnp.float32), jnp.zeros((k, d))
        size = f"{n} x {d}, {k} slices"
        for name, way in ways.items():
            step = functools.partial(jax.value_and_grad(way), directions=directions)
            found[f"{name}: {size}"] = step, cloud
        if knots == of_sigreg.KNOTS:
            products = functools.partial(of_sigreg.projections, directions=directions)
            found[f"its projections alone: {size}"] = products, cloud
    rule = fibonacci(36)
    ways = {
        "spectrum": lambda x: dasft(x, rule, of_spectra.RADII).sum(),
        "written plainly": lambda x: of_spectra.naive(x, rule).sum(),
    }
    for channels in (1, 32):
        points = jax.ShapeDtypeStruct((8, channels, 1024, 3), jnp.float32)
        for name, way in ways.items():
            size = f"8 x {channels} clouds of 1024, 36 directions, 64 radii"
            found[f"{name}: {size}"] = jax.value_and_grad(way), points
    return found


def print_functions(target: Target, device: Any) -> None:
    """Print a line for each function with its gradient."""
    here = SingleDeviceSharding(device)
    columns = ["value and gradient", "kernels", "temporaries, MB", "read and written, MB"]
    columns += ["compiler's estimate, ms"] if target.platform == "tpu" else []
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    for name, (function, argument) in functions().items():
        step = jax.jit(function, in_shardings=here, out_shardings=here)
        # Both ways of writing get what the library asks for: products of matrices in float32.
        with jax.default_matmul_precision("highest"):
            cells = [name, *row(step.lower(argument).compile(), target)]
        print(f"| {' | '.join(cells)} |", flush=True)


def print_steps(target: Target, device: Any, wanted: list[str]) -> None:
    """Print a line for each training step."""
    from benchmarks.start import prepared

    mesh = make_mesh({"data": 1, "fsdp": 1}, [device])
    columns = ["step", "batch", "parameters, M", "arguments, MB", "kernels", "temporaries, MB"]
    columns += ["read and written, MB"]
    if target.platform == "tpu":
        columns += ["compiler's estimate, ms", "of the peak"]
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    for name in wanted:
        recipe_name, *rest = name.split(":")
        changed: dict[str, Any] = dict(zip(("global_batch", "precision"), rest, strict=False))
        if rest:
            changed["global_batch"] = int(rest[0])
        with tempfile.TemporaryDirectory() as folder:
            recipe, spread, like, batch = prepared(recipe_name, folder, mesh, **changed)
            program = spread.step.lower(like, batch).compile()
        parameters = sum(x.size for x in jax.tree.leaves(like.variables.params))
        cells = [f"{recipe_name}, {recipe.precision}", str(recipe.global_batch)]
        cells += [f"{parameters / 1e6:.1f}"]
        cells += [f"{program.memory_analysis().argument_size_in_bytes / 1e6:,.0f}"]
        cells += row(program, target)
        if target.platform == "tpu":
            seconds = float(cells[-1].replace(",", "")) / 1e3
            cells.append(f"{program.cost_analysis()['flops'] / target.peak / seconds:.0%}")
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", choices=tuple(TARGETS))
    parser.add_argument("--steps", nargs="+", metavar="RECIPE[:BATCH[:PRECISION]]")
    options = parser.parse_args()
    target = TARGETS[options.target]
    device = describe(target)[0]
    print(f"compiled for {options.target}, jax {jax.__version__}; nothing was run\n")
    if options.steps:
        print_steps(target, device, options.steps)
    else:
        print_functions(target, device)


if __name__ == "__main__":
    main()
