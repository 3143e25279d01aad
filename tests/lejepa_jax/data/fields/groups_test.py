"""Groups held out: no probe is fitted to them; an encoder sees them where that is asked."""

import numpy as np
import pytest

from lejepa_jax.data.fields import FieldOptions, load_fields

SPEAKERS = np.array([0, 0, 1, 1, 2, 2, 0, 2])
FLAGS = np.array([0, 0, 0, 0, 0, 0, 1, 1])
NAMES = ("ann", "bob", "cid")


@pytest.fixture(scope="module", params=["npz", "csv"])
def path(request, tmp_path_factory):
    """Eight series, the number of each in its values."""
    file = tmp_path_factory.mktemp("data") / f"a.{request.param}"
    values = np.repeat(np.arange(8, dtype=np.float32)[:, None], 5, 1)
    if request.param == "npz":
        np.savez(
            file,
            values=values,
            label=np.arange(8) % 2,
            is_test=FLAGS,
            speaker=SPEAKERS,
            speaker_names=np.array(NAMES),
        )
    else:
        rows = [
            [NAMES[s], f, i % 2, *v]
            for i, (s, f, v) in enumerate(zip(SPEAKERS, FLAGS, values, strict=True))
        ]
        lines = ["speaker,is_test,label,a,b,c,d,e", *(",".join(map(str, row)) for row in rows)]
        file.write_text("\n".join(lines))
    return file


def load(path, **options):
    splits = load_fields(str(path), num_axes=1, options=FieldOptions(group="speaker", **options))
    found = []
    for source in (splits.train, splits.test):
        batch = source.gather(np.arange(len(source)))
        found.append((batch["values"][:, 0, 0].astype(int).tolist(), batch["label"].tolist()))
    return *found, splits.info


def test_all_fields_of_the_groups_are_the_test_part(path):
    train, test, info = load(path, hold_out=("cid",))
    assert train == ([0, 1, 2, 3], [0, 1, 0, 1])
    assert test == ([4, 5, 7], [0, 1, 1])
    assert info["held out"] == "3 fields, all of speaker cid"


def test_their_training_fields_are_seen_without_labels_where_that_is_asked(path):
    train, test, info = load(path, hold_out=("cid", "bob"), unlabeled_held_out=True)
    assert train == ([0, 1, 2, 3, 4, 5], [0, 1, -1, -1, -1, -1])
    assert test == ([2, 3, 4, 5, 7], [0, 1, 0, 1, 1])
    assert info["held out"].endswith("; training sees 4 of them, without labels")


def test_without_groups_to_hold_out_nothing_changes(path):
    assert load(path)[1] == ([6, 7], [0, 1])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"hold_out": ("dan",)}, "hold_out must name a speaker of ann, bob, cid, got 'dan'"),
        ({"hold_out": NAMES}, "leaves nothing to train on"),
        ({"hold_out": ("ann",), "group": "place"}, "hold_out wants the 'place' of each field"),
        ({"hold_out": ("ann",), "group": ""}, "group must name what hold_out"),
        ({"unlabeled_held_out": True}, "unlabeled_held_out wants groups"),
    ],
)
def test_refusals(path, options, error):
    if options.get("group") == "place" and path.suffix == ".csv":
        error = "must hold numbers"  # the speaker is then a column of moments
    with pytest.raises(ValueError, match=error):
        load_fields(str(path), num_axes=1, options=FieldOptions(**{"group": "speaker"} | options))
