"""Residual networks with a stem for photographs and one for small images."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from lejepa_jax.checks import check_choice
from lejepa_jax.nn.layers import check_images, check_sizes
from lejepa_jax.nn.normalization import batch_norm, normalize
from lejepa_jax.statistics.reductions import AxisName

# depth: (blocks a stage, whether they are bottlenecks)
_DEPTHS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


def _conv(
    in_features: int,
    out_features: int,
    size: int,
    stride: int,
    *,
    dtype: DTypeLike,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    # Padding is explicit: "SAME" would pad a strided convolution on the right only, and shift the
    # maps by half a pixel against the published networks.
    half = size // 2
    return nnx.Conv(
        in_features,
        out_features,
        (size, size),
        strides=(stride, stride),
        padding=((half, half), (half, half)),
        use_bias=False,
        kernel_init=nnx.initializers.variance_scaling(2.0, "fan_out", "normal"),
        dtype=dtype,
        rngs=rngs,
    )


def _halve(x: Float[Array, "b h w c"]) -> Float[Array, "b i j c"]:
    """Average 2x2 pixels; where a side is odd, the last ones are averaged over what there is."""
    edges = tuple((0, side % 2) for side in x.shape[1:3])
    plan: Any = {"window_shape": (2, 2), "strides": (2, 2), "padding": edges}
    return nnx.avg_pool(x, **plan, count_include_pad=False)


class ResidualBlock(nnx.Module):
    """Two 3x3 convolutions, or a 1x1 - 3x3 - 1x1 bottleneck, beside a shortcut.

    Args:
        in_features: Channels that come in.
        out_features: Channels that go out, four times the inner width in a bottleneck.
        stride: Stride of the first 3x3 convolution ("version 1.5" of the bottleneck) and of the
            shortcut.
        bottleneck: Which of the two.
        zero_init_residual: Whether the last gain starts at zero, the block at its shortcut.
        average_shortcut: Whether a shortcut averages 2x2 pixels where the block has a stride,
            instead of dropping three of four.
        dtype: Type in which the convolutions compute.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        stride: int,
        *,
        bottleneck: bool,
        zero_init_residual: bool,
        average_shortcut: bool = False,
        dtype: DTypeLike,
        axis_name: AxisName | None,
        rngs: nnx.Rngs,
    ):
        if bottleneck:
            inner = out_features // 4
            plan = [
                (in_features, inner, 1, 1),
                (inner, inner, 3, stride),
                (inner, out_features, 1, 1),
            ]
        else:
            plan = [(in_features, out_features, 3, stride), (out_features, out_features, 3, 1)]
        zeros, ones = nnx.initializers.zeros, nnx.initializers.ones
        self.convs = nnx.List(_conv(*shape, dtype=dtype, rngs=rngs) for shape in plan)
        self.norms = nnx.List(
            batch_norm(
                shape[1],
                scale_init=zeros if zero_init_residual and shape is plan[-1] else ones,
                axis_name=axis_name,
                rngs=rngs,
            )
            for shape in plan
        )
        projects = stride != 1 or in_features != out_features
        self.averages = average_shortcut and stride != 1
        self.shortcut = (
            _conv(
                in_features,
                out_features,
                1,
                1 if self.averages else stride,
                dtype=dtype,
                rngs=rngs,
            )
            if projects
            else None
        )
        self.shortcut_norm = (
            batch_norm(out_features, axis_name=axis_name, rngs=rngs) if projects else None
        )

    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b i j e"]:
        """Add the branch to the shortcut; BatchNorm uses this batch when `train`."""
        residual = x
        if self.shortcut is not None and self.shortcut_norm is not None:
            if self.averages:
                residual = _halve(x)
            residual = normalize(self.shortcut_norm, self.shortcut(residual), train=train)
        *inner, last = zip(self.convs, self.norms, strict=True)
        for conv, norm in inner:
            x = jax.nn.relu(normalize(norm, conv(x), train=train))
        conv, norm = last
        return jax.nn.relu(normalize(norm, conv(x), train=train) + residual)


