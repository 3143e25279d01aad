"""Encoders as programs that need no Python of ours: StableHLO and ONNX, for any batch size."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lejepa_jax.models.model import Model
from lejepa_jax.models.preprocessing import FieldPreprocessing, ImagePreprocessing
from lejepa_jax.nn.fields import Field
from lejepa_jax.training.storage.files import write_atomically

#: Where an exported StableHLO program runs.
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def export_stablehlo(model: Model, file: str | os.PathLike[str]) -> None:
    """Write the encoder with its weights as a StableHLO program.

    It maps what `input_shapes` says, in float32, to features `(b, d)` for any `b`, on CPUs, GPUs
    and TPUs. `jax.export.deserialize` reads it, and so does what else takes StableHLO.

    Args:
        model: A model of images or fields.
        file: The file to write.

    Raises:
        ValueError: If the model is of clouds, or `flatbuffers` is missing.
        OSError: If the file cannot be written.
    """
    shapes = input_shapes(model)
    require("flatbuffers", "export")
    from jax import export

    (batch,) = export.symbolic_shape("b")
    inputs = [jax.ShapeDtypeStruct((batch, *shape), jnp.float32) for shape in shapes.values()]
    exported = export.export(jax.jit(_function(model)), platforms=PLATFORMS)(*inputs)
    write_atomically(Path(file).expanduser(), bytes(exported.serialize()))


def export_onnx(model: Model, file: str | os.PathLike[str]) -> float:
    """Write the encoder with its weights as an ONNX model, and compare it with ours.

    It maps what `input_shapes` says, in float32, to features `(b, d)` for any `b`.

    Args:
        model: A model of images or fields.
        file: The file to write.

    Returns:
        Largest difference from our features on random inputs, relative to the largest feature.

    Raises:
        ValueError: If the model is of clouds, `jax2onnx` or `onnxruntime` is missing, an operation
            has no counterpart, or the features differ by more than 1e-5.
        OSError: If the file cannot be written.
    """
    shapes = input_shapes(model)
    jax2onnx, onnxruntime = require("jax2onnx", "export"), require("onnxruntime", "export")
    function = _function(model)
    # Its own operations rely on promotion, which a program may have forbidden.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        sides = [("B", *shape) for shape in shapes.values()]
        made = jax2onnx.to_onnx(function, sides, model_name="encoder")
    data = made.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    worst = 0.0
    for batch in (1, 3):
        rng = np.random.default_rng(0)
        inputs = [rng.standard_normal((batch, *shape), "f4") for shape in shapes.values()]
        inputs[1:] = [np.abs(measure) for measure in inputs[1:]]
        (found,) = session.run(None, dict(zip(names, inputs, strict=True)))
        wanted = np.asarray(jax.jit(function)(*map(jnp.asarray, inputs)))
        worst = max(worst, float(np.abs(found - wanted).max() / np.abs(wanted).max()))
    if not worst < 1e-5:
        raise ValueError(f"the ONNX model must give our features to 1e-5, got {worst:.1e}")
    write_atomically(Path(file).expanduser(), data)
    return worst


def require(module: str, extra: str) -> Any:
    """Import an optional package, or name what installs it.

    Args:
        module: What is imported.
        extra: The extra of this package that brings it.

    Returns:
        The module.

    Raises:
        ValueError: If it is missing.

    Examples:
        >>> require("no_such_module", "export")
        Traceback (most recent call last):
            ...
        ValueError: this needs no_such_module: pip install 'lejepa-jax[export]'
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ValueError(f"this needs {module}: pip install 'lejepa-jax[{extra}]'") from None


def input_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """Say what the program of a model is given, beside the axis of the batch.

    Args:
        model: A model of images or fields.

    Returns:
        Shapes by name: normalized `images` (s s c); or normalized `values` (*space c), and of an
        encoder that weighs them their `measure` (*space), see `lejepa_jax.nn.Field`.

    Raises:
        ValueError: If the model is of clouds.
    """
    given = model.preprocessing
    if isinstance(given, FieldPreprocessing):
        values = {"values": (*given.eval_size, len(given.mean))}
        return values | ({"measure": given.eval_size} if given.weigh else {})
    if not isinstance(given, ImagePreprocessing):
        raise ValueError(
            f"a model of images or fields can be exported as a program, got one of {given.kind}"
        )
    return {"images": (given.eval_size, given.eval_size, given.channels)}


def _function(model: Model) -> Callable[..., jax.Array]:
    """The encoder with its weights as constants, as a function of `input_shapes`."""
    params = model.params  # put on a device before anything is traced
    if len(input_shapes(model)) > 1:
        return lambda values, measure: model.apply(params, Field(values, measure))
    return lambda images: model.apply(params, images)
