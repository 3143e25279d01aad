import numpy as np

from lejepa_jax import data


def test_five_hundred_digits_are_held_out_by_class_and_never_other_ones():
    splits = data.load("digits", image_size=8)
    assert (len(splits.train), len(splits.test)) == (1297, 500)
    assert splits.class_names == tuple("0123456789")
    assert set(np.bincount(splits.test.labels)) <= {48, 49, 50, 51}
    # The scans of the held-out part, summed: a change of the split is a change of every result.
    ink = splits.test.gather(np.arange(500))["image"].astype(np.int64)
    weights = np.arange(1, 501)[:, None, None, None]
    assert (int(ink.sum()), int((ink * weights).sum())) == (2489047, 622807122)


def test_digits_to_choose_hyper_parameters_on_are_training_digits():
    splits = data.load("digits", image_size=8)
    tuned = data.load("digits", image_size=8, holdout="validation")

    def scans(source):
        images = source.gather(np.arange(len(source)))["image"]
        return sorted(image.tobytes() for image in images)

    assert sorted(scans(tuned.train) + scans(tuned.test)) == scans(splits.train)
    assert set(np.bincount(tuned.test.labels)) <= set(range(24, 29))
    assert "validation" in tuned.info


def test_digits_can_be_asked_for_in_another_size():
    splits = data.load("digits", image_size=12)
    assert splits.train[3]["image"].shape == (12, 12, 1)
