"""Fixed positions of a grid of patches, added to its tokens."""

import jax.numpy as jnp
from jaxtyping import Array, Float


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
    if features % 4:
        raise ValueError(f"width must be divisible by 4 for sin-cos positions, got {features}")
    bands = features // 4
    omega = 10000.0 ** -(jnp.arange(bands, dtype=jnp.float32) / bands)
    halves = []
    for count, whole in zip((height, width), reference or (height, width), strict=True):
        places = (jnp.arange(count, dtype=jnp.float32) + 0.5) * (whole / count) - 0.5
        angles = places[:, None] * omega[None]
        halves.append(jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1))
    shape = (height, width, features // 2)
    rows = jnp.broadcast_to(halves[0][:, None], shape)
    columns = jnp.broadcast_to(halves[1][None], shape)
    return jnp.concatenate([rows, columns], -1)
