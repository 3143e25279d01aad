"""Reading that may fail, and leaves nothing behind when it does."""

import contextlib
import gc
import inspect
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from lejepa_jax.training.storage.files import describe_error, system_error

T = TypeVar("T")

_LATE_SECONDS = 0.1


class Failure(NamedTuple):
    """What went wrong: the code of the system's error if it was one, and a line."""

    code: int | None
    reason: str


def attempt(
    read: Callable[[], T], raises: Callable[[Exception], bool] = lambda _: False
) -> T | Failure:
    """Read through orbax, which reads many arrays at once in an event loop of its own.

    It closes the loop as soon as one of them fails. What was still being read ends in a closed
    loop, and would print traces at any later time: it is collected here, unseen.

    Args:
        read: What reads.
        raises: Which errors are raised on; all others become a `Failure`.

    Returns:
        What was read, or what went wrong.

    Examples:
        >>> attempt(lambda: 7)
        7
        >>> attempt(lambda: open("/nowhere/a"))
        Failure(code=2, reason='No such file or directory')
    """
    with _without_traces_of_coroutines():
        try:
            return read()
        except Exception as error:
            if raises(error):
                raise
            failure = Failure(system_error(error), describe_error(error))
        # The error is gone by now, and so are the frames that held on to what was being read.
        gc.collect()
        time.sleep(_LATE_SECONDS)
        return failure


@contextlib.contextmanager
def _without_traces_of_coroutines() -> Iterator[None]:
    before = sys.unraisablehook

    def pass_on(unraisable: "sys.UnraisableHookArgs") -> None:
        closed = "Event loop is closed" in str(unraisable.exc_value)
        if not closed and not inspect.iscoroutine(unraisable.object):
            before(unraisable)

    sys.unraisablehook = pass_on
    try:
        yield
    finally:
        sys.unraisablehook = before
