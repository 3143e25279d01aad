"""What one of several processes does for all of them."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax._src import distributed as jax_distributed

from lejepa_jax.training.errors import UsageError

# Longest time that a process waits for the others to read their data, or to compile.
_TIMEOUT_MS = 2 * 3600 * 1000
# Numbers the exchanges of this process, which are those of every other.
_EXCHANGES = itertools.count()


@contextlib.contextmanager
def agree_on_errors() -> Iterator[None]:
    """Let all processes know what went wrong in any of them, before they wait for each other.

    Every process enters and leaves it at the same point; with one process it does nothing.

    Raises:
        ValueError: In every process, if a `ValueError` or an `OSError` was raised in one of them:
            where it was raised, that error itself.
    """
    if jax.process_count() == 1:
        yield
        return
    raised: Exception | None = None
    try:
        yield
    except (ValueError, OSError) as error:
        raised = error
    texts = exchange_texts("" if raised is None else str(raised) or type(raised).__name__)
    if raised is not None:
        raise raised
    for number, other in enumerate(texts):
        if other:
            raise UsageError(f"process {number}: {other}")


def exchange_texts(text: str) -> list[str]:
    """Tell all processes something, and learn what they say.

    Every process calls it at the same point. It is no collective of devices: those give up on a
    process that comes more than 30 s later, as one may that reads its data for longer.

    Args:
        text: What this process says.

    Returns:
        What each process says, the first one first.

    Raises:
        JaxRuntimeError: If one has said nothing for two hours.

    Examples:
        >>> exchange_texts("ready")
        ['ready']
    """
    if jax.process_count() == 1:
        return [text]
    client: Any = jax_distributed.global_state.client
    place = f"lejepa_jax/exchange/{next(_EXCHANGES)}"
    # An empty value could not be distinguished from a missing one.
    client.key_value_set(f"{place}/{jax.process_index()}", f"={text}")
    return [_wait_for(client, f"{place}/{n}")[1:] for n in range(jax.process_count())]


def _wait_for(client: Any, key: str) -> str:
    """Read what another process writes, a second at a time, so that Ctrl-C is heard."""
    deadline = time.monotonic() + _TIMEOUT_MS / 1000
    while True:
        try:
            return client.blocking_key_value_get(key, 1000)
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error) or time.monotonic() > deadline:
                raise


def run_on_first(action: Callable[[], object]) -> None:
    """Let the first process do something, while the others wait; if it fails, all of them raise.

    Without this, the others would wait for one that has left.

    Args:
        action: Called by process 0 alone; it launches nothing on devices.

    Raises:
        ValueError: As `agree_on_errors`.

    Examples:
        >>> run_on_first(lambda: print("once"))
        once
    """
    with agree_on_errors():
        if jax.process_index() == 0:
            action()


def compile_together(step: Any, *args: Any) -> Any:
    """Compile a step in every process before any of them runs it.

    The first collective of a process that compiles faster would give up on the others after 30 s.

    Args:
        step: A function made by `jax.jit`, which keeps what is compiled here for its first call.
        *args: What it will be called with.

    Returns:
        The compiled program.
    """
    compiled = step.lower(*args).compile()
    if jax.process_count() > 1:
        client: Any = jax_distributed.global_state.client
        client.wait_at_barrier("lejepa_jax/step is compiled", _TIMEOUT_MS)
    return compiled


class AgreeingBarrier:
    """A barrier for background threads at which processes learn that another one has failed.

    A process that could not write its part of a checkpoint goes past barriers where the others
    still wait for it. Here each says at which barrier it is: where they differ, those that are at
    an earlier one raise, and the one ahead waits until they have caught up. It has the signature of
    `orbax.checkpoint.AsyncOptions.barrier_sync_fn`, and no two threads of a process use it at once.

    All processes make it at the same point of the program.

    Args:
        last: Part of the names of barriers that every process comes to, also after a failure.
    """

    def __init__(self, last: str):
        # The store of keys and values of JAX, which has no public name. Unlike a collective, it may
        # be used beside the training.
        self._client: Any = jax_distributed.global_state.client
        self._last = last
        self._round = 0
        number = exchange_texts(str(time.time_ns()))[0]
        self._prefix = f"lejepa_jax/barrier/{number}"

    def __call__(self, *, key: str, timeout_ms: int) -> None:
        """Wait for the other processes; raises RuntimeError if one has failed before this."""
        if jax.process_count() == 1:
            return
        while True:
            mine = self._key(self._round, jax.process_index())
            self._client.key_value_set(mine, key)
            others = [
                self._client.blocking_key_value_get(self._key(self._round, process), timeout_ms)
                for process in range(jax.process_count())
            ]
            if self._round:  # all are in this round, and have read those of the round before
                self._client.key_value_delete(self._key(self._round - 1, jax.process_index()))
            self._round += 1
            if len(set(others)) == 1:
                return
            if self._last not in key:
                number = next(i for i, other in enumerate(others) if other != key)
                raise RuntimeError(f"process {number} could not write its part")

    def _key(self, number: int, process: int) -> str:
        return f"{self._prefix}/{number}/{process}"
