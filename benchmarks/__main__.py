"""`python -m benchmarks` prints the tables of speed, `python -m benchmarks NAME [--flags]` any one.

Tables of speed and memory: sigreg, spectra, rope, networks, steps. By name alone: planning,
which needs PyTorch; start, scaling, accelerators, which compile what is large or for machines that
are not there; and those of what is computed: calibrate, power, directions, quadrature,
identifiability, statistics_pictures, rope_pictures, rope_cifar10, resolution, clouds, results;
some want data.
"""

import os
import pkgutil
import runpy
import subprocess
import sys
from pathlib import Path

SPEED = ("sigreg", "spectra", "rope", "networks", "steps")


def main() -> int:
    """Run one by name, or the tables of speed one after the other."""
    found = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    found = [name for name in found if name not in ("__main__", "timing", "hlo", "departures")]
    if len(sys.argv) > 1:
        name = sys.argv.pop(1)
        if name not in found:
            print(f"error: no benchmark {name!r}; there are {', '.join(found)}", file=sys.stderr)
            return 2
        runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
        return 0
    # Each in a process of its own: what one has compiled and allocated does not slow the next. With
    # memory in huge pages, as in train.py, which the C library must know before it begins.
    environment = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"} | os.environ
    commands = [[sys.executable, "-m", f"benchmarks.{name}"] for name in SPEED]
    return max(subprocess.call(command, env=environment) for command in commands)


if __name__ == "__main__":
    sys.exit(main())