class ResNet(nnx.Module):
    """Residual network over images; its features are the mean of the last map, or all of it.

    Activations between layers are of type `dtype`; parameters, BatchNorm and the final mean are
    float32. The published networks are made by `resnet`; other stages give small ones.

    Args:
        stage_sizes: Blocks in each stage. Every stage but the first halves the map.
        stage_widths: Channels out of each stage; by default `width` doubles from stage to stage
            (times 4 with bottlenecks).
        width: Channels of the stem.
        bottleneck: Whether blocks are bottlenecks.
        stem: "imagenet" is a 7x7 convolution of stride 2 and a 3x3 max-pool of stride 2; "deep" has
            three 3x3 convolutions instead of the first, the inner ones half as wide; "small" is
            one 3x3 convolution of stride 1, for images of some 32 pixels.
        average_shortcut: Whether shortcuts average 2x2 pixels where they halve the map. With "deep"
            this is ResNet-D.
        in_channels: Channels of the images.
        pooling: "mean" of the last map, for images of any size; "flatten" hands on the whole map,
            which keeps where things are, as for centered letters or digits.
        image_size: Side of the images, needed for "flatten".
        zero_init_residual: Whether each residual branch starts at zero.
        dtype: Type in which the convolutions compute.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.

    Raises:
        ValueError: If `stem` or `pooling` is unknown, a size is not positive, `image_size` is
            missing, `stage_widths` has another length than `stage_sizes`, or a bottleneck's width
            is not divisible by 4.

    Examples:
        >>> def encode(images):
        ...     encoder = ResNet(stage_sizes=(1, 1), width=8, stem="small", rngs=nnx.Rngs(0))
        ...     return encoder(images)
        >>> jax.eval_shape(encode, jnp.ones((2, 8, 8, 3))).shape
        (2, 16)

    References:
        K. He et al., "Deep Residual Learning for Image Recognition", arXiv 1512.03385, 2015,
        table 1.
        P. Goyal et al., "Accurate, Large Minibatch SGD", arXiv 1706.02677, 2017, section 5.1 (the
        stride in the 3x3 convolution, the zero gain).
    """

    def __init__(
        self,
        *,
        stage_sizes: Sequence[int],
        stage_widths: Sequence[int] | None = None,
        width: int = 64,
        bottleneck: bool = False,
        stem: str = "imagenet",
        in_channels: int = 3,
        pooling: str = "mean",
        image_size: int | None = None,
        average_shortcut: bool = False,
        zero_init_residual: bool = True,
        dtype: DTypeLike = jnp.float32,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes(width=width, in_channels=in_channels)
        if image_size is not None:
            check_sizes(image_size=image_size)
        check_choice("stem", stem, ("imagenet", "deep", "small"))
        check_choice("pooling", pooling, ("mean", "flatten"))
        if pooling == "flatten" and image_size is None:
            raise ValueError('image_size must be given with pooling="flatten", got None')
        if stage_widths is None:
            expansion = 4 if bottleneck else 1
            stage_widths = [width * expansion * 2**stage for stage in range(len(stage_sizes))]
        if len(stage_widths) != len(stage_sizes) or not stage_sizes:
            raise ValueError(
                f"stage_widths must name one width for each of the {len(stage_sizes)} stages (at "
                f"least one), got {tuple(stage_widths)}"
            )
        for stage, (count, out) in enumerate(zip(stage_sizes, stage_widths, strict=True)):
            # The first stage halves nothing: it may have no block.
            check_sizes(stage_sizes=count + (stage == 0), stage_widths=out)
        if bottleneck and any(out % 4 for out in stage_widths):
            raise ValueError(
                f"stage_widths must be divisible by 4 with bottlenecks, got {tuple(stage_widths)}"
            )
        self.in_channels = in_channels
        self.pooling = pooling
        self.stage_sizes = tuple(stage_sizes)
        self.average_shortcut = average_shortcut
        self.image_size = image_size
        self.features = stage_widths[-1]
        if image_size is not None and pooling == "flatten":
            halvings = len(stage_sizes) - 1 + (0 if stem == "small" else 2)
            self.features *= (-(-image_size // 2**halvings)) ** 2
        self.pool = stem != "small"
        if stem == "deep":
            if width % 2:
                raise ValueError(f'width must be even with stem="deep", got {width}')
            inner = (in_channels, width // 2, width // 2)
            self.deep_stem = nnx.List(
                _conv(before, after, 3, stride, dtype=dtype, rngs=rngs)
                for before, after, stride in zip(inner, inner[1:], (2, 1), strict=False)
            )
            self.deep_norms = nnx.List(
                batch_norm(after, axis_name=axis_name, rngs=rngs) for after in inner[1:]
            )
        plan = {"imagenet": (in_channels, 7, 2), "deep": (width // 2, 3, 1)}
        before, size, stride = plan.get(stem, (in_channels, 3, 1))
        self.stem = _conv(before, width, size, stride, dtype=dtype, rngs=rngs)
        self.deep = stem == "deep"
        self.stem_norm = batch_norm(width, axis_name=axis_name, rngs=rngs)
        blocks = []
        for stage, (count, out) in enumerate(zip(stage_sizes, stage_widths, strict=True)):
            for block in range(count):
                blocks.append(
                    ResidualBlock(
                        width,
                        out,
                        2 if stage > 0 and block == 0 else 1,
                        bottleneck=bottleneck,
                        zero_init_residual=zero_init_residual,
                        average_shortcut=average_shortcut,
                        dtype=dtype,
                        axis_name=axis_name,
                        rngs=rngs,
                    )
                )
                width = out
        self.blocks = nnx.List(blocks)

    def patch_features(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> Float[Array, "b gh gw d"]:
        """Compute the last feature map, before the mean.

        Args:
            images: Normalized images.
            train: Whether BatchNorm uses this batch and updates its running statistics.

        Returns:
            The map in float32.

        Raises:
            ValueError: If the images are integers, have no batch axis or another number of channels
                than `in_channels`.
        """
        check_images(images, self.in_channels)
        x = images
        if self.deep:
            for conv, norm in zip(self.deep_stem, self.deep_norms, strict=True):
                x = jax.nn.relu(normalize(norm, conv(x), train=train))
        x = jax.nn.relu(normalize(self.stem_norm, self.stem(x), train=train))
        if self.pool:
            # An operation of its own: a padding of the pooling is lost on the way to ONNX.
            edges = ((0, 0), (1, 1), (1, 1), (0, 0))
            x = jnp.pad(x, edges, constant_values=-jnp.inf)
            x = nnx.max_pool(x, window_shape=(3, 3), strides=(2, 2))
        for block in self.blocks:
            x = block(x, train=train)
        if x.dtype != jnp.float32:
            # XLA of jax 0.12 on CPUs compiles two bfloat16 convolutions, a sum and a mean into one
            # operation that returns garbage (NaN too); the mean is kept out of it.
            x = jax.lax.optimization_barrier(x)
        return x.astype(jnp.float32)

    def __call__(
        self,
        images: Float[Array, "b h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b d"]:
        """Encode images.

        Args:
            images: Normalized images.
            train: Whether BatchNorm uses this batch and updates its running statistics.
            keys: Ignored: nothing in this encoder is random. It is here so that all encoders are
                called alike.

        Returns:
            One feature vector an image, in float32.

        Raises:
            ValueError: If the images are integers, have no batch axis or another number of channels
                than `in_channels`, or another side than `image_size` where the map is flattened.
        """
        x = self.patch_features(images, train=train)
        if self.pooling == "mean":
            return x.mean((1, 2))
        x = x.reshape(x.shape[0], -1)
        if x.shape[1] != self.features:
            raise ValueError(
                f"images must have the side of image_size = {self.image_size}, got {images.shape}"
            )
        return x


def resnet(depth: int = 18, *, rngs: nnx.Rngs, **options: Any) -> ResNet:
    """Make a published residual network without its classifier.

    Args:
        depth: 18 or 34 (features of width 512), or 50, 101 or 152 with bottlenecks (2048).
        rngs: Source of the initial parameters.
        **options: Further arguments of `ResNet`, such as `stem`, `width`, `dtype`, `axis_name`.

    Returns:
        The encoder; its `features` is the width of what it returns.

    Raises:
        ValueError: If `depth` is none of these.

    Examples:
        >>> nnx.eval_shape(lambda: resnet(18, rngs=nnx.Rngs(0))).features
        512

    References:
        K. He et al., "Deep Residual Learning for Image Recognition", arXiv 1512.03385, 2015,
        table 1.
        T. He et al., "Bag of Tricks for Image Classification", arXiv 1812.01187, 2018, figure 2
        (ResNet-D: `stem="deep", average_shortcut=True`).
    """
    if depth not in _DEPTHS:
        raise ValueError(f"depth must be one of {', '.join(map(str, _DEPTHS))}, got {depth}")
    stage_sizes, bottleneck = _DEPTHS[depth]
    return ResNet(**{"stage_sizes": stage_sizes, "bottleneck": bottleneck, **options}, rngs=rngs)
