"""A run that is asked to stop does so after a step, saves, and says how to go on."""

import os
import signal
from collections.abc import Callable
from typing import Any

import jax
from jax.experimental import multihost_utils


class Stop:
    """Set by the first SIGTERM or Ctrl-C; the second ends the process at once.

    With several processes JAX listens for SIGTERM itself, and they agree on the step to stop at; a
    Ctrl-C in one of them is handed on as that.

    Args:
        notify: Called with a line when the first signal comes.
    """

    def __init__(self, notify: Callable[[str], None] = lambda line: None):
        self.signal: int | None = None
        self.notify = notify

    def __enter__(self) -> "Stop":
        listened = {signal.SIGINT}
        if jax.process_count() == 1:
            listened.add(signal.SIGTERM)
        self._before = {s: signal.signal(s, self._ask) for s in listened}
        return self

    def _ask(self, number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        self.notify("stopping after this step (again: at once, without saving)")
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)  # JAX takes it, and tells the others
        else:
            self.signal = number

    def asked(self, step: int) -> bool:
        """Whether to stop after this step; the same answer in all processes."""
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            self.signal = signal.SIGTERM
        return self.signal is not None

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
