import shutil

import numpy as np

import lejepa_jax
import train


def test_a_run_is_exported_also_a_stopped_one(reference_run, tmp_path, capsys):
    assert train.main(["export", str(reference_run), "--out", str(tmp_path / "out")]) == 0
    given, copy = lejepa_jax.load(reference_run), lejepa_jax.load(tmp_path / "out")
    assert copy.digest() == given.digest()
    # One that was stopped has its checkpoints alone.
    shutil.copytree(reference_run, tmp_path / "stopped")
    shutil.rmtree(tmp_path / "stopped" / "model")
    out = tmp_path / "from checkpoint"
    assert train.main(["export", str(tmp_path / "stopped"), "--out", str(out)]) == 0
    images = np.zeros((1, 8, 8, given.preprocessing.channels), np.uint8)
    np.testing.assert_array_equal(lejepa_jax.load(out)(images), given(images))
    # An encoder that timm has not: one line, and nothing is written.
    capsys.readouterr()
    file = tmp_path / "x.safetensors"
    assert train.main(["export", str(reference_run), "--format", "timm", "--out", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: a ResNet must have pooling='mean', width=64 and four stages")
    assert not file.exists()


def test_a_file_that_does_not_fit_is_an_error_with_all_of_it(tmp_path, capsys):
    from safetensors.numpy import save_file

    file, out = tmp_path / "x.safetensors", tmp_path / "out"
    save_file({"bn1.weight": np.zeros(3, "f4")}, file)
    flags = ["--format", "torchvision", "--architecture", "resnet18", "--out", str(out)]
    assert train.main(["import", str(file), *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: weights must fit resnet18, got 100 mismatches")
    assert "wrong shape: bn1.weight (3,), wanted (64,)" in error
    assert not out.exists()
