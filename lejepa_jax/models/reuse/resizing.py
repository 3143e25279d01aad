"""Weights for other sizes: of images, of patches, of another number of channels or axes."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from lejepa_jax.nn.transformers.patch_tokens import PatchTokens
from lejepa_jax.nn.transformers.positions import resize_table

# Linear maps of patches, flattened (row, column, channel), and convolutions of images.
_PATCHES = ("encoder.patch_embedding.kernel", "encoder.reduce.0.kernel")
_STEMS = ("encoder.stem.kernel",)
_TABLE, _CODES = "encoder.position_table", "encoder.channel_codes"
_POSITIONS = "encoder.position_params."


def resize_patches(
    kernel: Float[np.ndarray, "p p c w"], side: int, channels: int
) -> Float[np.ndarray, "{side} {side} {channels} w"]:
    r"""Resize a linear map of patches to patches of another side, or of another number of channels.

    With :math:`B` the matrix that resizes a patch bilinearly, the new map is
    :math:`(B^\top)^+ w`: of a patch that was enlarged it gives what the old one gave of the patch.
    Gray images give what they gave as RGB images with three equal channels, and the other way.

    Args:
        kernel: The old map.
        side: Of the new patches.
        channels: Of the new images.

    Returns:
        The new map.

    Examples:
        >>> old = np.ones((2, 2, 3, 1), np.float32)
        >>> resize_patches(old, 2, 1)[0, 0]
        array([[3.]], dtype=float32)

    References:
        L. Beyer et al., "FlexiViT: One Model for All Patch Sizes", arXiv 2212.08013, 2022,
        section 3.4.
    """
    p, _, c, w = kernel.shape
    if c != channels:
        mean = kernel.sum(2, keepdims=True) / channels
        kernel = np.repeat(mean, channels, axis=2)
    if side != p:
        basis = np.eye(p * p, dtype=np.float32).reshape(p * p, p, p)
        shape = (p * p, side, side)
        resized = np.asarray(jax.image.resize(basis, shape, "bilinear", antialias=False))
        inverse = np.linalg.pinv(resized.reshape(p * p, side * side).astype(np.float64))
        flat = inverse @ kernel.reshape(p * p, -1).astype(np.float64)
        kernel = flat.reshape(side, side, channels, w)
    return kernel.astype(np.float32)


def inflate_patches(
    kernel: Float[np.ndarray, "*sides c w"], depths: tuple[int, ...]
) -> Float[np.ndarray, "*more c w"]:
    r"""Inflate a linear map of patches to patches with further axes in front.

    With :math:`d` samples along the new axes together, :math:`w'_{ijk} = w_{jk} / d`: a patch that
    is constant along the new axes gives what the old map gave of one slice.

    Args:
        kernel: The old map.
        depths: Sides of the new patches along the new axes.

    Returns:
        The new map.

    Examples:
        >>> inflate_patches(np.ones((2, 2, 1, 1), np.float32), (4,))[:, 0, 0, 0, 0].tolist()
        [0.25, 0.25, 0.25, 0.25]

    References:
        J. Carreira, A. Zisserman, "Quo Vadis, Action Recognition?", arXiv 1705.07750, 2017, section
        2.4 (inflating 2D ConvNets into 3D).
    """
    return np.broadcast_to(kernel / math.prod(depths), (*depths, *kernel.shape)).astype(np.float32)


def more_axes(old: Any, new: Any) -> int:
    """Count the axes that a network has more than a model; 0 where one of them is no transformer.

    Args:
        old: Encoder of the model, maybe with shapes in place of arrays.
        new: Encoder of the network.

    Returns:
        How many, 0 for as many or fewer.
    """
    if isinstance(old, PatchTokens) and isinstance(new, PatchTokens):
        return max(new.num_axes - old.num_axes, 0)
    return 0


def resize_array(
    name: str, array: np.ndarray, shape: tuple[int, ...], old: Any, new: Any
) -> np.ndarray | None:
    """Resize an array that depends on the sizes of images, or on how many axes they have.

    Where the network has more axes than the model, those in front are new: the map of patches is
    inflated, a table of positions is repeated along them, and frequencies and generators that an
    encoding learns for each axis are zero for them. An input that is constant along the new axes
    then gives the features that a slice gave: with mean pooling and no registers, for a class or
    register token is outvoted by more patches; and with positions "none", "learned", or an encoding
    that learns such parameters. Encodings with fixed frequencies share their channels out anew.

    Args:
        name: Of the array, in a model.
        array: The array.
        shape: What is wanted.
        old: Encoder of the model, maybe with shapes in place of arrays.
        new: Encoder of the network.

    Returns:
        The array of that shape; None where nothing is known to do.
    """
    if array.shape[-1:] != shape[-1:]:
        return None
    if name == _TABLE:
        before, after = math.prod(old.grid), math.prod(new.grid)
        prefix = array.shape[0] - before
        if prefix != shape[0] - after:
            return None
        moved = _resize_grid(array[prefix:].reshape(*old.grid, -1), new.grid)
        return np.concatenate([array[:prefix], moved.reshape(after, -1)])
    if name == _CODES:
        rest = np.broadcast_to(array.mean(0), (max(shape[0] - len(array), 0), shape[1]))
        return np.concatenate([array[: shape[0]], rest])
    if name.startswith(_POSITIONS) and more_axes(old, new):
        return _inflate_positions(array, shape, new)
    if name in _STEMS and array.shape[:2] == shape[:2] and {array.shape[2], shape[2]} == {1, 3}:
        return resize_patches(array, shape[0], shape[2]) if shape[0] == shape[1] else None
    if name in _PATCHES and array.ndim == len(shape) == 2:
        return _resize_map(array, shape, old, new)
    return None


def _resize_grid(table: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Resize a table along the axes that it has, and repeat it along new ones in front."""
    inner = grid[len(grid) - (table.ndim - 1) :]
    moved = np.asarray(resize_table(jnp.asarray(table), tuple(inner)))
    return np.broadcast_to(moved, (*grid, table.shape[-1]))


