"""Public names of earlier versions."""

import pytest

import pointcloud_jax


@pytest.mark.parametrize(("old", "new"), pointcloud_jax._RENAMED.items())
def test_an_old_name_gives_the_new_object_and_warns(old, new):
    with pytest.warns(DeprecationWarning, match=rf"pointcloud_jax\.{old} is now {new}"):
        found = getattr(pointcloud_jax, old)
    assert found is getattr(pointcloud_jax, new)


def test_the_names_of_before_the_change_of_spelling_are_all_there():
    old = {"Dgcnn", "VnDgcnn", "Dipvnet", "DipvnetConfig", "DipvnetParts", "L2dp", "Neighbours"}
    assert old | {"normalise_radius"} <= set(pointcloud_jax._RENAMED)


def test_a_name_that_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Dgcnnn'"):
        _ = pointcloud_jax.Dgcnnn
