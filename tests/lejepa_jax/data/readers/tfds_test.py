import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lejepa_jax import data


def png(value: int, channels: int = 3) -> io.BytesIO:
    file = io.BytesIO()
    pixels = np.full((6, 9, channels), value, np.uint8)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, "PNG")
    file.seek(0)
    return file


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Data sets prepared by tfds, which encodes arrays only with TensorFlow but accepts files."""
    tfds = pytest.importorskip("tensorflow_datasets")
    image, label = tfds.features.Image, tfds.features.ClassLabel

    class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        SPLITS: dict
        FEATURES: dict

        def _info(self):
            features = tfds.features.FeaturesDict(self.FEATURES)
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager):
            return {split: iter(list(enumerate(e))) for split, e in self.SPLITS.items()}

        def _generate_examples(self):
            raise NotImplementedError

    def prepare(name, features, splits):
        builder = type(name, (Prepared,), {"FEATURES": features, "SPLITS": splits, "name": name})
        builder(data_dir=root, file_format="array_record").download_and_prepare()

    root = str(tmp_path_factory.mktemp("tfds"))
    color = {"image": image(shape=(None, None, 3)), "label": label(names=["even", "odd"])}

    def examples(*values):  # a file can be read only once
        return [{"image": png(i), "label": i % 2} for i in values]

    prepare("tiny_color", color, {"train": examples(*range(15)), "test": examples(*range(5))})
    held = {"validation": examples(8, 9, 10), "test": [{"image": png(99), "label": -1}]}
    prepare("tiny_contest", color, {"train": examples(*range(8)), **held})
    gray = {"id": np.int64, "scan": image(shape=(6, 9, 1))}
    prepare("tiny_gray", gray, {"train": [{"id": i, "scan": png(i, 1)} for i in range(10)]})
    damaged = examples(*range(9))
    damaged[3]["image"] = io.BytesIO(b"?")
    prepare("tiny_damaged", color, {"train": damaged, "test": examples(0, 1)})
    prepare("tiny_numbers", {"x": np.int64}, {"train": [{"x": 1}]})
    return root


def test_a_tfds_name_is_read_without_tensorflow(data_dir):
    # In a process of its own, where no class of that name was ever defined, and where no reader may
    # be imported before it is needed.
    program = f"""
import sys
from lejepa_jax import data
early = {{"grain", "PIL", "sklearn", "tensorflow_datasets"}} & set(sys.modules)
assert not early, early
splits = data.load("tiny_color", image_size=6, data_dir={data_dir!r})
batch = next(data.batches(splits.train, batch_size=15, seed=0))
assert sorted(batch["image"][:, 0, 0, 1].tolist()) == list(range(15))
assert (batch["label"] == batch["image"][:, 0, 0, 0] % 2).all()
assert (batch["aspect"] == 1.5).all()
assert splits.class_names == ("even", "odd")
assert len(splits.test) == 5
assert "tensorflow" not in sys.modules
"""
    arguments = [sys.executable, "-W", "error", "-c", program]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_test_split_without_labels_is_not_tested_on(data_dir):
    splits = data.load("tiny_contest", image_size=6, data_dir=data_dir)
    assert len(splits.test) == 3
    tuned = data.load("tiny_contest", image_size=6, data_dir=data_dir, holdout="validation")
    assert len(tuned.train) + len(tuned.test) == 8
    named = data.DataOptions(train_split="train[:50%]", test_split="test")
    splits = data.load("tiny_contest", image_size=6, data_dir=data_dir, options=named)
    assert (len(splits.train), len(splits.test), splits.test[0]["label"]) == (4, 1, -1)


def test_the_image_feature_is_found_by_its_type(data_dir):
    splits = data.load("tiny_gray", image_size=6, data_dir=data_dir)
    assert (splits.train.channels, splits.train.num_classes) == (1, 0)
    assert (len(splits.train), len(splits.test)) == (8, 2)


@pytest.mark.parametrize("memory_limit", [0, 2**30])
def test_damaged_records_are_named(data_dir, memory_limit):
    options = {"image_size": 6, "data_dir": data_dir}
    options["options"] = data.DataOptions(memory_limit=memory_limit)
    with pytest.raises(ValueError, match=r"1 so far.*train\[3\] \(not an image"):
        data.load("tiny_damaged", **options)
    splits = data.load("tiny_damaged", max_bad_records=1, **options)
    assert splits.train.bad_records[0].name == "train[3]"
    values = {int(record["image"][0, 0, 0]) for record in splits.train}
    assert values == set(range(9)) - {3}


def test_data_sets_that_cannot_be_read_are_refused(data_dir, tmp_path):
    def refused(name, message, where=data_dir, **options):
        with pytest.raises(ValueError, match=message) as error:
            data.load(name, image_size=6, data_dir=str(where), options=data.DataOptions(**options))
        assert "\n" not in str(error.value)

    refused("no_such_data", "unknown data set 'no_such_data': want digits, folder:PATH")
    refused("../../etc/passwd", "unknown data set")
    refused("", "unknown data set ''")
    refused(str(tmp_path), "did you mean folder:")
    refused("tiny_color", "data_dir must be a folder, got", where=tmp_path / "missing")
    refused(
        "cifar10", f"cifar10 is not prepared in {tmp_path}/cifar10.*: run `tfds build", tmp_path
    )
    refused("tiny_color", "no split 'extra': it has .*train", test_split="extra")
    refused("tiny_numbers", "no uint8 image feature: it has x")
    refused("digits", "for TFDS data sets", train_split="train")
    source = Path(data_dir) / "tiny_color" / "1.0.0"
    copy = tmp_path / "tiny_color" / "1.0.0"
    copy.mkdir(parents=True)
    for name in ("dataset_info.json", "features.json"):
        text = (source / name).read_text()
        (copy / name).write_text(text.replace("array_record", "tfrecord"))
    refused("tiny_color", "not stored as array_record.*tfds convert_format", tmp_path)
    (copy / "dataset_info.json").write_text("{")
    refused("tiny_color", "tiny_color cannot be opened in", tmp_path)
