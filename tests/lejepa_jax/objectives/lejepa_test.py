"""The objective on hand-made cases, and its identities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax import lejepa_loss, sigreg

VIEWS = jax.random.normal(jax.random.key(7), (5, 12, 3))


def test_total_is_the_weighted_sum_of_the_terms(key):
    loss = lejepa_loss(key, VIEWS, num_global=2, trade_off=0.2, num_slices=32)
    np.testing.assert_allclose(loss.total, 0.8 * loss.prediction + 0.2 * loss.sigreg, rtol=1e-6)
    np.testing.assert_allclose(loss.sigreg, sigreg(key, VIEWS, num_slices=32), rtol=1e-6)
    added = lejepa_loss(
        key, VIEWS, num_global=2, trade_off=0.2, num_slices=32, weighting="additive"
    )
    np.testing.assert_allclose(added.total, added.prediction + 0.2 * added.sigreg, rtol=1e-6)


def test_additive_weighting_is_convex_weighting_up_to_scale(key):
    added = lejepa_loss(key, VIEWS, num_global=2, trade_off=0.25, weighting="additive")
    convex = lejepa_loss(key, VIEWS, num_global=2, trade_off=0.2)
    np.testing.assert_allclose(added.total, 1.25 * convex.total, rtol=1e-5)


def test_a_mask_equals_slicing(key):
    mask = jnp.arange(12) < 9
    for target in ("global", "all", "pairwise"):
        masked = lejepa_loss(key, VIEWS, num_global=2, num_slices=32, target=target, mask=mask)
        sliced = lejepa_loss(key, VIEWS[:, :9], num_global=2, num_slices=32, target=target)
        np.testing.assert_allclose(masked, sliced, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_global": 0}, "num_global must be between 1 and 5 views, got 0"),
        ({"num_global": 6}, "num_global must be between 1 and 5 views, got 6"),
        ({"num_global": 2, "target": "center"}, "target must be one of global, all, pairwise"),
        ({"num_global": 2, "weighting": "sum"}, "weighting must be one of convex, additive"),
        ({"num_global": 2, "trade_off": 1.5}, r"trade_off must be between 0 and 1 \(convex\)"),
        ({"num_global": 2, "trade_off": -1.0, "weighting": "additive"}, "got -1"),
        ({"num_global": 2, "mask": jnp.ones(5, bool)}, r"mask must have shape \(12,\), got \(5,\)"),
    ],
)
def test_bad_arguments_are_named(arguments, message, key, unchecked):
    with pytest.raises(ValueError, match=message):
        lejepa_loss(key, VIEWS, **arguments)


def test_embeddings_without_a_view_axis_are_refused(key, unchecked):
    with pytest.raises(ValueError, match=r"embeddings must have shape \(views, batch, d\)"):
        lejepa_loss(key, VIEWS[0], num_global=1)
