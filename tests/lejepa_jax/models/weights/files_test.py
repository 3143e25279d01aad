"""Models to files in the names of other libraries and back; the commands `export` and `import`."""

import io
import re

import jax
import numpy as np
import pytest
from rich.console import Console

from lejepa_jax.commands.table import Program, run_command
from lejepa_jax.models import ImagePreprocessing, load, random_model, save
from lejepa_jax.models.weights import ARCHITECTURES, export_pytorch, import_model
from lejepa_jax.nn import encoder_by_name

TEXT = (
    "vit-Ti(width=8, depth=1, num_heads=2, mlp_width=16, patch_size=4, image_size=8, "
    "layer_scale=0.5)"
)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 10, 10, 3), np.uint8)


@pytest.fixture(scope="module")
def model():
    preprocessing = ImagePreprocessing(
        channels=3, image_size=9, eval_size=8, crop=0.875, mean=(0.5,) * 3, std=(0.5,) * 3
    )
    return random_model(jax.random.key(0), {"encoder": encoder_by_name(TEXT)}, preprocessing)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    return save(model, tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def small_vit(monkeypatch):
    """An architecture of timm that is small here."""
    name = "vit_tiny_patch16_224"
    architecture = ARCHITECTURES["timm"][name]._replace(encoder=TEXT)
    monkeypatch.setattr(
        "lejepa_jax.models.weights.conversion.architecture_by_name", lambda *_: architecture
    )
    return name


def command(*arguments):
    """Run a command; the exit code, and what it printed."""
    text = io.StringIO()
    program = Program({}, "", Console(file=text, width=80), lambda _: 1)
    return run_command(list(map(str, arguments)), program), text.getvalue()


def test_out_and_in_again_gives_the_same_features(model, folder, small_vit, tmp_path):
    file = tmp_path / "timm.safetensors"
    code, printed = command("export", folder, "--format", "timm", "--out", file)
    assert code == 0
    # Long lines are not broken: they are for copying.
    assert "\nmodel = timm.models.vision_transformer.VisionTransformer(img_size=(8, 8)," in printed
    assert "model.load_state_dict(load_file('timm.safetensors'))\n" in printed
    assert "less mean [0.5, 0.5, 0.5]" in printed
    code, printed = command(
        *("import", file, "--architecture", small_vit, "--out", tmp_path / "model")
    )
    assert code == 0
    assert "8 features of vit_tiny_patch16_224" in printed
    back = load(tmp_path / "model")
    np.testing.assert_array_equal(back(IMAGES), model(IMAGES))
    assert "timm.safetensors in the names of timm, SHA-256" in back.provenance["weights"]


def test_the_card_has_the_lines_for_pytorch(folder):
    card = (folder / "README.md").read_text()
    assert "--format timm --out timm.safetensors`" in card
    assert "model.load_state_dict(load_file('timm.safetensors'))\n```" in card


def test_a_model_is_exported_as_a_folder(model, folder, tmp_path):
    assert command("export", folder, "--out", tmp_path / "copy", "--license", "mit")[0] == 0
    copy = load(tmp_path / "copy")
    assert copy.digest() == model.digest()
    assert copy.provenance["license"] == "mit"


def test_what_is_left_is_said(model, small_vit, tmp_path):
    from safetensors.numpy import load_file, save_file

    file = tmp_path / "x.safetensors"
    export_pytorch(model, file, "timm")
    weights = {f"backbone.{key}": x for key, x in load_file(file).items()}
    save_file({**weights, "backbone.head.weight": np.zeros((5, 8), "f4")}, file)
    flags = ("--architecture", small_vit, "--prefix", "backbone.", "--mean", 0.1, 0.2, 0.3)
    code, printed = command("import", file, *flags, "--out", tmp_path / "model")
    assert code == 0
    assert "left: backbone.head.weight" in printed
    assert load(tmp_path / "model").preprocessing.mean == (0.1, 0.2, 0.3)


def test_nothing_is_written_where_something_does_not_fit(model, small_vit, tmp_path):
    file = tmp_path / "x.safetensors"
    export_pytorch(model, file, "timm")
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ValueError, match="is no safetensors file that can be read"):
        command("import", file, "--architecture", small_vit, "--out", tmp_path / "model")
    pickled = tmp_path / "x.pth"
    pickled.touch()
    with pytest.raises(ValueError, match=re.escape("x.pth must be a safetensors file")):
        import_model(pickled, "timm", small_vit)
    with pytest.raises(ValueError, match="architecture must be one of resnet18"):
        command(
            *("import", file, "--format", "torchvision", "--architecture", "x"),
            *("--out", tmp_path / "model"),
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.pth", "x.safetensors"]


def test_formats_that_do_not_fit_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="format='torchvision' has no model like ViT"):
        command("export", folder, "--format", "torchvision", "--out", tmp_path / "x")
    with pytest.raises(ValueError, match="out must be a file for format=timm, got the folder"):
        command("export", folder, "--format", "timm", "--out", tmp_path)
    assert not list(tmp_path.iterdir())


