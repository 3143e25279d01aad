"""What checkpoints rest on: files, their checksums, damage, and whether arrays fit."""

from lejepa_jax.training.storage.attempts import Failure, attempt
from lejepa_jax.training.storage.damage import (
    Folders,
    set_aside,
    set_aside_damaged,
    set_aside_unread,
    steps_on_disk,
)
from lejepa_jax.training.storage.files import (
    checksums,
    describe_error,
    plain_path,
    read_checksums,
    read_regular,
    system_error,
    write_atomically,
)
from lejepa_jax.training.storage.fit import MisfitError, array_shapes, misfits, saved_shapes

__all__ = [
    "Failure",
    "Folders",
    "MisfitError",
    "array_shapes",
    "attempt",
    "checksums",
    "describe_error",
    "misfits",
    "plain_path",
    "read_checksums",
    "read_regular",
    "saved_shapes",
    "set_aside",
    "set_aside_damaged",
    "set_aside_unread",
    "steps_on_disk",
    "system_error",
    "write_atomically",
]
