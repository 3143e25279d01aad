"""Encoders of clouds by name: on their own, in every task, on the command line."""

import jax
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.training.command_line import parse
from pointcloud_jax.nn.dipvnet.networks import DiPVNetParts
from pointcloud_jax.nn.names import (
    CLOUD_ENCODERS,
    cloud_encoder_by_name,
    cloud_encoders_by_name,
)
from recipes import recipes


@pytest.mark.parametrize("name", CLOUD_ENCODERS)
def test_every_name_makes_an_encoder_of_points_with_normals(name):
    make = cloud_encoder_by_name(name.replace("_", "-"), normals=True)
    encoder = nnx.eval_shape(lambda: make(axis_name=None, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(encoder)
    points = jax.ShapeDtypeStruct((2, 64, 3), np.float32)

    def describe(state, points):
        return tuple(nnx.merge(graph, state).describe(points, normals=points))

    per_point, per_cloud = jax.eval_shape(describe, state, points)
    assert per_point.shape == (2, 64, encoder.point_features)
    assert per_cloud.shape == (2, encoder.features)


def test_parts_want_their_own_form_of_some():
    assert cloud_encoder_by_name("dipvnet-tiny", parts=True).func is DiPVNetParts


@pytest.mark.parametrize("recipe", ["shapes", "lejepa-shapes"])
def test_the_command_line_takes_names(recipe):
    name = "hierarchical(widths=(8, 8), embedding=8)"
    networks = ("--task.networks", f"{name}, dipvnet-tiny")
    flags = {"shapes": networks, "lejepa-shapes": ("--task.encoder", name)}
    _, found = parse([recipe, *flags[recipe]], recipes(), default="digits")
    if recipe == "shapes":
        assert list(found.task.makers()) == [name, "dipvnet-tiny"]
    else:
        encoder = nnx.eval_shape(lambda: found.task.encoder_maker()(rngs=nnx.Rngs(0)))
        assert encoder.features == 16 + 9 * 16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pointnet", "encoder must be one of hierarchical, "),
        ("hierarchical(depth=3)", "options of hierarchical must be among"),
        ("dgcnn, dgcnn", "networks must differ from each other"),
    ],
)
def test_names_that_are_not_there_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        cloud_encoders_by_name(text)