# --- with the libraries themselves: `make test-interop` ---------------------------------------


def normalized(model):
    return np.asarray(model.preprocess(IMAGES))


def relative(found, wanted):
    return np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_lines_give_our_features_in_timm(model, folder, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    pytest.importorskip("timm")
    code, printed = command(
        "export", folder, "--format", "timm", "--out", tmp_path / "timm.safetensors"
    )
    assert code == 0
    monkeypatch.chdir(tmp_path)
    # Those of the card are the same.
    lines = re.search(r"```python\n(import timm.*?)\n```", (folder / "README.md").read_text(), re.S)
    assert lines is not None
    assert lines[1] in printed
    names = {}
    exec(lines[1], names)
    with torch.no_grad():
        found = names["model"](torch.from_numpy(normalized(model)).permute(0, 3, 1, 2)).numpy()
    assert relative(found, model(IMAGES)) < 1e-5


PROGRAMS = {
    "vit": TEXT,
    "rotary": TEXT.replace(
        "layer_scale=0.5", "position='axial', activation='swiglu', qk_norm=True"
    ),
    "resnet": "resnet18(stage_sizes=(1, 1), width=8, stem='small')",
    "resnet-imagenet": "resnet18(stage_sizes=(1, 1), width=8)",
    "convnext": "convnext-atto(depths=(1, 1), widths=(8, 16), stem_patch=2)",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_programs_give_our_features_for_any_batch(model, text, tmp_path):
    pytest.importorskip("flatbuffers")
    from jax import export

    makers = {"encoder": encoder_by_name(text)}
    other = random_model(jax.random.key(1), makers, model.preprocessing)
    folder = save(other, tmp_path / "model")
    file = tmp_path / "x.stablehlo"
    assert command("export", folder, "--format", "stablehlo", "--out", file)[0] == 0
    program = export.deserialize(bytearray(file.read_bytes()))
    assert set(program.platforms) == {"cpu", "cuda", "rocm", "tpu"}
    for count in (1, 3):
        images = normalized(other)[:count]
        difference = relative(program.call(images), other(IMAGES[:count]))
        print(f"STABLEHLO {text} {count} {difference:.1e}")
        assert difference < 1e-5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_onnx_gives_our_features_for_any_batch(model, text, tmp_path):
    pytest.importorskip("jax2onnx")
    runtime = pytest.importorskip("onnxruntime")
    makers = {"encoder": encoder_by_name(text)}
    other = random_model(jax.random.key(1), makers, model.preprocessing)
    folder = save(other, tmp_path / "model")
    file = tmp_path / "x.onnx"
    assert command("export", folder, "--format", "onnx", "--out", file)[0] == 0
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for count in (1, 2, 3):
        name = session.get_inputs()[0].name
        (found,) = session.run(None, {name: normalized(other)[:count]})
        print(f"ONNX {text} {count} {relative(found, other(IMAGES[:count])):.1e}")
        assert relative(found, other(IMAGES[:count])) < 1e-5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_onnx_model_with_other_features_is_not_written(model, tmp_path, monkeypatch):
    jax2onnx = pytest.importorskip("jax2onnx")
    convert = jax2onnx.to_onnx
    monkeypatch.setattr(
        jax2onnx, "to_onnx", lambda f, *given, **rest: convert(lambda x: f(2 * x), *given, **rest)
    )
    folder = save(model, tmp_path / "model")
    with pytest.raises(ValueError, match="the ONNX model must give our features to 1e-5, got"):
        command("export", folder, "--format", "onnx", "--out", tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()
