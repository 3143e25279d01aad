"""Where the patches of a grid are: tables that are added, encodings that turn queries and keys."""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float

import rope_jax
import rope_jax.kernels
from lejepa_jax.checks import check_choice

# Positions that are no encoding of `rope_jax`.
_OWN = ("learned", "sincos", "none")
#: Kernels of distance that attention may be weighted by.
KERNELS = ("exponential", "gaussian", "matern", "scale_free", "von_mises_fisher", "wendland")


def sincos_table(
    height: int, width: int, features: int, *, reference: tuple[int, int] | None = None
) -> Float[Array, "{height} {width} {features}"]:
    r"""Tabulate the fixed sine-cosine positions of a grid of patches.

    Half of the features encode the row :math:`y`, half the column :math:`x`, each as
    :math:`\sin(\omega_f y), \cos(\omega_f y)` with :math:`\omega_f = 10000^{-4f/D}` for
    :math:`f = 0, \dots, D/4 - 1`. Positions are counted in patches of the reference grid: a grid of
    another size is stretched over it, :math:`y_i = (i + \tfrac12) H_0 / H - \tfrac12`, as the
    resizing of a learned table does. On the reference grid these are the published integers.

    Args:
        height: Rows of patches.
        width: Columns of patches.
        features: Width of the tokens.
        reference: Rows and columns of the grid trained on; by default this grid.

    Returns:
        The table, in float32.

    Raises:
        ValueError: If `features` is not divisible by 4.

    Examples:
        >>> sincos_table(2, 2, 4)[1, 0].round(3)
        Array([0.841, 0.54 , 0.   , 1.   ], dtype=float32)

    References:
        X. Chen, S. Xie, K. He, "An Empirical Study of Training Self-Supervised Vision
        Transformers", arXiv 2104.02057, 2021, section 5.
    """
    return sincos_grid((height, width), features, reference=reference)


def sincos_grid(
    grid: tuple[int, ...], features: int, *, reference: tuple[int, ...] | None = None
) -> Float[Array, "*grid {features}"]:
    r"""Tabulate fixed sine-cosine positions of a grid of any number of axes.

    As `sincos_table`, every axis being encoded by its part of the features.

    Args:
        grid: Patches along each axis.
        features: Width of the tokens.
        reference: Patches of the grid trained on; by default this grid.

    Returns:
        The table, in float32.

    Raises:
        ValueError: If `features` is not divisible by twice the number of axes.

    Examples:
        >>> sincos_grid((3,), 4).shape
        (3, 4)
    """
    rank = len(grid)
    if features % (2 * rank):
        raise ValueError(
            f"width must be divisible by {2 * rank} for sin-cos positions, got {features}"
        )
    bands = features // (2 * rank)
    omega = 10000.0 ** -(jnp.arange(bands, dtype=jnp.float32) / bands)
    shape = (*grid, features // rank)
    parts = []
    for axis, (count, whole) in enumerate(zip(grid, reference or grid, strict=True)):
        places = (jnp.arange(count, dtype=jnp.float32) + 0.5) * (whole / count) - 0.5
        angles = places[:, None] * omega[None]
        part = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)
        along = tuple(count if i == axis else 1 for i in range(rank))
        parts.append(jnp.broadcast_to(part.reshape(*along, -1), shape))
    return jnp.concatenate(parts, -1)


def resize_table(
    table: Float[Array, "*before d"], grid: tuple[int, ...], *, antialias: bool = False
) -> Float[Array, "*after d"]:
    """Resize a learned table to another grid, bicubically with half-pixel centers.

    Without antialiasing by default, so that a smaller crop samples the table instead of averaging
    it away.

    Args:
        table: Learned positions.
        grid: Rows and columns wanted; of other fields, patches along each axis.
        antialias: Whether a smaller grid averages the rows between its own, as timm does.

    Returns:
        The table of that grid; the same one on its own grid.

    Examples:
        >>> resize_table(jnp.ones((2, 2, 3)), (4, 3)).shape
        (4, 3, 3)
    """
    if grid == table.shape[:-1]:
        return table
    return jax.image.resize(table, (*grid, table.shape[-1]), "cubic", antialias=antialias)


