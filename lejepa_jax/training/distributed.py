"""What one of several processes does for all of them."""

from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

_MESSAGE_BYTES = 2048


def run_on_first(action: Callable[[], object]) -> None:
    """Let the first process do something, while the others wait; all of them raise what it raises.

    Without this, the others would wait for one that has left.

    Args:
        action: Called by process 0 alone; it launches nothing on devices.

    Raises:
        ValueError: On every process, if the action raised a ValueError or an OSError on the first.

    Examples:
        >>> run_on_first(lambda: print("once"))
        once
    """
    if jax.process_count() == 1:
        action()
        return
    message = np.zeros(_MESSAGE_BYTES, np.uint8)
    raised: Exception | None = None
    if jax.process_index() == 0:
        try:
            action()
        except (ValueError, OSError) as error:
            raised = error
            text = (str(error) or type(error).__name__).encode(errors="replace")[:_MESSAGE_BYTES]
            message[: len(text)] = np.frombuffer(text, np.uint8)
    text = np.asarray(multihost_utils.broadcast_one_to_all(message)).astype(np.uint8).tobytes()
    if raised is not None:
        raise raised
    if text := text.rstrip(b"\0").decode(errors="replace"):
        raise ValueError(text)
