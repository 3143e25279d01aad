# %% [markdown]
# # A position encoding of your own
#
# A rotary encoding turns pairs of channels of queries and keys by angles that depend on their position. Here is one for images
# whose left and right edges meet, such as panoramas: the score of two patches shall depend on the way *around* the circle.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import rope_jax
from rope_jax.testing import check_encoding

# %% [markdown]
# ## The idea
#
# A pair of channels turns by the angle \(\omega \cdot p\), where \(p\) is the position and \(\omega\) a vector of frequencies. If the first
# coordinate is a longitude in radians, a full turn must change no angle but by whole turns: the frequencies along it must be
# whole numbers. Along the height any frequency will do.
# `rope_jax.from_frequencies` makes an encoding of the vectors.


# %%
def panorama(head_dim, num_heads, *, num_axes=2):
    pairs = head_dim // 2
    around = np.arange(pairs) % 4  # 0, 1, 2, 3 turns
    up = np.geomspace(1.0, 8.0, pairs) * np.where(np.arange(pairs) % 2, 1, -1)
    vectors = np.stack([around, up])[:, None, :]  # (axes, heads, pairs), the same for all heads
    return rope_jax.from_frequencies(head_dim, num_heads, vectors.astype(np.float32))


encoding = panorama(head_dim=32, num_heads=2)

# %% [markdown]
# ## Is it what it should be?
#
# `check_encoding` asserts what every rotary encoding must do: rotations are orthogonal, scores do not change when all positions
# move along the axes that are named, gradients are finite.

# %%
found = check_encoding(jax.random.key(0), encoding, head_dim=32, num_heads=2, relative_axes=[0, 1])
print(found)

# %% [markdown]
# The kernel: the score of equal queries and keys, by the displacement around the circle. It comes back after a full turn; that of
# `axial` does not.

# %%
angles = jnp.linspace(0, 4 * jnp.pi, 200)
places = jnp.stack([angles, jnp.zeros_like(angles)], 1)
ones = jnp.ones((len(angles), 2, 32))
for name, kind in (("panorama", encoding), ("axial", rope_jax.axial(32, 2))):
    turned = kind.rotate(kind.prepare(kind.init(jax.random.key(0)), places), ones)
    plt.plot(angles / (2 * jnp.pi), turned[:, 0] @ turned[0, 0] / 32, label=name)
plt.gcf().set_size_inches(6, 2.6)
plt.xlabel("turns")
plt.ylabel("score")
plt.legend()
plt.show()

# %% [markdown]
# ## In a ViT
#
# A ViT takes the encoding in place of a name. Its grid of patches goes from -π to π in both directions, so the first coordinate is a
# longitude as it is. Rolling the image by a patch now changes nothing in the mean of the patches, as it should; with `axial` it does.

# %%
from flax import nnx

from lejepa_jax.nn import ViT


def change(position):
    options = {"patch_size": 8, "image_size": 32, "pooling": "mean", "position": position}
    vit = ViT(width=64, depth=2, num_heads=2, rngs=nnx.Rngs(0), **options)
    images = jax.random.uniform(jax.random.key(1), (2, 32, 32, 3))
    return jnp.abs(vit(images) - vit(jnp.roll(images, 8, axis=2))).max()


print(f"panorama {change(encoding):.1e}, axial {change('axial'):.1e}")

# %% [markdown]
# In a recipe: `encoder=functools.partial(ViT, ..., position=encoding)`.
