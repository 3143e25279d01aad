"""What the compilers for accelerators make of the hot functions. No accelerator is needed.

    python -m benchmarks.accelerators v5e        # one chip of Google's; pip install -e '.[tpu]'
    python -m benchmarks.accelerators h100       # NVIDIA's; pip install -e '.[cuda]'
    python -m benchmarks.accelerators v5e --steps digits imagenette-vit-s8:32:bfloat16
    python -m benchmarks.accelerators v5e --steps digits:2048 --mesh data=4,fsdp=4

The compilers work for a device that is not there. Printed is what one reads off the programs
they write: kernels, temporaries, and the bytes that kernels read and write, for each function with
its gradient; beside it the same function written plainly. The compiler for TPU also notes how long
it believes every kernel to take: its estimate, not a measurement. `--steps` compiles whole training
steps instead, RECIPE[:BATCH[:PRECISION]], each in a minute or some, for one chip or as many as
`--mesh` has; numbers are those of one of them.
"""

import argparse
import functools
import math
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
from benchmarks.hlo import executed, moved
from lejepa_jax.training.sharding import make_mesh, parse_mesh
from pointcloud_jax import dasft
from pointcloud_jax.geometry import fibonacci


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
    "v5e": Target("tpu", {"topology_name": "v5e:{}"}, 197e12, 197e12 / (4 * 2 * 128**2)),
    "h100": Target("cuda", {"target_config": _H100, "topology": "1x1x1"}),
}
# How chips are laid out, by their number; the smallest part there is holds four.
_GRIDS = {1: "2x2", 4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8", 128: "8x16", 256: "16x16"}
# What launches something on the device; the rest names, slices or waits.
_KERNELS = frozenset(
    {"fusion", "custom-call", "dot", "convolution", "reduce", "reduce-window", "sort", "scatter"}
    | {"gather", "select-and-scatter", "dynamic-update-slice", "concatenate", "pad", "iota"}
    | {"copy", "copy-start", "transpose", "broadcast"}
)


def describe(target: Target, number: int = 1) -> list[Any]:
    """Make the devices that programs are compiled for."""
    # Neither library is to look for hardware, or for the cloud that usually surrounds it.
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "TPU_SKIP_MDS_QUERY": "1"}
    jax.config.update("jax_platforms", "cpu")
    numbers = list(_GRIDS) if target.platform == "tpu" else [1]
    if number not in numbers:
        sys.exit(f"error: --mesh must have one of {numbers} devices here, got {number}")
    options = {key: value.replace("{}", _GRIDS[number]) for key, value in target.options.items()}
    try:
        found = topologies.get_topology_desc(platform=target.platform, **options)
    except (NotImplementedError, RuntimeError) as error:
        extra = target.platform
        sys.exit(f"error: no compiler for {extra}: pip install -e '.[{extra}]' ({error})")
    return list(found.devices)[:number]


def row(program: Any, target: Target) -> list[str]:
    """Cells that every table ends with."""
    text = program.as_text()
    kernels = [e for e in executed(text) if e.operation in _KERNELS]
    cycles = sum(
        e.times * int(found[1])
        for e in kernels
        if (found := re.search(r'estimated_cycles":"(\d+)"', e.line))
    )
    touched = sum(e.times * (e.inputs + e.outputs) for e in kernels)
    cells = [
        f"{sum(e.times for e in kernels):,}",
        f"{program.memory_analysis().temp_size_in_bytes / 1e6:,.0f}",
        f"{touched / 1e6:,.0f}",
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


def print_steps(target: Target, mesh: jax.sharding.Mesh, wanted: list[str]) -> None:
    """Print a line for each training step."""
    from benchmarks.start import prepared

    columns = ["step", "batch", "parameters, M", "arguments, MB", "collectives return, MB"]
    columns += ["kernels", "temporaries, MB", "read and written, MB"]
    if target.platform == "tpu":
        columns += ["compiler's estimate, ms", "of the peak"]
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    for name in wanted:
        recipe_name, *rest = name.split(":")
        changed: dict[str, Any] = dict(zip(("global_batch_size", "precision"), rest, strict=False))
        if rest:
            changed["global_batch_size"] = int(rest[0])
        with tempfile.TemporaryDirectory() as folder:
            recipe, parallel, like, batch = prepared(recipe_name, folder, mesh, **changed)
            program = parallel.step.lower(like, batch).compile()
        parameters = sum(x.size for x in jax.tree.leaves(like.variables.params))
        cells = [f"{recipe_name}, {recipe.precision}", str(recipe.global_batch_size)]
        cells += [f"{parameters / 1e6:.1f}"]
        cells += [f"{program.memory_analysis().argument_size_in_bytes / 1e6:,.0f}"]
        returned = moved(program.as_text()) if mesh.size > 1 else {}
        cells += [", ".join(f"{kind} {n / 1e6:,.1f}" for kind, n in returned.items()) or "–"]
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
    parser.add_argument("--mesh", default="data=1,fsdp=1", help="of steps, as for train.py")
    options = parser.parse_args()
    target, sizes = TARGETS[options.target], parse_mesh(options.mesh)
    if options.steps:
        # How best to tile a product for a GPU is tried on it. Of some sizes no tiling is found
        # without, and all products go to the vendor's library.
        before = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{before} --xla_gpu_enable_triton_gemm=false"
    devices = describe(target, math.prod(sizes.values()))
    print(f"compiled for {options.target}, jax {jax.__version__}; nothing was run\n")
    if options.steps:
        print_steps(target, make_mesh(sizes, devices), options.steps)
    else:
        print_functions(target, devices[0])


if __name__ == "__main__":
    main()
