"""The models that come with the package."""

import numpy as np
import pytest

import lejepa_jax
from lejepa_jax.data import load
from lejepa_jax.models import bundled_models
from lejepa_jax.models.loading import BUNDLED


def test_they_are_small_and_named():
    assert bundled_models() == ["cifar10-small", "digits"]
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*")) < 4_000_000


@pytest.mark.parametrize("name", ["cifar10-small", "digits"])
def test_the_card_says_how_to_make_them_again(name):
    card = (BUNDLED / name / "README.md").read_text()
    assert f"python train.py {name}" in card


def test_digits_that_were_never_trained_on_are_near_those_of_their_class():
    splits, model = load("digits", image_size=8), lejepa_jax.load("digits")
    train = splits.train.gather(np.arange(400))
    test = splits.test.gather(np.arange(100))
    known, asked = (model(batch["image"]) for batch in (train, test))
    distance = np.linalg.norm(asked[:, None] - known[None], axis=-1)
    found = train["label"][distance.argmin(1)]
    assert np.mean(found == test["label"]) > 0.9
