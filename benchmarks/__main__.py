"""`python -m benchmarks` prints the tables of speed, `python -m benchmarks NAME [--flags]` any one.

Tables of speed and memory: sigreg, spectra, rope, scaling. Of what is computed: calibrate, power,
directions, quadrature, statistics_pictures, rope_pictures, rope_cifar10 and more; these take longer
or want data, and are run by name.
"""

import pkgutil
import runpy
import subprocess
import sys
from pathlib import Path

SPEED = ("sigreg", "spectra", "rope")


def main() -> int:
    """Run one by name, or the tables of speed one after the other."""
    found = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    found = [name for name in found if name not in ("__main__", "timing", "departures")]
    if len(sys.argv) > 1:
        name = sys.argv.pop(1)
        if name not in found:
            print(f"error: no benchmark {name!r}; there are {', '.join(found)}", file=sys.stderr)
            return 2
        runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
        return 0
    # Each in a process of its own: what one has compiled and allocated does not slow the next.
    return max(subprocess.call([sys.executable, "-m", f"benchmarks.{name}"]) for name in SPEED)


if __name__ == "__main__":
    sys.exit(main())
