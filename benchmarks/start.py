"""Before the first step: how long it takes to begin, to compile each recipe, and what steps move.

    python -m benchmarks.start [begin] [compile] [devices] [--recipes NAME ...]

`begin` runs `train.py digits` and takes the time from the command to its first step, with an empty
cache of compiled programs and with the cache that this leaves. `compile` lowers and compiles the
step of each recipe at its own batch, on one device, data apart: nothing is run, and the large ones
take minutes. `devices` compiles the step of `digits` for 1 to 8 host devices and counts the bytes
that collectives return to a device, for two batches a device.
"""

import argparse
import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.hlo import moved

BATCHES = (16, 64)


def begin(cache: str) -> float:
    """Seconds from the command to the first step, both included."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--steps", "60", "--log-every", "1", "--devices", "1", "--no-evaluate"]
        command = [sys.executable, "train.py", "digits", *flags, "--workdir", f"{folder}/run"]
        began = time.perf_counter()
        environment = os.environ | {"XDG_CACHE_HOME": cache}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("step 1/"):
                    break
            seconds = time.perf_counter() - began
            process.kill()
    return seconds


def prepared(name: str, folder: str, over: Any = None, **changed: Any) -> tuple[Any, ...]:
    """The step of a recipe `over` a mesh, on data of noise, and the shapes of what it takes."""
    import jax
    import numpy as np

    import train
    from recipes import recipes

    recipe = dataclasses.replace(recipes()[name][1], **changed)
    rng = np.random.default_rng(0)
    few = 2 * len(jax.devices())
    path = f"{folder}/noise.npz"
    if stored := getattr(recipe.task, "stored_points", None):
        points = rng.normal(size=(30, stored, 3)).astype(np.float32)
        of_points = {"part": rng.integers(0, 3, (30, stored)), "part_class": np.array([0, 0, 1])}
        np.savez(path, points=points, normals=points, label=np.arange(30) % 2, **of_points)
    else:
        channels = 1 if name == "digits" else 3
        side = recipe.task.image_size
        images = rng.integers(0, 256, (30, side, side, channels), np.uint8)
        np.savez(path, images=images, labels=np.arange(30) % 3)
    like_npz = dataclasses.replace(recipe, data=f"npz:{path}", global_batch_size=few)
    mesh = over or train.choose_devices(recipe)
    splits = train.load_data(like_npz)
    task = recipe.task.build(splits, axis_name=train.axis_name_of(recipe))
    optimizer = train.make_optimizer(recipe, task.kinds)
    key = jax.random.key(0)
    like = jax.eval_shape(functools.partial(train.initial_state, recipe, task, optimizer), key)
    parts = -(
        -recipe.global_batch_size // mesh.size // (recipe.microbatch or recipe.global_batch_size)
    )
    parallel = train.parallelize(recipe, mesh, task, optimizer, key, like, parts)
    batch = {
        name: jax.ShapeDtypeStruct((recipe.global_batch_size, *np.shape(array)[1:]), array.dtype)
        for name, array in splits.train.gather(np.arange(2)).items()
    }
    return recipe, parallel, like, batch


def compiling(name: str) -> dict[str, Any]:
    """How long lowering and compiling take."""
    import jax

    with tempfile.TemporaryDirectory() as folder:
        recipe, parallel, like, batch = prepared(name, folder, devices=1)
        began = time.perf_counter()
        lowered = parallel.step.lower(like, batch)
        middle = time.perf_counter()
        lowered.compile()
        end = time.perf_counter()
    parameters = sum(leaf.size for leaf in jax.tree.leaves(like.variables.params))
    found = {"batch": recipe.global_batch_size, "parameters": parameters}
    return found | {"lower": middle - began, "compile": end - middle}


def traffic(devices: int) -> list[dict[str, int]]:
    """Bytes returned to a device in a step of `digits`, for each of the batches."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for each in BATCHES:
            _, parallel, like, batch = prepared("digits", folder, global_batch_size=each * devices)
            found.append(moved(parallel.step.lower(like, batch).compile().as_text()))
    return found


def child(kind: str, value: str, devices: int = 1) -> Any:
    """Measure in a process of its own."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "benchmarks.start", "--child", kind, value]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    tables = ("begin", "compile", "devices")
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(tables)}; by default all")
    parser.add_argument("--recipes", nargs="*", help="to compile; by default all")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        kind, value = options.child
        print(json.dumps(compiling(value) if kind == "compile" else traffic(int(value))))
        return
    wanted = options.tables or tables
    if unknown := set(wanted) - set(tables):
        parser.error(f"no table {', '.join(sorted(unknown))}; there are {', '.join(tables)}")
    if "begin" in wanted:
        os.chdir(Path(__file__).parents[1])
        with tempfile.TemporaryDirectory() as cache:
            cold = begin(cache)
            warm = [begin(cache) for _ in range(3)]
        print(
            f"digits, from the command to its first step: {cold:.1f} s compiled anew, "
            f"{sorted(warm)[1]:.1f} s from the cache\n"
        )
    if "compile" in wanted:
        from recipes import recipes

        print("| recipe | batch | parameters | lowered in, s | compiled in, s |")
        print("| --- " * 5 + "|")
        for name in options.recipes or recipes():
            row = child("compile", name)
            print(
                f"| {name} | {row['batch']} | {row['parameters']:,} | {row['lower']:.1f} |"
                f" {row['compile']:.1f} |",
                flush=True,
            )
        print()
    if "devices" in wanted:
        print("Bytes that collectives return to a device in a step of digits\n")
        print(f"| devices | {' | '.join(f'{each} images a device' for each in BATCHES)} |")
        print("| --- " * 3 + "|")
        for devices in (1, 2, 4, 8):
            cells = [
                f"{sum(kinds.values()):,}" for kinds in child("traffic", str(devices), devices)
            ]
            print(f"| {devices} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
