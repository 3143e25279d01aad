"""`explore MODEL --data-dir PATH`: a page to look through a folder without labels."""

import dataclasses
import hashlib
import shlex
import signal
import time
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from lejepa_jax.augment.fields.drawing import draw_fields
from lejepa_jax.checks import check_positive
from lejepa_jax.commands.embed import progress_line
from lejepa_jax.commands.options import parse_options, prepare_devices
from lejepa_jax.commands.table import Program
from lejepa_jax.diagnostics.density import jepa_score
from lejepa_jax.evaluation.exploration import (
    cluster,
    distances_to_neighbors,
    draw_map,
    near_duplicates,
    nearest_neighbors,
)
from lejepa_jax.models.embedding import embed_folder
from lejepa_jax.models.feature_files import read_about, read_rows
from lejepa_jax.models.inputs.sources import files_source
from lejepa_jax.models.loading import load
from lejepa_jax.models.model import Model
from lejepa_jax.models.preprocessing import FieldPreprocessing, ImagePreprocessing
from lejepa_jax.nn.fields import Field
from lejepa_jax.report.explorer import Explored, write_explorer
from lejepa_jax.training.command_line import program_words
from lejepa_jax.training.console import duration
from lejepa_jax.training.errors import UsageError
from lejepa_jax.training.signals import Stop

# Side of a picture by the most images that it is for.
_TILES = ((2500, 64), (12_000, 48))
_SMALLEST_TILE = 32
_NEIGHBORS, _FAR, _MEMBERS = 12, 120, 24
# Up to so many features a Jacobian is exact; beyond it the score is estimated.
_EXACT_FEATURES = 64
_PIECE = 512


@dataclasses.dataclass(frozen=True)
class ExploreOptions:
    """A page to look through a folder: a map, neighbors, duplicates, outliers, clusters.

    Attributes:
        model: A run, a model, a file .safetensors, or hf://OWNER/NAME.
        data_dir: The folder of the images, or of a model of fields that of sounds, TIFF, NIfTI, npy
            or png; sub-folders or `labels.csv` are classes.
        out: HTML file to write. The features are kept beside it, so that the page can be made again
            quickly, and files added later are embedded alone.
        limit: Most examples of the page; of more, as many are chosen at random.
        map: How the map is drawn: `tsne` (a minute for 10,000 examples) or `pca` (at once).
        clusters: Number of groups.
        duplicates: Smallest cosine of a pair that is listed as near-duplicates.
        scored: Examples that get a JEPA score: those far from their neighbors, and as many at
            random; 0 for none. Each takes about as long as a hundred training steps of one.
        seed: Of what is random.
        devices: Number of devices; all by default. On a CPU, as many are made.
    """

    model: Annotated[str, tyro.conf.Positional]
    data_dir: str
    out: str = "explore.html"
    limit: int = 10_000
    map: Literal["tsne", "pca"] = "tsne"
    clusters: int = 20
    duplicates: float = 0.98
    scored: int = 200
    seed: int = 0
    devices: int | None = None

    def __post_init__(self):
        check_positive("limit", self.limit)
        check_positive("clusters", self.clusters)
        if not -1 <= self.duplicates <= 1:
            raise ValueError(f"duplicates must be a cosine in [-1, 1], got {self.duplicates}")
        if self.scored < 0:
            raise ValueError(f"scored must not be negative, got {self.scored}")


def run(arguments: list[str], program: Program) -> int:
    """Write the page.

    Args:
        arguments: `explore`, a model and flags.
        program: What runs the command.

    Returns:
        The exit code.

    Raises:
        UsageError: One line about what is wrong.
    """
    options = parse_options(ExploreOptions, arguments)
    prepare_devices(options.devices)
    say, out = program.console.print, Path(options.out).expanduser().absolute()
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"out must end in .html, got {options.out!r}")
    model = load(options.model)
    kept = out.with_name(f"{out.stem}.features.npz")
    noun = model.preprocessing.kind
    with Stop(say) as stop, progress_line(program, noun) as progress:
        found = embed_folder(
            model, options.data_dir, kept, stop=lambda: stop.asked(0), progress=progress
        )
    if not found.finished:
        again = shlex.join([*program_words(), *arguments])
        say(f"stopped after {found.rows:,} {noun}; go on with: {again}")
        return 0 if stop.signal == signal.SIGTERM else 128 + (stop.signal or 0)
    began = time.perf_counter()
    explored, summary = explore_rows(model, kept, options)
    title = f"{len(explored.paths):,} {noun} of {Path(options.data_dir).absolute().name}"
    unreadable = f", {len(found.unreadable):,} could not be read" if found.unreadable else ""
    write_explorer(out, explored, title=title, summary=f"{summary}{unreadable}.")
    say(
        f"{title} {summary.lower()}{unreadable}; {len(explored.pairs):,} pairs of near-duplicates; "
        f"{duration(time.perf_counter() - began)} to make the page"
    )
    say(f"page: {out} ({out.stat().st_size / 1e6:.1f} MB), features: {kept}")
    return 0


