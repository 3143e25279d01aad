"""The card of a model: what a person reads who finds its folder, as Markdown."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from flax import nnx

from lejepa_jax.models.architecture import is_known, maker_of
from lejepa_jax.models.weights.pytorch import pytorch_section

_MOST_RESULTS = 30

# What a model is called with, by the kind of its preprocessing.
_INPUTS = {
    "images": "paths, PIL images or arrays",
    "clouds": "clouds, points (n, p, 3)",
    "fields": "arrays (n, ..., channels), or a list of arrays of any sizes",
}


def write_card(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Write the card of a model.

    Args:
        config: What `config.json` holds.
        shapes: Shapes of the arrays by name.

    Returns:
        The text.

    Examples:
        >>> text = write_card({"provenance": {"recipe": "digits"}, "features": 4}, {"a": (2, 3)})
        >>> "# digits" in text, "6 numbers" in text
        (True, True)
    """
    provenance = config.get("provenance", {})
    name, license = provenance.get("recipe", "A model"), provenance.get("license")
    parameters = sum(math.prod(shape) for shape in shapes.values())
    front = {
        "library_name": "lejepa-jax",
        "license": license or "other",
        "pipeline_tag": "image-feature-extraction"
        if _kind(config) == "images"
        else "feature-extraction",
    }
    parts = [
        "---\n" + "".join(f"{key}: {_scalar(value)}\n" for key, value in front.items()) + "---",
        f"# {_plain(name)}",
        f"An encoder with {config.get('features')} features and {parameters:,} numbers, "
        f"computed in {config.get('precision', 'float32')}.",
        "## Use it",
        _usage(config),
        *_in_pytorch(config, len(shapes)),
        *_table("Where it is from", _origin(provenance)),
        *_table("Results on held-out data", _results(provenance.get("results"))),
        *_table("What its inputs go through", dict(config.get("preprocessing", {}))),
        "## Files",
        f"`model.safetensors`, SHA-256 `{_plain(config.get('sha256', 'not known'))}`; "
        "`config.json` has the architecture as data. Nothing in either is code.",
        "## License of the weights",
        _plain(license) if license else "Not stated. Whoever publishes them says it here.",
    ]
    return "\n\n".join(parts) + "\n"


def _kind(config: Mapping[str, Any]) -> str:
    kind = dict(config.get("preprocessing", {})).get("kind")
    return kind if kind in _INPUTS else "images"


def _usage(config: Mapping[str, Any]) -> str:
    inputs = _INPUTS[_kind(config)]
    own = dict(config.get("architecture", {})).get("encoder", {}).get("own")
    named = re.sub(r"[^\w.]", "", str(own), flags=re.ASCII)
    maker = f", encoder=MAKER)  # MAKER is {named}" if own else ")"
    return (
        "```python\nimport lejepa_jax\n\n"
        f'model = lejepa_jax.load("PATH OF THIS FOLDER"{maker}\n'
        f"features = model(inputs)  # {inputs}\n```\n\n"
        'From the hub: `lejepa_jax.load("hf://OWNER/NAME")`, with '
        "`pip install 'lejepa-jax[hub]'`."
    )


def _in_pytorch(config: Mapping[str, Any], num_arrays: int) -> list[str]:
    description = dict(config.get("architecture", {})).get("encoder")
    if description is None or not is_known(description) or _kind(config) != "images":
        return []
    make = maker_of(description, num_arrays)
    section = pytorch_section(nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0))))
    return [section] if section else []


def _origin(provenance: Mapping[str, Any]) -> dict[str, Any]:
    data = provenance.get("data", {})
    found = {
        "data": data.get("name") if isinstance(data, Mapping) else data,
        "examples to train on": data.get("train") if isinstance(data, Mapping) else None,
        "recipe": provenance.get("recipe"),
        "command": provenance.get("command"),
        "step": provenance.get("step"),
        "weights": provenance.get("weights"),
        "commit": (provenance.get("source") or {}).get("commit"),
    }
    versions = provenance.get("versions")
    if isinstance(versions, Mapping):
        found["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return {name: value for name, value in found.items() if value is not None}


def _results(results: Any) -> dict[str, Any]:
    if not isinstance(results, Mapping):
        return {}
    rows = {}
    for score, values in results.items():
        if not isinstance(values, Mapping) or score in ("diagnostics", "confusion"):
            continue
        for what, value in values.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                rows[f"{score}, {what}"] = f"{value:.4f}"
    return dict(list(rows.items())[:_MOST_RESULTS])


def _table(title: str, rows: Mapping[str, Any]) -> list[str]:
    if not rows:
        return []
    lines = [f"| {_plain(name)} | {_plain(value)} |" for name, value in rows.items()]
    return [f"## {title}", "| | |\n| --- | --- |\n" + "\n".join(lines)]


def _scalar(value: Any) -> str:
    """A text as YAML takes it for one."""
    text = str(value)
    return text if re.fullmatch(r"[A-Za-z][\w.-]*", text, re.ASCII) else json.dumps(text)


def _plain(value: Any) -> str:
    """One line of text without markup: names of data and commands come from outside."""
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text).strip()
