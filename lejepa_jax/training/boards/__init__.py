"""Where people look at the numbers of a run: TensorBoard, and services by name."""

from lejepa_jax.training.boards.names import LOGGERS, Board, check_loggers, open_board
from lejepa_jax.training.boards.services import TrackioBoard, WandbBoard
from lejepa_jax.training.boards.tensorboard import TensorBoard

__all__ = [
    "LOGGERS",
    "Board",
    "TensorBoard",
    "TrackioBoard",
    "WandbBoard",
    "check_loggers",
    "open_board",
]