def position_by_name(
    spec: str,
    head_dim: int,
    num_heads: int,
    grid: tuple[int, ...],
    *,
    num_axes: int | None = None,
) -> str | rope_jax.Encoding:
    """Read what `position` says of a vision transformer.

    Args:
        spec: "learned", "sincos" or "none", or an encoding of `rope_jax` with its options.
        head_dim: Channels of one head.
        num_heads: Heads.
        grid: Rows and columns of the patches trained on.
        num_axes: Axes of the positions where those of the grid are others, as on the sphere.

    Returns:
        One of the three words, or the encoding.

    Raises:
        ValueError: If there is no such encoding, or it has no such option.

    Examples:
        >>> position_by_name("learned", 8, 2, (4, 4))
        'learned'
    """
    try:
        name, options = rope_jax.parse_choice(spec)
        if name in _OWN:
            if options:
                raise ValueError(f"{name!r} takes no options, got {spec!r}")
            return name
        return rope_jax.encoding_by_name(
            spec,
            head_dim,
            num_heads,
            num_axes=len(grid) if num_axes is None else num_axes,
            grid=grid,
            remainder="pass",
        )
    except ValueError as error:
        own = ", ".join(_OWN)
        raise ValueError(f"position must be {own}, or name an encoding; {error}") from None


def grid_positions(
    spec: str,
    grid: tuple[int, ...],
    train_grid: tuple[int, ...],
    *,
    spacing: tuple[float, ...] | None = None,
) -> Float[Array, "n m"]:
    """Compute positions of patches as `coordinates` of a vision transformer says.

    Args:
        spec: A convention of `rope_jax.patch_grid` with its options: "integer",
            "centers(order='ij')"; or "healpix", where a patch is a cell of a HEALPix grid in nested
            order and its position the unit vector of its center, times pi.
        grid: Rows and columns of the patches.
        train_grid: Those of the images trained on, unless the options have `train_shape`.
        spacing: Distance of two patches along each axis, in any unit, where they differ (volumes of
            thick slices): the longest side of the grid trained on fills [-pi, pi], the others their
            part of it.

    Returns:
        The positions, row by row.

    Raises:
        ValueError: If there is no such convention or option.

    Examples:
        >>> grid_positions("integer", (1, 2), (4, 4)).tolist()
        [[0.0, 0.0], [1.0, 0.0]]
    """
    try:
        name, options = rope_jax.parse_choice(spec)
        if name == "healpix" and not options:
            return math.pi * rope_jax.unit_vectors(sphere_angles(grid))
        check_choice("its name", name, ("centers", "integer", "linspace"))
        unknown = set(options) - {"train_shape", "extent", "normalize", "anchor", "order"}
        if unknown:
            raise ValueError(f"unknown options {', '.join(sorted(unknown))}")
        options = {"train_shape": train_grid, "convention": name, **options}
        if spacing is not None:
            sides = [count * step for count, step in zip(train_grid, spacing, strict=True)]
            extent = tuple(math.pi * side / max(sides) for side in sides)
            options = {"extent": extent, **options}
        return rope_jax.patch_grid(grid, **options).positions
    except ValueError as error:
        raise ValueError(
            f"coordinates must name a convention of rope_jax.patch_grid, got {spec!r}; {error}"
        ) from None