def explore_rows(model: Model, kept: Path, options: ExploreOptions) -> tuple[Explored, str]:
    """Find what the page shows.

    Args:
        model: A model of images or fields.
        kept: File of the features of a folder.
        options: Of the command.

    Returns:
        That, and a sentence about it.

    Raises:
        UsageError: If there are fewer than two examples.
    """
    noun, pieces = model.preprocessing.kind, list(read_rows(kept))
    paths = [path for piece in pieces for path in piece.paths]
    names = [label for piece in pieces for label in piece.labels]
    features = np.concatenate([piece.features for piece in pieces])
    about = read_about(kept) or {}
    total = len(paths)
    if total < 2:
        raise UsageError(f"explore needs at least 2 {noun} that can be read, got {total}")
    if total > options.limit:
        rows = np.random.default_rng(options.seed).permutation(total)[: options.limit]
        rows.sort()
        paths, names, features = [paths[i] for i in rows], [names[i] for i in rows], features[rows]
    root = Path(about["data_dir"])
    neighbors = nearest_neighbors(features, _NEIGHBORS)
    distance = distances_to_neighbors(neighbors)
    far = np.argsort(-distance, kind="stable")
    files = [str(root / path) for path in paths]
    score, unlikely = score_some(model, files, far, options)
    groups = cluster(features, options.clusters, seed=options.seed)
    pairs = near_duplicates(neighbors, least=options.duplicates)
    class_names = sorted({name for name in names if name})
    number = {name: index for index, name in enumerate(class_names)}
    explored = Explored(
        thumbnails=thumbnails(model, files),
        paths=paths,
        labels=np.array([number.get(name, -1) for name in names], np.int32),
        class_names=class_names,
        places=draw_map(features, method=options.map, seed=options.seed),
        neighbors=neighbors.index,
        cosine=neighbors.cosine,
        distance=distance,
        far=far[:_FAR].tolist(),
        score=score,
        unlikely=unlikely,
        pairs=[(i, j, cosine, _equal(files[i], files[j])) for i, j, cosine in pairs],
        least=options.duplicates,
        cluster=groups,
        members=central_members(features, groups),
    )
    of_all = "" if len(paths) == total else f", chosen at random of {total:,} {noun}"
    recipe = model.provenance.get("recipe", "a model")
    summary = f"By the {features.shape[1]} features of {recipe}{of_all}"
    return explored, summary


