"""Processes of a sweep: some at a time, stopped together."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_POLL_SECONDS = 0.2


class Job(NamedTuple):
    """A run to start.

    Attributes:
        name: What it is called.
        arguments: Command line of the program.
        output: File for what it prints.
    """

    name: str
    arguments: list[str]
    output: Path


def program_command() -> list[str]:
    """Return what starts the program that is running now."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name != "__main__":
        return [sys.executable, "-m", spec.name.removesuffix(".__main__")]
    return [sys.executable, sys.argv[0]]


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """List the NVIDIA devices of this machine, without taking hold of any.

    Args:
        environment: Its `CUDA_VISIBLE_DEVICES` counts, if it is there.

    Returns:
        Their numbers or names.

    Examples:
        >>> visible_gpus({"CUDA_VISIBLE_DEVICES": "2,5"})
        ['2', '5']
    """
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    found = [re.fullmatch(r"nvidia(\d+)", path.name) for path in Path("/dev").glob("nvidia*")]
    return sorted((match[1] for match in found if match), key=int)


def run_jobs(
    jobs: Sequence[Job],
    command: Sequence[str],
    *,
    at_once: int,
    ended: Callable[[Job, int], None],
) -> int | None:
    """Run jobs, some at a time; a signal stops them all, each after its step.

    Args:
        jobs: In the order in which they are started.
        command: What starts the program.
        at_once: How many at a time. On a machine with NVIDIA devices each gets its share of them.
        ended: Called with a job that has ended and its exit code, negative for a signal.

    Returns:
        The signal that stopped them; None if all were run.
    """
    gpus, waiting = visible_gpus(), list(jobs)
    share = len(gpus) // at_once
    running: dict[int, tuple[Job, subprocess.Popen[bytes]]] = {}
    caught: list[int] = []

    def stop(number: int, frame: Any) -> None:
        del frame
        caught.append(number)
        for _, process in running.values():
            # Again: at once, as in a run of its own.
            process.send_signal(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while running or (waiting and not caught):
            for place in range(at_once):
                if place not in running and waiting and not caught:
                    job, devices = waiting.pop(0), gpus[place * share : (place + 1) * share]
                    running[place] = job, _start(job, command, devices)
            for place, (job, process) in list(running.items()):
                code = process.poll()
                if code is not None:
                    del running[place]
                    ended(job, code)
            time.sleep(_POLL_SECONDS if running else 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for _, process in running.values():  # an error here leaves none behind
            process.kill()
            process.wait()
    return caught[0] if caught else None


def _start(job: Job, command: Sequence[str], devices: Sequence[str]) -> subprocess.Popen[bytes]:
    own = {"CUDA_VISIBLE_DEVICES": ",".join(devices)} if devices else {}
    job.output.parent.mkdir(parents=True, exist_ok=True)
    with job.output.open("ab") as output:
        # A session of its own: a Ctrl-C comes to it once, from here.
        return subprocess.Popen(
            [*command, *job.arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | own,
            start_new_session=True,
        )
