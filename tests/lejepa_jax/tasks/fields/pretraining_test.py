"""From a file of series to the features of a new one, through the program."""

import functools
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import lejepa_jax
from lejepa_jax.augment.fields import FieldView
from lejepa_jax.nn import ResNet, ViT
from lejepa_jax.tasks.fields import FieldPretrainingConfig

RECIPE = """
import functools
from lejepa_jax.augment.fields import FieldView
from lejepa_jax.nn import ViT
from lejepa_jax.tasks.fields import FieldPretrainingConfig
from lejepa_jax.training.recipe import Recipe

RECIPE = Recipe(
    data="npz",
    task=FieldPretrainingConfig(
        num_axes=1,
        encoder=functools.partial(
            ViT, num_axes=1, width=32, depth=1, num_heads=2, patch_size=4, image_size=16,
            pooling="mean", position="axial",
        ),
        views=(FieldView(2, 16, fit="pad", scale=(0.6, 1.0), shift=True, noise=0.1),),
        num_global=2, stored_size=24, eval_size=16, embedding_features=4, hidden_features=8,
        num_slices=8, eval_batch_size=16, knn_k=1, quick_examples=8, lidar_examples=0,
    ),
    steps=4, global_batch_size=16, devices=2, logger="none", checkpoint_every=4,
)
"""


def write_series(path, gap=True):
    rng = np.random.default_rng(0)
    lengths = rng.integers(10, 30, 40)
    label = np.arange(40) % 2
    waves = [
        np.stack([np.sin(np.arange(n) * (0.3 + 0.6 * k) + p), np.ones(n)], 1)
        for n, k, p in zip(lengths, label, rng.uniform(0, 6, 40), strict=True)
    ]
    samples = np.concatenate(waves).astype(np.float32)
    samples[:, 1] += rng.normal(size=len(samples))
    if gap:
        samples[5, 0] = np.nan
    np.savez(path, samples=samples, lengths=lengths, label=label)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a run; there are 32 values and features, so that their probes are one program."""
    folder = tmp_path_factory.mktemp("series")
    write_series(folder / "waves.npz")
    (folder / "mine.py").write_text(RECIPE)
    command = [sys.executable, "train.py", str(folder / "mine.py"), "--data", "npz:waves.npz"]
    command += ["--data-dir", str(folder), "--workdir", str(folder / "run")]
    no_cache = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    done = subprocess.run(command, env=os.environ | no_cache, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return folder


def test_the_run_has_results_statistics_and_a_report_with_its_views(run):
    results = json.loads((run / "run" / "results.json").read_text())
    assert set(results["linear"]) == {"encoder", "untrained", "values"}
    known = json.loads((run / "run" / "run.json").read_text())
    seen = known["model"]["preprocessing"]
    assert seen["kind"] == "fields"
    assert len(seen["mean"]) == len(seen["std"]) == 2
    assert known["data"]["missing"] == "1 values are missing (NaN), they are masked"
    assert "cut" in known["data"]
    assert "Views" in (run / "run" / "report.html").read_text()


def test_its_model_gives_features_of_new_series_of_any_length(run):
    model = lejepa_jax.load(str(run / "run"))
    rng = np.random.default_rng(1)
    few = [rng.normal(size=(n, 2)) for n in (7, 16, 40)]
    found = model(few)
    assert found.shape == (3, 32)
    np.testing.assert_allclose(model(few[1].astype(np.float32))[0], found[1], atol=1e-5)
    assert model.tokens(few[:1]).shape == (1, 4, 32)
    assert np.abs(found[0] - found[2]).max() > 1e-3
    with pytest.raises(ValueError, match=r"a field must be \(time, 2\)"):
        model(np.zeros((3, 5)))


def test_the_features_are_those_of_the_evaluation(run):
    config = FieldPretrainingConfig(
        num_axes=1,
        encoder=functools.partial(ViT),
        views=(FieldView(2, 16, fit="pad"),),
        num_global=2,
        stored_size=24,
        eval_size=16,
    )
    splits = config.load("npz:waves.npz", data_dir=str(run))
    model = lejepa_jax.load(str(run / "run"))
    batch = splits.test.gather(np.arange(len(splits.test)))
    mapped = model.map_source(splits.test)
    rows = [v[: e[0]] for v, e in zip(batch["values"], batch["extent"], strict=True)]
    np.testing.assert_allclose(model(rows), mapped.outputs[0], atol=1e-5)


def test_a_folder_without_fields_is_refused_in_one_line(run):
    from lejepa_jax.models.embedding import embed_folder

    model = lejepa_jax.load(str(run / "run"))
    with pytest.raises(ValueError, match=r"has no fields \(\.wav"):
        embed_folder(model, str(run), str(run / "features.npz"))


@pytest.mark.slow
def test_preview_draws_the_views(run, tmp_path):
    from PIL import Image

    command = [sys.executable, str(lejepa_jax.__path__[0]) + "/../train.py", "preview"]
    command += [str(run / "mine.py"), "--data", "npz:waves.npz", "--data-dir", str(run)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    picture = np.asarray(Image.open(tmp_path / "views.png"))
    assert picture.shape[0] > 900
    assert picture.std() > 10


def test_convolutional_encoders_take_planes_of_any_channels_without_measure():
    config = FieldPretrainingConfig(
        num_axes=2,
        encoder=functools.partial(ResNet, stage_sizes=(1,), width=4, stem="small"),
        views=(FieldView(2, 8, flip=0.5),),
        num_global=2,
        eval_size=8,
        weigh=False,
        hidden_features=8,
        embedding_features=4,
    )
    import jax

    from lejepa_jax.data.fields import Normalization
    from lejepa_jax.tasks.fields import field_pretraining_task

    five = (0.0,) * 5
    own = Normalization(mean=five, std=(1.0,) * 5, low=five, high=(1.0,) * 5)
    task = field_pretraining_task(config, own)
    batch = {
        "values": np.zeros((3, 9, 9, 5), np.uint16),
        "extent": np.full((3, 2), 9, np.int32),
        "index": np.arange(3),
    }
    variables = jax.eval_shape(task.init, jax.random.key(0))
    features, _ = jax.eval_shape(task.encode, *variables, jax.random.key(1), batch)
    assert features.shape == (3, 2, 4)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_axes": 4}, "num_axes must be one of 1, 2, 3"),
        ({"views": ()}, "views must hold at least one FieldView"),
        ({"eval_size": (4, 4)}, "size must be one number or 1"),
        ({"stored_size": 0}, "stored_size must be positive"),
        ({"num_global": 3}, "num_global must be between 1 and 2 views"),
    ],
)
def test_refusals(unchecked, options, error):
    given = {"num_axes": 1, "encoder": ViT, "views": (FieldView(2, 8),)}
    given |= {"num_global": 2, "eval_size": 8}
    with pytest.raises(ValueError, match=error):
        FieldPretrainingConfig(**given | options)
