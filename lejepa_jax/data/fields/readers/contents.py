"""What one file of a field holds, and what all readers of files check."""

from typing import Any, NamedTuple

from lejepa_jax.data.fields.reading import FieldRequest


class FileContents(NamedTuple):
    """What a file holds.

    Attributes:
        values: Values (*space c), in their type; maybe memory-mapped.
        spacing: Distance of two samples along each axis, if the file states it.
    """

    values: Any
    spacing: tuple[float, ...] | None = None


def require_axes(request: FieldRequest, num_axes: int, what: str) -> None:
    """Refuse a file of another number of axes than was asked for.

    Raises:
        ValueError: If it is.
    """
    if request.num_axes != num_axes:
        raise ValueError(f"{what} has {num_axes} axes of space, not {request.num_axes}")


def check_size(num_bytes: int, request: FieldRequest) -> None:
    """Refuse a file that unpacks to too much.

    Raises:
        ValueError: If it does.
    """
    if num_bytes > request.options.file_limit:
        raise ValueError(
            f"it unpacks to {num_bytes} bytes, more than file_limit={request.options.file_limit}"
        )
