"""A table of views of fields, to see what an encoder is trained on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.augment.fields.drawing import draw_fields
from lejepa_jax.augment.fields.specs import FieldView
from lejepa_jax.augment.fields.views import eval_field, make_field_views
from lejepa_jax.checks import check_positive, needs_extra
from lejepa_jax.data.fields.normalization import Normalization
from lejepa_jax.data.fields.source import FieldSource
from lejepa_jax.nn.fields import Field

if TYPE_CHECKING:
    from PIL.Image import Image

_GAP, _HEADER = 4, 14


def field_table(
    source: FieldSource,
    views: Sequence[FieldView],
    normalization: Normalization,
    *,
    seed: int = 0,
    rows: int = 8,
    tile: int = 112,
) -> "Image":
    """Draw a row a field: first the field as it is stored, then its views as training sees them.

    Args:
        source: Where the fields come from.
        views: What views to make.
        normalization: Of the channels.
        seed: Of the choice of fields and of their views.
        rows: How many fields at most.
        tile: Side of a picture, in pixels.

    Returns:
        The table, a picture of Pillow.

    Raises:
        ValueError: If `rows` or `tile` is not positive, or the views do not fit the fields.
    """
    with needs_extra("train"):
        from PIL import Image as pillow
        from PIL import ImageDraw

    check_positive("rows", rows)
    check_positive("tile", tile)
    drawn = np.random.default_rng(seed).permutation(len(source))[:rows]
    batch = source.gather(drawn)
    values, extent = jnp.asarray(batch["values"]), jnp.asarray(batch["extent"])
    keys = example_keys(jax.random.key(seed), jnp.asarray(batch["index"]))
    stored = source.layout.shape

    @jax.jit
    def make(keys: Array, values: Array, extent: Array) -> tuple[Field, tuple[Field, ...]]:
        size, fit = (views[0].size, "sphere") if views[0].fit == "sphere" else (stored, "resize")
        whole = eval_field(values, extent, size, normalization, fit=fit)
        return whole, make_field_views(keys, values, extent, views, normalization)

    whole, made = make(keys, values, extent)
    columns = [("field", np.asarray(whole.values), np.asarray(whole.measure))]
    for spec, group in zip(views, made, strict=True):
        size = spec.size if isinstance(spec.size, int) else " x ".join(map(str, spec.size))
        for number in range(spec.count):
            title = f"view {len(columns) - 1}: {size}"
            own = jax.tree.map(lambda x, n=number: np.asarray(x[n]), group)
            columns.append((title, own.values, own.measure))
    step = tile + _GAP
    size = len(columns) * step + _GAP, len(drawn) * step + _GAP + _HEADER
    table = pillow.new("RGB", size, "white")
    pen = ImageDraw.Draw(table)
    for column, (title, found, measure) in enumerate(columns):
        pen.text((_GAP + column * step, _GAP), title, "black")
        for row in range(len(drawn)):
            drawn_field = draw_fields(found[row][None], measure[row][None], tile, fit=views[0].fit)
            picture = pillow.fromarray(drawn_field[0])
            table.paste(picture, (_GAP + column * step, _GAP + _HEADER + row * step))
    return table
