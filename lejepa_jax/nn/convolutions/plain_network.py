"""A small convolutional network that keeps where things are, for frames of games and robots."""

import itertools
import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from lejepa_jax.nn.layers import check_images, check_sizes, patchify
from lejepa_jax.statistics.reductions import AxisName

#: Widths of the maps of each size.
CONVNET_SIZES = MappingProxyType(
    {"tiny": (16, 32, 32), "small": (32, 64, 64, 64), "base": (64, 128, 128, 128)}
)


class ConvNet(nnx.Module):
    """Patches, then 3x3 convolutions of stride 2, and a linear map of the whole last map.

    Nothing is averaged over the image, so that the features say where things are. Nothing is
    normalized over the batch: the features of an example do not depend on the others.

    Args:
        widths: Channels of each map; every one but the first halves the sides, rounded up.
        features: Width of the feature vectors.
        patch_size: Side of the patches that a linear map turns into the first map.
        norm_groups: Groups of channels that GroupNorm normalizes together after each map, or 0 for
            no norm.
        image_size: Side of the images, or height and width.
        in_channels: Channels of the images.
        dtype: Type in which the layers compute; norms and features are float32.
        axis_name: Ignored: nothing in this encoder looks across the batch.
        rngs: Source of the initial parameters.

    Raises:
        ValueError: If a size is not positive, patches do not tile the images, or the groups do not
            divide a width.

    Examples:
        >>> def encode(images):
        ...     encoder = ConvNet(widths=(8, 16), features=4, image_size=16, rngs=nnx.Rngs(0))
        ...     return encoder(images)
        >>> jax.eval_shape(encode, jnp.ones((2, 16, 16, 3))).shape
        (2, 4)
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = CONVNET_SIZES["small"],
        features: int = 128,
        patch_size: int = 4,
        norm_groups: int = 0,
        image_size: int | tuple[int, int] = 64,
        in_channels: int = 3,
        dtype: DTypeLike = jnp.float32,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        del axis_name
        check_sizes(features=features, patch_size=patch_size, in_channels=in_channels)
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        check_sizes(
            image_size=min(height, width), **{f"widths[{i}]": w for i, w in enumerate(widths)}
        )
        if height % patch_size or width % patch_size:
            raise ValueError(
                f"image_size must be a multiple of patch_size={patch_size} a side, "
                f"got {height} x {width}"
            )
        if norm_groups < 0 or (norm_groups and any(w % norm_groups for w in widths)):
            raise ValueError(
                f"norm_groups must divide every width of {tuple(widths)}, got {norm_groups}"
            )
        self.features, self.in_channels, self.patch_size = features, in_channels, patch_size
        self.image_size, self.norm_groups = (height, width), norm_groups
        self.patches = nnx.Linear(
            patch_size * patch_size * in_channels, widths[0], dtype=dtype, rngs=rngs
        )
        self.convs = nnx.List(
            nnx.Conv(
                before,
                after,
                (3, 3),
                strides=(2, 2),
                padding=((1, 1), (1, 1)),
                kernel_init=nnx.initializers.he_normal(),
                dtype=dtype,
                rngs=rngs,
            )
            for before, after in itertools.pairwise(widths)
        )
        self.norms = nnx.List(
            nnx.GroupNorm(w, norm_groups, dtype=jnp.float32, rngs=rngs)
            for w in (widths if norm_groups else ())
        )
        rows, columns = height // patch_size, width // patch_size
        for _ in self.convs:
            rows, columns = -(-rows // 2), -(-columns // 2)
        self.last = nnx.Linear(rows * columns * widths[-1], features, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        images: Float[Array, "b h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b d"]:
        """Encode images.

        Args:
            images: Normalized images of the size that the encoder was made for.
            train: Changes nothing.
            keys: Ignored: nothing is random.

        Returns:
            The features, in float32.

        Raises:
            ValueError: If the images are integers, or of another shape.
        """
        del train, keys
        check_images(images, self.in_channels)
        if images.shape[1:3] != self.image_size:
            height, width = self.image_size
            raise ValueError(
                f"images must be {height} x {width} pixels, got {images.shape[1]} x "
                f"{images.shape[2]}"
            )
        x = self._activate(self.patches(patchify(images, self.patch_size)), 0)
        for index, conv in enumerate(self.convs):
            x = self._activate(conv(x), index + 1)
        x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        return self.last(x).astype(jnp.float32)

    def _activate(self, x: Array, index: int) -> Array:
        if self.norm_groups:
            x = self.norms[index](x).astype(x.dtype)
        return jax.nn.relu(x)


def convnet(size: str = "small", *, rngs: nnx.Rngs, **options: Any) -> ConvNet:
    """Make a `ConvNet` of a size.

    Args:
        size: A name in `CONVNET_SIZES`.
        rngs: Source of the initial parameters.
        **options: Further arguments of `ConvNet`.

    Returns:
        The encoder.

    Examples:
        >>> nnx.eval_shape(lambda: convnet("tiny", features=8, rngs=nnx.Rngs(0))).features
        8
    """
    return ConvNet(**{"widths": CONVNET_SIZES[size], **options}, rngs=rngs)
