"""The lock of a run's folder, with real processes."""

import contextlib
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lejepa_jax.training import lock
from lejepa_jax.training.lock import lock_workdir

ROOT = Path(__file__).parents[3]

HOLD = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from lejepa_jax.training.lock import lock_workdir
with lock_workdir(Path(sys.argv[1])):
    child = os.fork() if "fork" in sys.argv else 1
    if child:
        print(child, flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def hold(workdir, *flags):
    """Hold a folder from another process; gives it, and the number it says once it does."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(workdir), *flags],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        number = int(process.stdout.readline())
        try:
            yield process, number
        finally:
            process.kill()


def test_a_second_start_gets_one_line_that_names_the_first_until_it_is_killed(tmp_path):
    with hold(tmp_path) as (process, _):
        message = f"in use by process {process.pid} on '{socket.gethostname()}'; wait"
        with (
            pytest.raises(ValueError, match=re.escape(message)) as raised,
            lock_workdir(tmp_path),
        ):
            pass
        assert "\n" not in str(raised.value)
    with lock_workdir(tmp_path):  # the kernel has released it
        pass


def test_a_child_that_outlives_its_parent_does_not_hold_the_folder(tmp_path):
    with hold(tmp_path, "fork") as (process, child):
        process.kill()
        process.wait()
        try:
            os.kill(child, 0)  # it is alive
            until = time.monotonic() + 10
            while True:  # the child may not have run yet since it was forked
                try:
                    with lock_workdir(tmp_path):
                        break
                except ValueError:
                    assert time.monotonic() < until
                    time.sleep(0.01)
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_run_that_ends_leaves_the_folder_to_the_next_one(tmp_path):
    with pytest.raises(KeyError), lock_workdir(tmp_path):
        raise KeyError
    with lock_workdir(tmp_path), pytest.raises(ValueError, match="in use"), lock_workdir(tmp_path):
        pass
    with lock_workdir(tmp_path):
        pass


@pytest.mark.parametrize("content", ["", "null", "[1]", '{"pid": null}', "{torn", "\x1b[2J"])
def test_what_the_file_says_need_not_be_true(content, tmp_path):
    with lock_workdir(tmp_path):
        (tmp_path / ".lock").write_text(content)
        with (
            pytest.raises(ValueError, match="in use by another process; wait"),
            lock_workdir(tmp_path),
        ):
            pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_without_locks_of_the_file_system_there_is_a_warning(code, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    warnings = []
    with lock_workdir(tmp_path, warnings.append):
        pass
    (warning,) = warnings
    assert f"{tmp_path} cannot be locked ({os.strerror(code)})" in warning


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"), lock_workdir(tmp_path / "nowhere"):
        pass