def _inflate_positions(array: np.ndarray, shape: tuple[int, ...], new: Any) -> np.ndarray | None:
    """Give what an encoding learns for a new axis: nothing is rotated along it."""
    if array.ndim < len(shape):  # a table (sets *grid w)
        return np.stack([_resize_grid(one, shape[1:-1]) for one in array])
    if array.ndim != len(shape) or array.shape[:1] + array.shape[2:] != shape[:1] + shape[2:]:
        return None
    zeros = np.zeros((shape[0], shape[1] - array.shape[1], *shape[2:]), array.dtype)
    # Coordinates are columns, rows, depth, unless the network says otherwise.
    first = isinstance(new.coordinates, str) and "'ij'" in new.coordinates.replace('"', "'")
    return np.concatenate([zeros, array] if first else [array, zeros], 1)


def _resize_map(array: np.ndarray, shape: tuple[int, ...], old: Any, new: Any) -> np.ndarray | None:
    """Resize and inflate a map of patches."""
    (sides, channels), (wanted, target) = _sides(old, len(array)), _sides(new, shape[0])
    if math.prod(sides) * channels != len(array) or math.prod(wanted) * target != shape[0]:
        return None
    depths, inner = wanted[: len(wanted) - len(sides)], wanted[len(wanted) - len(sides) :]
    kernel = array.reshape(*sides, channels, -1)
    if inner != sides or channels != target:
        square = len(sides) == len(inner) == 2 and len({*sides}) == len({*inner}) == 1
        if not square or (channels != target and {channels, target} != {1, 3}):
            return None
        kernel = resize_patches(kernel, inner[0], target)
    return inflate_patches(kernel, depths).reshape(shape)


def _sides(encoder: Any, rows: int) -> tuple[tuple[int, ...], int]:
    """Give the sides of the patches of a map, and the channels in a row of it."""
    if isinstance(encoder, PatchTokens):
        return encoder.patch_sides, encoder.in_channels if encoder.channel_codes is None else 1
    side = round((rows / encoder.in_channels) ** 0.5)
    return (side, side), encoder.in_channels
