"""Heads that make classes or parts of the description of clouds by any encoder here."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from lejepa_jax.nn.layers import dropout
from lejepa_jax.nn.normalization import BatchNorm
from lejepa_jax.statistics.reductions import AxisName
from pointcloud_jax.nn.encoder import Description
from pointcloud_jax.nn.layers import linear


class Classifier(nnx.Module):
    """An encoder and a multilayer perceptron on its descriptor.

    Args:
        encoder: A `PointEncoder`, or another module with `features` that is called alike.
        num_classes: Number of classes.
        hidden: Widths of the hidden layers.
        dropout_rate: After each of them.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.

    Examples:
        >>> from pointcloud_jax.nn.dgcnn import DGCNN
        >>> rngs = nnx.Rngs(0)
        >>> encoder = DGCNN((4,), embedding=8, k=3, rngs=rngs)
        >>> model = Classifier(encoder, 5, hidden=(6,), rngs=rngs)
        >>> jax.eval_shape(model, jnp.zeros((2, 9, 3))).shape
        (2, 5)
    """

    def __init__(
        self,
        encoder: Any,
        num_classes: int,
        *,
        hidden: tuple[int, ...] = (512, 256),
        dropout_rate: float = 0.5,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        widths = (encoder.features, *hidden)
        self.encoder = encoder
        self.layers = nnx.List(
            linear(before, after, rngs=rngs) for before, after in zip(widths, hidden, strict=False)
        )
        self.norms = nnx.List(BatchNorm(w, axis_name=axis_name, rngs=rngs) for w in hidden)
        self.output = linear(widths[-1], num_classes, rngs=rngs)
        self.dropout_rate = dropout_rate

    def __call__(
        self,
        points: Float[Array, "b n 3"],
        *,
        normals: Float[Array, "b n 3"] | None = None,
        mask: Bool[Array, "b n"] | None = None,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b classes"]:
        """Classify clouds.

        Args:
            points: The clouds.
            normals: Unit normals, if the encoder wants them.
            mask: True for points that exist.
            train: Whether BatchNorm uses this batch, and dropout is on.
            keys: One key a cloud, from its index in the global batch; to train with dropout.

        Returns:
            Logits, float32.

        Raises:
            ValueError: As the encoder, and if `keys` is missing.
        """
        encoded = self.encoder(points, normals=normals, mask=mask, train=train, keys=keys)
        return self.classify(encoded, train=train, keys=keys)

    def classify(
        self,
        x: Float[Array, "b d"],
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b classes"]:
        """Classify clouds by their descriptors."""
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = jax.nn.leaky_relu(norm(layer(x), train=train), 0.2)
            if train and self.dropout_rate > 0:
                x = dropout(x, keys, 1000 + index, self.dropout_rate)
        return self.output(x)


class Segmenter(nnx.Module):
    """An encoder and a multilayer perceptron on the description of each point and its cloud.

    The first layer acts on [cloud; point]. Its cloud part, most of it, is worked out once a cloud.

    Args:
        encoder: A `PointEncoder`, such as `DiPVNetParts` or `DGCNN`.
        num_parts: Number of parts over all categories.
        num_categories: Number of categories among which the category of each cloud is given, or 0.
        hidden: Widths of the hidden layers.
        dropout_rate: After each of them but the last.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.

    Examples:
        >>> from pointcloud_jax.nn.dgcnn import DGCNN
        >>> rngs = nnx.Rngs(0)
        >>> encoder = DGCNN((4,), embedding=8, k=3, rngs=rngs)
        >>> model = Segmenter(encoder, 5, hidden=(6,), rngs=rngs)
        >>> jax.eval_shape(model, jnp.zeros((2, 9, 3))).shape
        (2, 9, 5)
    """

    def __init__(
        self,
        encoder: Any,
        num_parts: int,
        *,
        num_categories: int = 0,
        hidden: tuple[int, ...] = (256, 256, 128),
        dropout_rate: float = 0.4,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        per_cloud = encoder.features + (64 if num_categories else 0)
        widths = (per_cloud + encoder.point_features, *hidden)
        self.encoder = encoder
        self.num_categories = num_categories
        self.category = (
            linear(num_categories, 64, use_bias=False, rngs=rngs) if num_categories else None
        )
        self.category_norm = (
            BatchNorm(64, axis_name=axis_name, rngs=rngs) if num_categories else None
        )
        self.layers = nnx.List(
            linear(before, after, use_bias=False, rngs=rngs)
            for before, after in zip(widths, hidden, strict=False)
        )
        self.norms = nnx.List(BatchNorm(w, axis_name=axis_name, rngs=rngs) for w in hidden)
        self.output = linear(widths[-1], num_parts, use_bias=False, rngs=rngs)
        self.dropout_rate = dropout_rate

    def __call__(
        self,
        points: Float[Array, "b n 3"],
        *,
        category: Int[Array, " b"] | None = None,
        normals: Float[Array, "b n 3"] | None = None,
        mask: Bool[Array, "b n"] | None = None,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b n parts"]:
        """Assign points to parts.

        Args:
            points: The clouds.
            category: Index of the category of each cloud, if there are categories.
            normals: Unit normals, if the encoder wants them.
            mask: True for points that exist; what is said of others means nothing.
            train: Whether BatchNorm uses this batch, and dropout is on.
            keys: One key a cloud, from its index in the global batch; to train with dropout.

        Returns:
            Logits of every point, float32.

        Raises:
            ValueError: As the encoder, if `keys` is missing, and if `category` is missing or not
                wanted.
        """
        description = self.encoder.describe(
            points, normals=normals, mask=mask, train=train, keys=keys
        )
        return self.segment(description, category=category, mask=mask, train=train, keys=keys)

    def segment(
        self,
        description: Description,
        *,
        category: Int[Array, " b"] | None = None,
        mask: Bool[Array, "b n"] | None = None,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b n parts"]:
        """Assign points to parts by the description of them and of their clouds."""
        if (category is not None) != bool(self.num_categories):
            raise ValueError(
                f"category must be {'given' if self.num_categories else 'left out'} with "
                f"num_categories={self.num_categories}"
            )
        point, cloud = description
        if category is not None and self.category is not None and self.category_norm is not None:
            chosen = self.category(jax.nn.one_hot(category, self.num_categories, dtype=jnp.float32))
            chosen = jax.nn.leaky_relu(self.category_norm(chosen, train=train), 0.2)
            cloud = jnp.concatenate([cloud, chosen], -1)
        x = point
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            if index == 0:
                kernel, precision = layer.kernel[...], layer.precision
                split = cloud.shape[-1]
                x = jnp.matmul(x, kernel[split:], precision=precision)
                x = x + jnp.matmul(cloud, kernel[:split], precision=precision)[:, None, :]
            else:
                x = layer(x)
            x = jax.nn.leaky_relu(norm(x, train=train, mask=mask), 0.2)
            if train and self.dropout_rate > 0 and index < len(self.layers) - 1:
                x = dropout(x, keys, 1000 + index, self.dropout_rate)
        return self.output(x)
