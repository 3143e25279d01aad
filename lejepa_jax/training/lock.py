"""One run to a folder: a lock that the system gives back however a process ends."""

import contextlib
import errno
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

from lejepa_jax.training.storage.files import describe_error

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None

_NAME = ".lock"


@contextlib.contextmanager
def lock_workdir(workdir: Path, warn: Callable[[str], None] = logging.warning) -> Iterator[None]:
    """Hold the folder of a run, so that no second run writes into it.

    The first of several processes holds it for all of them; in the others nothing happens, and
    `agree_on_errors` around the call lets them know. The lock belongs to an open file (`flock`), so
    the kernel releases it when the process ends, also by `kill -9`. Children of the process do not
    keep it.

    Args:
        workdir: The folder, which must exist.
        warn: Called with a line where the file system has no locks; the run goes on without.

    Yields:
        Nothing.

    Raises:
        ValueError: If another process holds the folder; names it and its host.
        OSError: If the file of the lock cannot be opened.

    Examples:
        >>> import tempfile
        >>> with lock_workdir(Path(tempfile.mkdtemp())):
        ...     print("mine")
        mine
    """
    with _locked(workdir / _NAME, warn) if jax.process_index() == 0 else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _locked(path: Path, warn: Callable[[str], None]) -> Iterator[None]:
    descriptors = [os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)]

    def release() -> None:
        while descriptors:
            os.close(descriptors.pop())

    if hasattr(os, "register_at_fork"):
        # A child that lives on after its parent was killed would hold the lock otherwise.
        os.register_at_fork(after_in_child=release)
    try:
        if _take(descriptors[0], path.parent, warn):
            _write(descriptors[0], {"pid": os.getpid(), "host": socket.gethostname()})
        yield
        _write(descriptors[0], None)
    finally:
        release()


def _take(descriptor: int, workdir: Path, warn: Callable[[str], None]) -> bool:
    """Lock an open file; returns whether the file system can."""
    try:
        if fcntl is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES):
            raise ValueError(
                f"{workdir} is in use by {_holder(descriptor)}; wait until it has ended, or choose "
                "another --workdir"
            ) from None
        warn(
            f"{workdir} cannot be locked ({describe_error(error)}): do not start a second run in it"
        )
        return False
    return True


def _holder(descriptor: int) -> str:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(found['pid'])} on {str(found['host'])[:80]!r}"
    return "another process"


def _write(descriptor: int, holder: dict[str, object] | None) -> None:
    """Say who holds the lock, for the message of whoever comes second; not needed for the lock."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        if holder is not None:
            os.pwrite(descriptor, json.dumps(holder).encode(), 0)