def score_some(
    model: Model, files: list[str], far: np.ndarray, options: ExploreOptions
) -> tuple[np.ndarray, list[int]]:
    """Compute JEPA scores of examples far from their neighbors, and of as many at random.

    Args:
        model: The encoder.
        files: All of them.
        far: Their positions, the farthest first.
        options: Of the command.

    Returns:
        A score of each, NaN of those without one; and the outliers by it.
    """
    score = np.full(len(files), np.nan, np.float32)
    if not options.scored:
        return score, []
    rest = far[options.scored // 2 :]
    drawn = np.random.default_rng(options.seed).permutation(rest)[: (options.scored + 1) // 2]
    chosen = np.concatenate([far[: options.scored // 2], drawn])
    few = [files[i] for i in chosen]
    source = files_source(few, few, model.preprocessing)
    params = model.params
    exact = model.features <= _EXACT_FEATURES
    method: Any = {"method": "exact"} if exact else {"method": "lanczos", "num_probes": 4}

    @jax.jit
    def scores(params: Any, inputs: Any) -> Any:
        key = jax.random.key(options.seed)
        if not isinstance(inputs, Field):
            return jepa_score(model.apply, params, inputs, key=key, **method)

        def one(field: Field) -> Any:
            # The derivative is by the values: what exists of a field is no variable.
            def apply(params: Any, values: Any) -> Any:
                whole = jax.tree.map(lambda x: x[None], field)
                return model.apply(params, whole._replace(values=values))

            return jepa_score(apply, params, field.values[None], key=key, **method)[0]

        return jax.lax.map(one, inputs)

    for start in range(0, len(chosen), _PIECE):
        rows = np.arange(start, min(start + _PIECE, len(chosen)))
        batch = {name: jnp.asarray(array) for name, array in source.gather(rows).items()}
        score[chosen[rows]] = scores(params, model.preprocessing.inputs(batch))
    order = chosen[np.argsort(score[chosen], kind="stable")]
    return score, order[: min(_FAR, len(order) // 2 + 1)].tolist()


def thumbnails(model: Model, files: list[str]) -> np.ndarray:
    """Draw a small square picture of each example.

    An image has its sides in proportion, a field is as the encoder sees it, see `draw_field`.

    Args:
        model: Says how files are read.
        files: Where they are; all can be read.

    Returns:
        Pictures (n, side, side, 3).
    """
    count, read = len(files), model.preprocessing
    side = next((tile for most, tile in _TILES if count <= most), _SMALLEST_TILE)
    if isinstance(read, FieldPreprocessing):
        return _field_thumbnails(read, files, side)
    return _image_thumbnails(cast(ImagePreprocessing, read), files, side)


def _field_thumbnails(read: FieldPreprocessing, files: list[str], side: int) -> np.ndarray:
    source, whole = files_source(files, files, read), jax.jit(read.whole)
    shown = np.zeros((len(files), side, side, 3), np.uint8)
    for start in range(0, len(files), read.batch_size):
        # Batches of one size, which is one program.
        rows = np.minimum(np.arange(start, start + read.batch_size), len(files) - 1)
        batch = {name: jnp.asarray(array) for name, array in source.gather(rows).items()}
        values, measure = (np.asarray(x)[: len(files) - start] for x in whole(batch)[:2])
        shown[start : start + len(values)] = draw_fields(values, measure, side, fit=read.fit)
    return shown


def _image_thumbnails(read: ImagePreprocessing, files: list[str], side: int) -> np.ndarray:
    from PIL import Image

    count = len(files)
    preprocessing = dataclasses.replace(read, image_size=side, eval_size=side)
    source = files_source(files, files, preprocessing)
    shown = np.full((count, side, side, 3), 127, np.uint8)
    for start in range(0, count, _PIECE):
        rows = np.arange(start, min(start + _PIECE, count))
        batch = source.gather(rows)
        for row, pixels, aspect in zip(rows, batch["image"], batch["aspect"], strict=True):
            # Images come squashed to a square: back to their proportions, inside of it.
            width = max(1, round(side * min(1, float(aspect))))
            height = max(1, round(side * min(1, 1 / float(aspect))))
            flat = np.broadcast_to(pixels, (side, side, 3))
            small = Image.fromarray(flat).resize((width, height), Image.Resampling.BILINEAR)
            top, left = (side - height) // 2, (side - width) // 2
            shown[row, top : top + height, left : left + width] = np.asarray(small)
    return shown


def central_members(features: np.ndarray, groups: np.ndarray) -> list[list[int]]:
    """List the images of each group that are nearest to its center.

    Args:
        features: A row an image.
        groups: Group of each.

    Returns:
        Positions, a list a group.
    """
    members = []
    for group in range(int(groups.max()) + 1):
        rows = np.flatnonzero(groups == group)
        center = features[rows].mean(0)
        away = np.linalg.norm(features[rows] - center, axis=1)
        members.append(rows[np.argsort(away, kind="stable")][:_MEMBERS].tolist())
    return members


def _equal(first: str, second: str) -> bool:
    """Whether two files are the same, byte by byte."""
    one, other = Path(first), Path(second)
    try:
        if one.stat().st_size != other.stat().st_size:
            return False
        digests = [hashlib.sha256(path.read_bytes()).digest() for path in (one, other)]
    except OSError:
        return False
    return digests[0] == digests[1]
