"""Files that are whole or not there, their checksums, and what a system says when it fails."""

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import tempfile
import weakref
import zlib
from collections.abc import Callable
from pathlib import Path

_CHUNK = 2**24
# What Python's own exceptions stand for where they carry no code.
_CODES = {
    MemoryError: errno.ENOMEM,
    PermissionError: errno.EACCES,
    TimeoutError: errno.ETIMEDOUT,
}
# Ending of a file that is being written; one that is left behind by a killed process is garbage.
PARTIAL = ".partial"
# Characters with a meaning in the patterns that orbax makes of paths (`*`, `?`, `[`), and the one
# that tensorstore takes for a separator of folders.
_SPECIAL = re.compile(r"[*?\[\\]")


def write_atomically(path: Path, text: str | bytes) -> None:
    """Write a file so that whoever reads it finds the old content or the new one, never a part.

    Args:
        path: The file.
        text: Its new content.

    Raises:
        OSError: If it cannot be written; the old file is still there, and nothing else.

    Examples:
        >>> path = Path(tempfile.mkdtemp()) / "results.json"
        >>> write_atomically(path, "{}")
        >>> path.read_text(), len(list(path.parent.iterdir()))
        ('{}', 1)
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def read_regular(path: Path) -> str:
    """Read a text file, and only a file: opening a pipe would wait for someone who writes.

    Args:
        path: The file; undecodable bytes in it are replaced.

    Returns:
        Its content.

    Raises:
        OSError: If there is no such file, or it cannot be read.

    Examples:
        >>> path = Path(tempfile.mkdtemp()) / "text"
        >>> _ = path.write_text("a")
        >>> read_regular(path)
        'a'
    """
    # Opened without waiting and then looked at, so that nothing changes in between.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, errors="replace") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return file.read()


def checksums(folder: Path) -> dict[str, int]:
    """CRC-32 of each file below a folder.

    Args:
        folder: Where to look, to any depth.

    Returns:
        Checksums by relative path.

    Raises:
        OSError: If a file cannot be read.

    Examples:
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a").write_bytes(b"123456789")
        >>> {name: hex(value) for name, value in checksums(folder).items()}
        {'a': '0xcbf43926'}
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            value = 0
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    value = zlib.crc32(chunk, value)
            found[str(path.relative_to(folder))] = value
    return found


def read_checksums(path: Path) -> dict[str, int] | None:
    """Read a record of checksums.

    Args:
        path: The file, as JSON.

    Returns:
        Checksums by relative path; None without a record that can be read, which says nothing
        about the files themselves.

    Examples:
        >>> read_checksums(Path("/nowhere"))
    """
    try:
        found = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not found:
        return None
    return found if all(type(value) is int for value in found.values()) else None


def plain_path(folder: Path, owner: object) -> tuple[Path, Callable[[], object]]:
    """Give a folder a path without characters that libraries take for patterns or separators.

    Args:
        folder: An existing folder.
        owner: What uses the path: with it, or with the process, the path goes away.

    Returns:
        The folder itself if its path is plain, or else a link to it in a private folder for
        temporary files; and a function that removes the link.

    Raises:
        ValueError: If no such link can be made.

    Examples:
        >>> odd = Path(tempfile.mkdtemp()) / "exp[1]"
        >>> odd.mkdir()
        >>> path, remove = plain_path(odd, plain_path)
        >>> path.samefile(odd), "[" in str(path)
        (True, False)
        >>> _ = remove()
        >>> path.exists(), odd.exists()
        (False, True)
    """
    if _is_plain(folder):
        return folder, lambda: None
    try:
        private = Path(tempfile.mkdtemp(prefix="lejepa-jax-")).absolute()
        # It unlinks the link, and leaves what it points to.
        remove = weakref.finalize(owner, shutil.rmtree, private, ignore_errors=True)
        link = private / "folder"
        link.symlink_to(folder.absolute(), target_is_directory=True)
    except OSError as error:
        raise ValueError(
            f"workdir must have a path without *, ?, [ and \\ where links cannot be made "
            f"({describe_error(error)}), got {folder}"
        ) from None
    if not _is_plain(link):
        remove()
        raise ValueError(
            f"the folder of temporary files must have a path without *, ?, [ and \\ if workdir "
            f"has one of them, got {private.parent} and {folder}"
        )
    return link, remove


def _is_plain(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:  # a name that is no text in UTF-8
        return False
    return not _SPECIAL.search(str(path))


def system_error(error: BaseException) -> int | None:
    """Code of the system's error, if that is what went wrong: tensorstore has it in its text.

    Args:
        error: Any exception.

    Returns:
        A number of `errno`; None if the system did what it was asked.

    Examples:
        >>> system_error(OSError(5, "Input/output error")), system_error(ValueError("no"))
        (5, None)
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause.errno
        if found := re.search(r"os_error_code='?(\d+)", str(cause)):
            return int(found[1])
        for kind, code in _CODES.items():
            if isinstance(cause, kind):
                return code
        cause = cause.__cause__
    return None


def describe_error(error: BaseException) -> str:
    r"""What the system said, or the first line of an error, which with tensorstore may be of 100.

    Args:
        error: Any exception.

    Returns:
        One line.

    Examples:
        >>> describe_error(OSError(28, "No space left on device", "/a/b"))
        'No space left on device'
        >>> describe_error(ValueError("first\nsecond"))
        'first'
    """
    code = system_error(error)
    if code is not None:
        return os.strerror(code)
    text = str(error).strip().splitlines()
    return (text[0][:160] if text else "") or type(error).__name__
