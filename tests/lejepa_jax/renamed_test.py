"""Names of the top level that changed are still found, with a warning."""

import re

import pytest

import lejepa_jax


@pytest.mark.parametrize(("old", "new"), lejepa_jax._RENAMED.items())
def test_an_old_name_gives_the_new_thing_and_warns(old, new):
    with pytest.warns(DeprecationWarning, match=f"lejepa_jax.{old} is now lejepa_jax.{new}"):
        assert getattr(lejepa_jax, old) is getattr(lejepa_jax, new)


def test_other_names_are_not_there():
    assert "generalised_normal_target" in lejepa_jax._RENAMED
    with pytest.raises(AttributeError, match="has no attribute 'sigregs'"):
        lejepa_jax.sigregs  # noqa: B018


def test_the_package_says_its_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", lejepa_jax.__version__)
