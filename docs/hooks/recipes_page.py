"""The page of the recipes, written from their docstrings."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: What is trained, by the class of the recipe's task and the package that it is of.
GROUPS = {
    ("lejepa_jax", "PretrainingConfig"): "LeJEPA on images",
    ("lejepa_jax", "MaskedPredictionConfig"): "Masked prediction on images",
    ("lejepa_jax", "FieldPretrainingConfig"): "LeJEPA on sounds, series, bands and volumes",
    ("lejepa_jax", "NextTokenConfig"): "Prediction of the next latent token",
    ("pointcloud_jax", "CloudPretrainingConfig"): "LeJEPA on point clouds",
    ("lejepa_jax", "WorldModelConfig"): "World models",
    ("lejepa_jax", "ClassificationConfig"): "Classifiers of images",
    ("pointcloud_jax", "ClassificationConfig"): "Classifiers of point clouds",
    ("pointcloud_jax", "SegmentationConfig"): "Segmentation of point clouds",
}


def recipes_page() -> str:
    """Write the page: for each recipe its docstring and its source."""
    groups: dict[str, list[str]] = {}
    for path in sorted((ROOT / "recipes").glob("*.py")):
        if path.name != "__init__.py":
            source = path.read_text()
            groups.setdefault(_group(source), []).append(_section(path, source))
    order = [*GROUPS.values(), "Others"]
    text = (
        "# Recipes\n\nA recipe is a configuration with a name: `python train.py NAME`, or "
        "`lejepa NAME` where the package is installed. Every field is a flag; "
        "`python train.py NAME --help` lists them. Results are those of the recipe's docstring: "
        "where none is given, the recipe was not trained to its end.\n\n"
    )
    for group in order:
        if group in groups:
            text += f"## {group}\n\n" + "".join(groups[group])
    return text


def _group(source: str) -> str:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                key = node.module.split(".")[0], alias.name
                if key in GROUPS:
                    return GROUPS[key]
    return "Others"


def _section(path: Path, source: str) -> str:
    name = path.stem.replace("_", "-")
    paragraphs = (ast.get_docstring(ast.parse(source)) or "").split("\n\n")
    said = [
        f"```bash\n{part}\n```" if part.startswith("python train.py") else part
        for part in paragraphs
    ]
    shown = "\n".join(f"    {line}" if line else "" for line in source.splitlines())
    folded = f'??? example "recipes/{path.name}"\n    ```python\n{shown}\n    ```\n'
    return f"### {name}\n\n" + "\n\n".join(said) + f"\n\n{folded}\n"
