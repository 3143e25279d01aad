"""Fields on the sphere: read, turned, and seen by encoders that must not care for turns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rope_jax
from lejepa_jax.augment.fields import FieldView, draw_fields, eval_field, make_field_views
from lejepa_jax.augment.fields.sphere import random_turn
from lejepa_jax.data.fields import Normalization
from lejepa_jax.nn import ViT

OWN = Normalization(mean=(0.0,), std=(1.0,), low=(0.0,), high=(1.0,))
SIDES = 4
CELLS = 12 * SIDES**2
QUARTER = jnp.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


def smooth(points, seed=0):
    """Values of 3 random fields of degree 3 at unit vectors."""
    x, y, z = np.asarray(points, np.float64).T
    basis = np.stack([x, y, z, x * y, y * z, z * x, x * x - y * y, 3 * z * z - 1, x * y * z])
    return np.random.default_rng(seed).normal(size=(3, len(basis))) @ basis


def stored(kind):
    if kind == "grid":
        points = rope_jax.unit_vectors(rope_jax.sphere_grid(32, 64).positions)
        return smooth(points).reshape(3, 32, 64, 1), (32, 64)
    points = rope_jax.unit_vectors(rope_jax.healpix_grid(16).positions)
    return smooth(points)[..., None], (3072,)


def seen(turns, kind="grid", cells=CELLS):
    values, shape = stored(kind)
    extent = jnp.broadcast_to(jnp.asarray(shape, jnp.int32), (3, len(shape)))
    values = jnp.asarray(values, jnp.float32)
    return eval_field(values, extent, cells, OWN, fit="sphere", turns=turns).values


@pytest.fixture(scope="module")
def turns():
    return jax.vmap(lambda key: random_turn(key, "any"))(jax.random.split(jax.random.key(1), 3))


@pytest.mark.parametrize("kind", ["grid", "pixels"])
def test_a_turned_field_is_read_where_the_turn_takes_it_from(kind, turns):
    cells = np.asarray(
        rope_jax.unit_vectors(rope_jax.healpix_grid(SIDES, order="nested").positions)
    )
    expected = np.stack([smooth(cells @ np.asarray(turn))[i] for i, turn in enumerate(turns)])
    found = np.asarray(seen(turns, kind))[..., 0]
    # Means over cells of 15 degrees: 3 % of the range of fields of degree 3.
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def relative_change(turns, cells=CELLS, **options):
    encoder = ViT(
        num_axes=1,
        width=48,
        depth=2,
        num_heads=4,
        image_size=cells,
        in_channels=1,
        pooling="mean",
        coordinates="healpix",
        rngs=nnx.Rngs(0),
        **options,
    )
    upright = jnp.broadcast_to(jnp.eye(3), (3, 3, 3))
    encode = nnx.jit(lambda encoder, values: encoder(values))
    plain, turned = (np.asarray(encode(encoder, seen(x, cells=cells))) for x in (upright, turns))
    spread = np.linalg.norm(plain - plain.mean(0))
    return float(np.linalg.norm(turned - plain) / spread)


GEODESIC = {"position": "none", "kernel": "von_mises_fisher(concentration=8.0)"}


@pytest.mark.parametrize("patch", [1, 4])
def test_quarter_turns_about_the_poles_change_nothing(patch):
    """They map cells to cells and their children alike."""
    turns = jnp.broadcast_to(QUARTER, (3, 3, 3))
    assert relative_change(turns, patch_size=patch, **GEODESIC) < 1e-4
    assert relative_change(turns, patch_size=patch, position="axial") > 0.05, "the control"


def test_any_rotation_changes_features_by_the_discretization_alone(turns):
    """Cells that are tokens of their own have no direction; positions in space do."""
    coarse, fine = (
        relative_change(turns, 12 * sides**2, patch_size=1, **GEODESIC) for sides in (4, 8)
    )
    assert fine < 0.25
    assert fine < 0.6 * coarse, "cells of half the width"
    assert relative_change(turns, 768, patch_size=1, position="axial") > 2 * fine, "the control"


def test_missing_regions_turn_with_the_field_and_pictures_are_maps():
    values = np.ones((1, 16, 32, 1), np.float32)
    values[:, :8] = -9  # the north
    own = dataclasses.replace(OWN, missing=-9.0)
    extent = jnp.array([[16, 32]], jnp.int32)
    keys = jax.random.split(jax.random.key(0), 1)
    view = FieldView(2, 192, fit="sphere", rotation="any", noise=0.1)
    (views,) = make_field_views(keys, jnp.asarray(values), extent, (view,), own)
    assert views.values.shape == (2, 1, 192, 1)
    np.testing.assert_allclose(views.measure.mean(-1), 0.5, atol=0.06)
    assert (np.asarray(views.values)[np.asarray(views.measure) == 0] == 0).all()
    whole = eval_field(jnp.asarray(values), extent, 192, own, fit="sphere")
    picture = draw_fields(np.asarray(whole.values), np.asarray(whole.measure), 16, fit="sphere")[0]
    assert len(np.unique(picture[:6].reshape(-1, 3), axis=0)) == 1
    assert (picture[:6] != picture[-6:]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 100, "fit": "sphere"}, "size must be 12 n\\^2 cells"),
        ({"size": 48, "fit": "sphere", "flip": 0.5}, "flip must be 0.0 on the sphere, got 0.5"),
        ({"size": 48, "rotation": "any"}, "rotation wants fit='sphere', got 'resize'"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        FieldView(1, **options)
