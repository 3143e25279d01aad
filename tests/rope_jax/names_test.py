"""The names of the package: what is public is there, and what was renamed still is."""

import importlib

import pytest

import rope_jax


@pytest.mark.parametrize("module", ["", ".positions", ".encodings", ".analysis", ".kernels"])
def test_everything_that_is_listed_exists(module):
    package = importlib.import_module(f"rope_jax{module}")
    assert package.__doc__
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


@pytest.mark.parametrize(("old", "new"), rope_jax._RENAMED.items())
def test_a_renamed_function_warns_and_works(old, new):
    with pytest.warns(DeprecationWarning, match=f"rope_jax.{old} is now rope_jax.{new}"):
        assert getattr(rope_jax, old) is getattr(rope_jax, new)


def test_a_name_that_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'rotate_cube'"):
        _ = rope_jax.rotate_cube
