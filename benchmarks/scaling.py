"""What large recipes need on many devices, read off the compiled step; nothing is run.

    python -m benchmarks.scaling [--sizes L H G] [--devices 8 64 256 512] [--fsdp 8] [--unrolled]

Each step of LeJEPA pretraining (ViT-*/14, 2 global views of 224 and 6 local ones of 98 pixels,
bfloat16, a block recomputed at a time) is lowered and compiled for that many virtual CPU devices.
Printed is what one device holds and moves in one step: bytes of parameters, moments and
temporaries, floating-point operations, and the bytes that each kind of collective returns to it,
those inside loops as often as they turn. SIGReg's own part is measured by compiling it alone, for
two batches.

Blocks are a loop (`scan_blocks`), so that a whole step is compiled; with `--unrolled` every block
is in the program by itself, which takes minutes and many gigabytes. Each is kept as a line of
`--results` as soon as it is done, and those that are there are not compiled again.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from benchmarks.hlo import COLLECTIVES, executed, moved


def measure(
    size: str, devices: int, fsdp: int, per_device: int, scan: int, *, compiling: bool = True
) -> dict:
    """Compile one step in this process, whose devices are there already; or only lay it out."""
    import dataclasses
    import functools

    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding
    from jax.sharding import PartitionSpec as P

    import train
    from lejepa_jax.nn import VIT_SIZES, ViT
    from lejepa_jax.training.sharding import AXES
    from recipes import recipes

    _as_on_an_accelerator()
    recipe = recipes()["imagenet-vit-l14"][1]
    sizes = dataclasses.asdict(VIT_SIZES[size])
    options = {"patch_size": 14, "image_size": 224, "drop_path": 0.1, "remat": True}
    encoder = functools.partial(ViT, **sizes, **options, scan_blocks=bool(scan))
    fsdp = min(fsdp, devices)
    recipe = dataclasses.replace(
        recipe,
        task=dataclasses.replace(recipe.task, encoder=encoder),
        global_batch_size=per_device * devices,
        mesh=f"data={devices // fsdp},fsdp={fsdp}",
        precision="bfloat16",
    )
    mesh = train.choose_devices(recipe)
    splits = SimpleNamespace(train=SimpleNamespace(channels=3, data_range=None))
    task = recipe.task.build(splits, dtype=jnp.bfloat16, axis_name=train.axis_name_of(recipe))
    optimizer = train.make_optimizer(recipe, task.kinds)
    key = jax.random.key(0)
    like = jax.eval_shape(functools.partial(train.initial_state, recipe, task, optimizer), key)
    parallel = train.parallelize(recipe, mesh, task, optimizer, key, like)
    rows = NamedSharding(mesh, P(AXES))
    side, batch = recipe.task.image_size, recipe.global_batch_size
    shapes = {
        "image": jax.ShapeDtypeStruct((batch, side, side, 3), jnp.uint8, sharding=rows),
        "index": jax.ShapeDtypeStruct((batch,), jnp.int32, sharding=rows),
        "label": jax.ShapeDtypeStruct((batch,), jnp.int32, sharding=rows),
        "aspect": jax.ShapeDtypeStruct((batch,), jnp.float32, sharding=rows),
    }

    def held(tree: object, places: object) -> int:
        parts = jax.tree.map(lambda x, s: s.shard_shape(x.shape), tree, places)
        sizes = jax.tree.map(
            lambda x, part: x.dtype.itemsize * int(jnp.prod(jnp.array(part))) if part else 4,
            tree,
            parts,
            is_leaf=lambda x: isinstance(x, jax.ShapeDtypeStruct),
        )
        return sum(jax.tree.leaves(sizes))

    row = {
        "size": size,
        "scanned": bool(scan),
        "devices": devices,
        "mesh": recipe.mesh,
        "batch": batch,
        "parameters": sum(x.size for x in jax.tree.leaves(like.variables.params)),
        "parameter_bytes": held(like.variables.params, parallel.shardings.variables.params),
        "optimizer_bytes": held(like.opt_state, parallel.shardings.opt_state),
    }
    if not compiling:
        return row
    lowered = parallel.step.lower(like, shapes)
    began = time.process_time()
    compiled = lowered.compile()
    seconds, text = time.process_time() - began, compiled.as_text()
    return row | {
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "flops": compiled.cost_analysis()["flops"],
        "moved": moved(text),
        "largest_gather": max(e.outputs for e in executed(text) if "all-gather" in e.operation),
        "instructions": text.count(" = "),
        "compile_cpu_seconds": round(seconds, 1),
        "memory_of_compiler": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _as_on_an_accelerator() -> None:
    """Let the sums of SIGReg be taken in one block: a CPU has many, and a collective in each."""
    from lejepa_jax.statistics.characteristic import cpu

    cpu.TUNING = cpu.TUNING._replace(block=sys.maxsize)


def sigreg_moved(devices: int, batch: int) -> dict[str, int]:
    """Bytes that the objective alone moves, with its gradient."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding
    from jax.sharding import PartitionSpec as P

    from lejepa_jax import lejepa_loss
    from lejepa_jax.training.sharding import AXES, make_mesh

    _as_on_an_accelerator()
    mesh = make_mesh({"data": devices // min(8, devices), "fsdp": min(8, devices)}, jax.devices())
    rows = NamedSharding(mesh, P(None, AXES))
    z = jax.ShapeDtypeStruct((8, batch, 64), jnp.float32, sharding=rows)
    key = jax.random.key(0)

    def loss(z):
        return lejepa_loss(key, z, num_global=2, num_slices=1024).sigreg

    return moved(jax.jit(jax.value_and_grad(loss)).lower(z).compile().as_text())


def child(arguments: list[str], devices: int) -> dict:
    """Run one measurement in a process with that many devices."""
    flags = (
        f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0 "
        "--xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1"
    )
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "benchmarks.scaling", "--child", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["L", "H", "G"])
    parser.add_argument("--devices", nargs="+", type=int, default=[8, 64, 256, 512])
    parser.add_argument("--fsdp", type=int, default=8)
    parser.add_argument("--batch-per-device", type=int, default=2)
    parser.add_argument("--unrolled", action="store_true", help="every block by itself, no loop")
    parser.add_argument("--layout-only", action="store_true", help="compile no step")
    parser.add_argument("--results", type=Path, default=Path("runs/scaling.jsonl"))
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        kind, *rest = options.child
        if kind in ("step", "layout"):
            compiling = kind == "step"
            print(json.dumps(measure(rest[0], *map(int, rest[1:]), compiling=compiling)))
        else:
            print(json.dumps(sigreg_moved(*map(int, rest))))
        return

    print("SIGReg with gradient, 8 views, 1024 slices, 17 knots: bytes moved a device")
    for devices in options.devices:
        cells = []
        for per_device in (2, 8):
            batch = str(per_device * devices)
            cells.append(child(["sigreg", str(devices), batch], devices))
        print(f"{devices:>5} devices", *cells, "constant" if cells[0] == cells[1] else "GROWS")
        assert cells[0] == cells[1], "SIGReg's communication must not grow with the batch"
    print("\nAt rest, for one device, in MB (10^6 bytes)\n")
    print("| ViT | devices | parameters, M | parameters | moments |\n" + "| --- " * 5 + "|")
    for size in options.sizes:
        for devices in options.devices:
            fixed = [str(min(options.fsdp, devices)), str(options.batch_per_device), "1"]
            row = child(["layout", size, str(devices), *fixed], devices)
            held = row["parameters"], row["parameter_bytes"], row["optimizer_bytes"]
            cells = size, devices, *(f"{number / 1e6:,.0f}" for number in held)
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
    if options.layout_only:
        return
    options.results.parent.mkdir(parents=True, exist_ok=True)
    lines = options.results.read_text().splitlines() if options.results.exists() else []
    keys = "size", "devices", "mesh", "batch", "scanned"
    done = {tuple(r[key] for key in keys): r for r in map(json.loads, lines)}
    print("\nOne training step, for one device, in MB (10^6 bytes) but for the operations\n")
    columns = "ViT", "devices", "batch", "parameters, M", "parameters", "moments", "temporaries"
    columns += "TFLOP", *COLLECTIVES[:3], "other", "largest all-gather", "instructions"
    columns += ("compiled in, s of CPU",)
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    for size in options.sizes:
        for devices in options.devices:
            fsdp = min(options.fsdp, devices)
            batch = options.batch_per_device * devices
            scanned = not options.unrolled
            name = size, devices, f"data={devices // fsdp},fsdp={fsdp}", batch, scanned
            if name not in done:
                fixed = [str(fsdp), str(options.batch_per_device)]
                step = ["step", size, str(devices), *fixed, str(int(scanned))]
                done[name] = child(step, devices)
                with options.results.open("a") as file:
                    file.write(json.dumps(done[name]) + "\n")
            print(_table_row(done[name]), flush=True)


def _table_row(row: dict) -> str:
    moved_bytes = dict(row["moved"])
    kinds = [moved_bytes.pop(kind, 0) for kind in COLLECTIVES[:3]]
    sizes = row["parameter_bytes"], row["optimizer_bytes"], row["temporary_bytes"]
    cells = [row["size"], row["devices"], row["batch"], f"{row['parameters'] / 1e6:,.0f}"]
    cells += [f"{number / 1e6:,.0f}" for number in sizes]
    cells.append(f"{row['flops'] / 1e12:.2f}")
    cells += [f"{number / 1e6:,.0f}" for number in (*kinds, sum(moved_bytes.values()))]
    cells += [f"{row['largest_gather'] / 1e6:,.1f}", f"{row['instructions']:,}"]
    return f"| {' | '.join(map(str, [*cells, row['compile_cpu_seconds']]))} |"


if __name__ == "__main__":
    main()
