"""Learned features of neighborhoods from their dot products."""

from typing import Literal, get_args

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_choice
from lejepa_jax.nn.layers import dropout
from lejepa_jax.nn.normalization import BatchNorm
from lejepa_jax.statistics.reductions import AxisName
from pointcloud_jax.local.dot_products import edge_statistics, flatten_ordered, l2dp, radial_pool
from pointcloud_jax.nn.layers import linear
from pointcloud_jax.reductions import safe_norm

#: How edges are gathered to their point.
Aggregation = Literal["projection", "statistics", "radial"]
AGGREGATIONS: tuple[str, ...] = get_args(Aggregation)


class L2DP(nnx.Module):
    """Mix the local dot products, and gather them into one feature a point.

    Args:
        vectors: Number of vector channels, of centers and of offsets.
        features: Width of the result.
        k: Number of neighbors.
        aggregation: "projection" (the neighbors side by side into one linear map), "statistics"
            (maximum, mean, variance) or "radial" (shells of distance).
        normalize: Whether a LayerNorm follows; None leaves it to the aggregation as published
            ("projection" has one and "statistics" has dropout in its place).
        chirality: Whether to add the triple product.
        dropout_rate: Of "statistics" as published.
        axis_name: Mapped axis over which the batch is sharded.
        rngs: Source of the initial parameters.

    Raises:
        ValueError: If `aggregation` is unknown.

    Examples:
        >>> layer = L2DP(2, 8, 4, aggregation="statistics", rngs=nnx.Rngs(0))
        >>> vectors = jax.ShapeDtypeStruct((1, 5, 4, 2, 3), np.float32)
        >>> jax.eval_shape(lambda v: layer(v, v, train=False), vectors).shape
        (1, 5, 8)
    """

    def __init__(
        self,
        vectors: int,
        features: int,
        k: int,
        *,
        aggregation: Aggregation = "projection",
        normalize: bool | None = None,
        chirality: bool = False,
        dropout_rate: float = 0.1,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        check_choice("aggregation", aggregation, AGGREGATIONS)
        width = (3 if chirality else 2) * vectors
        rows = {"projection": k, "statistics": 3, "radial": 4}[aggregation] * width
        if normalize is None:
            normalize = aggregation != "statistics"
        self.aggregation = aggregation
        self.chirality = chirality
        self.dropout_rate = 0.0 if normalize else dropout_rate
        self.mix = linear(width, width, use_bias=False, rngs=rngs)
        self.mix_norm = BatchNorm(width, axis_name=axis_name, rngs=rngs)
        self.project = linear(rows, features, use_bias=False, rngs=rngs)
        self.norm = nnx.LayerNorm(features, epsilon=1e-5, rngs=rngs) if normalize else None

    def __call__(
        self,
        centers: Float[Array, "b n #k c 3"],
        offsets: Float[Array, "b n k c 3"],
        *,
        distances: Float[Array, "b n k"] | None = None,
        train: bool,
        mask: Bool[Array, "b n k"] | None = None,
        keys: jax.Array | None = None,
        number: int = 0,
    ) -> Float[Array, "b n o"]:
        """Describe the neighborhood of each point.

        Args:
            centers: Vectors of the center.
            offsets: Vectors to the neighbors.
            distances: Lengths of the edges, for "radial"; by default those of the offsets.
            train: Whether BatchNorm uses this batch, and dropout is on.
            mask: True for neighbors that exist.
            keys: One key a cloud, for dropout.
            number: Distinguishes the dropouts of one network.

        Returns:
            Invariant features.
        """
        products = l2dp(centers, offsets, chirality=self.chirality, mask=mask)
        products = self.mix_norm(self.mix(products), train=train, mask=mask)
        products = jax.nn.gelu(products, approximate=False)
        if self.aggregation == "projection":
            gathered = flatten_ordered(products, mask=mask)
        elif self.aggregation == "statistics":
            gathered = edge_statistics(products, mask=mask)
        else:
            if distances is None:
                lead = offsets.shape[:-2]
                distances = safe_norm(offsets.reshape(*lead, int(np.prod(offsets.shape[-2:]))))
            gathered = radial_pool(products, distances, mask=mask)
        local = self.project(gathered)
        if self.norm is not None:
            return self.norm(local)
        if train and self.dropout_rate > 0:
            local = dropout(local, keys, number, self.dropout_rate)
        return local
