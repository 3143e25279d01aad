"""Start the program, in this process or another one, and read what it wrote."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import train

ROOT = Path(__file__).parent.parent.parent
# What is tested does not depend on how well it is optimized, and compiling is most of the time.
QUICKLY_COMPILED = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
LOSSES = ("loss", "prediction", "sigreg", "gradient_norm", "embedding_std")


def run(workdir, *flags):
    """Run in this process; one device unless the flags say otherwise."""
    return train.main(["digits", "--workdir", str(workdir), "--devices", "1", *flags])


def start(workdir, *flags):
    """Run in a process of its own."""
    return launch("-m", "tests.program.tiny_run", "--workdir", str(workdir), *flags)


def launch(*arguments, **variables):
    """Start Python at the root of the project, with one real CPU device."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICKLY_COMPILED} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_steps(workdir, number, process):
    """Wait until that many steps are logged."""
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        path = workdir / "metrics.jsonl"
        if path.exists() and len(path.read_text().splitlines()) >= number:
            return
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"no {number} steps: {process.communicate()[0]}")


def run_to_the_end(workdir):
    """Run in a process of its own, and read its losses."""
    process = start(workdir)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return losses(workdir)


def rows(workdir):
    """Read what was logged."""
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def losses(workdir):
    """Read the losses of all steps."""
    return [[row[name] for name in ("step", *LOSSES)] for row in rows(workdir)]


def modified(workdir):
    """When each file of a run was last written; the lock is no part of it."""
    files = (path for path in workdir.rglob("*") if path.name != ".lock")
    return {path: path.stat().st_mtime_ns for path in files if path != workdir}
