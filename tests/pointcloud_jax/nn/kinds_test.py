"""What each parameter of every network is: weights decay and are sharded, others are not."""

import dataclasses

import jax
import pytest
from flax import nnx

from lejepa_jax.training.networks import network
from pointcloud_jax import nn

# By name: what multiplies activations, and what is a bias, a gain, a position, or has no gradient.
WEIGHTS = {"kernel", "feature", "frame", "readers"}
OTHERS = {"bias", "scale", "frequency"}


def classifier(make):
    return lambda key: nn.Classifier(make(nnx.Rngs(key)), 3, hidden=(8,), rngs=nnx.Rngs(key))


def segmenter(make):
    return lambda key: nn.Segmenter(
        make(nnx.Rngs(key)), 3, num_categories=2, hidden=(8,), rngs=nnx.Rngs(key)
    )


PUBLISHED = dataclasses.replace(nn.tiny_config(nn.PAPER), normals=True)
NETWORKS = {
    "DGCNN": classifier(lambda rngs: nn.DGCNN((4,), embedding=4, k=3, rngs=rngs)),
    "VNDGCNN": segmenter(lambda rngs: nn.VNDGCNN((4,), embedding=4, k=3, rngs=rngs)),
    "DiPVNet": classifier(lambda rngs: nn.DiPVNet(nn.tiny_config(), rngs=rngs)),
    "published DiPVNet": classifier(lambda rngs: nn.DiPVNet(PUBLISHED, rngs=rngs)),
    "HierarchicalEncoder": segmenter(
        lambda rngs: nn.HierarchicalEncoder(nn.HierarchyConfig(), rngs=rngs)
    ),
    "DiPVNetParts": segmenter(lambda rngs: nn.DiPVNetParts(nn.tiny_config(), rngs=rngs)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_has_the_kind_it_should(name):
    kinds = network(NETWORKS[name]).kinds
    for path, kind in jax.tree_util.tree_leaves_with_path(kinds):
        names = [str(getattr(entry, "key", getattr(entry, "idx", ""))) for entry in path]
        # Of a pool, the direction chooses by an index and never learns; elsewhere it is a weight.
        last = next(n for n in reversed(names) if not n.isdigit())
        learned = "direction" in names and "pools" not in names
        expected = "weight" if last in WEIGHTS or learned else "other"
        assert kind == expected, names
        assert last in WEIGHTS | OTHERS | {"direction"}, names
