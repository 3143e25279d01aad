"""Mixup and CutMix: pairs of examples of a batch, images and targets alike."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray


def mix_pairs(
    keys: Key[Array, " b"],
    images: Float[Array, "b h w c"],
    targets: Float[Array, "b k"],
    *,
    mixup: float = 0.0,
    cutmix: float = 0.0,
) -> tuple[Float[Array, "b h w c"], Float[Array, "b k"]]:
    r"""Mix example :math:`2i` with :math:`2i + 1`, images and targets alike.

    With :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)`, one for each pair, mixup makes
    :math:`\lambda x_{2i} + (1 - \lambda) x_{2i+1}` and the mirror image of that; CutMix replaces a
    box of :math:`1 - \lambda` of the area, at most, by that of the other, and weighs the targets by
    the area that was left. Neighbors of a shuffled batch are random partners, and they lie on one
    device: what is mixed does not depend on how many devices there are.

    Args:
        keys: One an example; the first of each pair counts.
        images: An even number of them.
        targets: Distributions over classes.
        mixup: :math:`\alpha` of mixup, 0 for none.
        cutmix: :math:`\alpha` of CutMix, 0 for none. With both, a pair draws either.

    Returns:
        Mixed images and targets.

    Raises:
        ValueError: If the number of examples is odd.

    Examples:
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> mix = jax.jit(mix_pairs, static_argnames=("mixup", "cutmix"))
        >>> images, targets = mix(keys, jnp.eye(2)[:, None, None], jnp.eye(2), mixup=1.0)
        >>> bool(jnp.allclose(images[:, 0, 0], targets)), float(targets[0].sum())
        (True, 1.0)

    References:
        H. Zhang et al., "mixup", arXiv 1710.09412, 2017. S. Yun et al., "CutMix", arXiv 1905.04899,
        2019, algorithm 1.
    """
    if mixup == 0 and cutmix == 0:
        return images, targets
    size, height, width, _ = images.shape
    if size % 2:
        raise ValueError(f"mixup and cutmix need an even number of examples a device, got {size}")

    def draw(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        """Share of the own image, the mask of what is pasted, and whether to paste."""
        which, share, place = jax.random.split(key, 3)
        pastes = jnp.bool_(cutmix > 0)
        if mixup and cutmix:
            pastes = jax.random.bernoulli(which)
        alpha = jnp.where(pastes, jnp.float32(cutmix), jnp.float32(mixup))
        left = jax.random.beta(share, alpha, alpha)
        half = jnp.sqrt(1 - left) / 2
        center = jax.random.uniform(place, (2,))
        rows = (jnp.arange(height, dtype=jnp.float32) + 0.5) / height
        columns = (jnp.arange(width, dtype=jnp.float32) + 0.5) / width
        inside_rows = jnp.abs(rows - center[0]) < half
        inside_columns = jnp.abs(columns - center[1]) < half
        mask = inside_rows[:, None] & inside_columns[None]
        return jnp.where(pastes, 1 - mask.mean(), left), mask, pastes

    share, mask, pastes = jax.vmap(draw)(keys[::2])
    per_pixel = jnp.where(pastes[:, None, None], 1 - mask.astype(jnp.float32), share[:, None, None])

    def mix(x: Array, weight: Array) -> Array:
        pairs = x.reshape(size // 2, 2, *x.shape[1:])
        weight = weight[:, None]
        return (weight * pairs + (1 - weight) * pairs[:, ::-1]).reshape(x.shape)

    return mix(images, per_pixel[..., None]), mix(targets, share[:, None])
