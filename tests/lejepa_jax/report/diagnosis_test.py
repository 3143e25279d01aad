import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.evaluation.results import Results
from lejepa_jax.report.diagnosis import ON_TRAINING_DATA, advice
from lejepa_jax.statistics.normality import epps_pulley, epps_pulley_null_mean


def said(scores=None, rows=(), **diagnostics):
    return " ".join(advice(Results(scores or {}, diagnostics), rows=rows))


def embeddings(**numbers):
    return {"encoder": {"std_smallest": 0.9, "sigreg": 1.5, **numbers}, "sigreg_null": 1.0}


def test_round_embeddings_are_called_round_and_nothing_is_to_be_tried():
    assert said(**embeddings()) == (
        "Embeddings are round: held-out SIGReg is 1.5, where exactly normal samples have 1."
    )
    assert "not round" in said(**embeddings(sigreg=2.01))
    assert "raise the weight of SIGReg (trade_off)" in said(**embeddings(sigreg=2.01))


def test_more_examples_show_smaller_departures_which_count_no_more():
    # A mean off by a seventh of a standard deviation adds 0.01 for each example.
    assert "are round: held-out SIGReg of 1000 examples is 10.9" in said(
        **embeddings(sigreg=10.9, examples=1000)
    )
    assert "not round" in said(**embeddings(sigreg=11.1, examples=1000))
    x = np.random.default_rng(0).normal(size=(1000, 1)).astype(np.float32)
    for off, shape in ((x + 0.13, "are round"), (x + 0.2, "are not round")):
        value = float(epps_pulley(jnp.asarray(off))[0])
        null = epps_pulley_null_mean()
        found = {"encoder": {"sigreg": value, "examples": 1000}, "sigreg_null": null}
        assert shape in said(**found)


def test_a_collapse_is_said_first_and_in_place_of_the_shape():
    text = said(**embeddings(std_smallest=0.099))
    assert text.startswith("Embeddings have collapsed")
    assert "round" not in text
    assert "collapsed" not in said(**embeddings(std_smallest=0.101))


def test_embeddings_that_are_round_on_training_data_alone_are_overfit():
    held_out = embeddings(sigreg=9.0)
    fitted = {ON_TRAINING_DATA: {"sigreg": 1.2}}
    assert "overfit: SIGReg is 9 on held-out examples and 1.2" in said(**held_out, **fitted)
    assert "overfit" not in said(**held_out, **{ON_TRAINING_DATA: {"sigreg": 4.6}})
    assert "overfit" not in said(**held_out)


def test_a_classifier_that_is_right_on_training_data_alone_is_overfit():
    rows = [{"accuracy": 0.1}, *[{"accuracy": 0.95}] * 10]
    assert "95.0 % of the training" in said({"accuracy": {"encoder": 0.8}}, rows)
    assert "overfit" not in said({"accuracy": {"encoder": 0.86}}, rows)
    assert "overfit" not in said({"accuracy": {"encoder": 0.8}})


@pytest.mark.parametrize(("trained", "helped"), [(0.5, False), (0.4, False), (0.51, True)])
def test_an_encoder_no_better_than_the_untrained_one_is_named(trained, helped):
    text = said({"linear": {"encoder": trained, "untrained": 0.5}})
    assert ("has not helped" in text) != helped


@pytest.mark.parametrize("value", [float("nan"), None, "1.0", True, [1.0]])
def test_what_is_no_finite_number_says_nothing(value):
    assert said(encoder={"sigreg": value, "std_smallest": value}, sigreg_null=value) == ""
    assert said({"accuracy": {"encoder": value}}, [{"accuracy": value}]) == ""
    assert said(encoder=3.0) == said() == ""