def sphere_angles(grid: tuple[int, ...]) -> Float[Array, "n 2"]:
    """Longitude and latitude of patches that are the cells of a HEALPix grid in nested order.

    Args:
        grid: Their number, :math:`12 n^2`.

    Returns:
        Angles in radians.

    Raises:
        ValueError: If there is no such grid.

    Examples:
        >>> sphere_angles((48,)).shape
        (48, 2)
    """
    sides = math.isqrt(grid[0] // 12)
    if len(grid) != 1 or 12 * sides * sides != grid[0]:
        raise ValueError(f"healpix wants 12 n^2 patches of 4^k samples along one axis, got {grid}")
    return rope_jax.healpix_grid(sides, order="nested").positions


def kernel_bias(
    spec: str,
    positions: Float[Array, "*b n m"],
    *,
    space: Literal["flat", "sphere"],
    num_prefix: int,
) -> Float[Array, "*b 1 t t"]:
    """Compute what a kernel of the distance between patches adds to the scores of attention.

    Kernels of compact support ("wendland(radius=0.8)") make neighborhoods: windows, discs, balls,
    caps of the sphere. Tokens in front of the patches see all and are seen by all.

    Args:
        spec: A kernel of `rope_jax.kernels` with its options.
        positions: Where the patches are; on the sphere longitude and latitude, so that distances
            are those along great circles.
        space: See `rope_jax.kernels.distances`.
        num_prefix: Class and register tokens.

    Returns:
        The bias of all tokens.

    Raises:
        ValueError: If there is no such kernel or option.

    Examples:
        >>> places = jnp.array([[0.0], [1.0], [3.0]])
        >>> kernel_bias("exponential(length_scale=2.0)", places, space="flat", num_prefix=0)[0, 0]
        Array([-0. , -0.5, -1.5], dtype=float32)
    """
    try:
        name, options = rope_jax.parse_choice(spec)
        check_choice("its name", name, KERNELS)
        kernel = getattr(rope_jax.kernels, name)(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"kernel must name one of rope_jax.kernels, got {spec!r}; {error}"
        ) from None
    bias = rope_jax.kernels.pairwise_bias(kernel, positions, positions, space=space)
    front = [(0, 0)] * (bias.ndim - 2)
    return jnp.pad(bias, [*front, (num_prefix, 0), (num_prefix, 0)])


def encode_positions(
    encoding: rope_jax.Encoding,
    params: Any,
    positions: Float[Array, "*b n m"],
    *,
    sets: int,
    num_prefix: int,
) -> tuple[Array | None, tuple[Callable[[Array], Array], ...]]:
    """Prepare an encoding for a grid, once a forward pass.

    Args:
        encoding: The encoding.
        params: What it learned, sets first.
        positions: Where the patches are; of each example, if not all have the same.
        sets: How many sets of parameters there are.
        num_prefix: Tokens in front of the patches, which are left alone.

    Returns:
        What is added to the patches, or None; for each set, what turns queries or keys
        `(b, num_prefix + n, h, d)`.

    Examples:
        >>> encoding = rope_jax.encoding_by_name("axial", 8, 2)
        >>> params = rope_jax.init_layers(encoding, jax.random.key(0), 1)
        >>> added, (rotate,) = encode_positions(
        ...     encoding, params, jnp.zeros((4, 2)), sets=1, num_prefix=1)
        >>> added, bool((rotate(jnp.ones((1, 5, 2, 8))) == 1).all())
        (None, True)
    """
    rotations = rope_jax.prepare_layers(encoding, params, positions, sets)

    def rotate(rotation: Any, x: Array) -> Array:
        prefix, patches = x[:, :num_prefix], x[:, num_prefix:]
        # In float32, as the tables are: only the result is rounded.
        turned = encoding.rotate(rotation, patches.astype(jnp.float32))
        return jnp.concatenate([prefix, turned.astype(x.dtype)], 1)

    added = None
    if encoding.embed is not None:
        first = jax.tree.map(lambda leaf: leaf[0], params)
        added = encoding.embed(first, positions)
    # One function for each table: blocks that share a table share it.
    distinct = {id(rotation): Partial(rotate, rotation) for rotation in rotations}
    return added, tuple(distinct[id(rotation)] for rotation in rotations)
