# %% [markdown]
# # SIGReg in Flax Linen and Equinox
#
# `lejepa_loss` and `sigreg` are functions of arrays. They know nothing of networks, so they fit into any library.
# Here is the same small encoder in Flax Linen and in Equinox, trained with the same step.

# %%
import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax
from sklearn.datasets import load_digits

from lejepa_jax import feature_std, lejepa_loss, rankme

pixels = jnp.asarray(load_digits().data, jnp.float32) / 16  # 1,797 digits of 8 x 8 pixels
print(pixels.shape)

# %% [markdown]
# ## Views
#
# Two views of a digit: shifted by a pixel in a random direction, with some noise. A key for each view and step.


# %%
def views(key, images, count=2):
    def view(key):
        shift_key, noise_key = jax.random.split(key)
        shifts = jax.random.randint(shift_key, (len(images), 2), -1, 2)
        shift = jax.vmap(lambda image, by: jnp.roll(image, by, (0, 1)))
        moved = shift(images.reshape(-1, 8, 8), shifts)
        return moved.reshape(-1, 64) + 0.1 * jax.random.normal(noise_key, (len(images), 64))

    return jax.vmap(view)(jax.random.split(key, count))  # (views, batch, 64)


# %% [markdown]
# ## The step, once for both
#
# `encode(params, inputs)` is all that differs. The key of the slices is made from the step, so that they are fresh each time.


# %%
def train(encode, params, steps=300, batch_size=256):
    optimizer = optax.adam(3e-3)

    @jax.jit
    def step(params, state, number):
        row_key, view_key, slice_key = jax.random.split(
            jax.random.fold_in(jax.random.key(1), number), 3
        )
        rows = jax.random.choice(row_key, len(pixels), (batch_size,), replace=False)
        both = views(view_key, pixels[rows])

        def loss(params):
            embeddings = encode(params, both)  # (views, batch, features)
            found = lejepa_loss(slice_key, embeddings, num_global=2, trade_off=0.05, num_slices=256)
            return found.total, found

        gradient, found = jax.grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, found

    state, log = optimizer.init(params), []
    for number in range(steps):
        params, state, found = step(params, state, number)
        log.append((float(found.prediction), float(found.sigreg)))
    return params, jnp.array(log)


# %% [markdown]
# ## Flax Linen


# %%
class Encoder(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.gelu(nn.Dense(256)(x))
        x = nn.gelu(nn.Dense(256)(x))
        return nn.Dense(16)(x)


linen = Encoder()
linen_params, linen_log = train(linen.apply, linen.init(jax.random.key(0), pixels[:1]))

# %% [markdown]
# ## Equinox
#
# An Equinox module is a pytree itself. Its arrays are the parameters; the rest is put back before the call.

# %%
network = eqx.nn.MLP(64, 16, width_size=256, depth=2, activation=jax.nn.gelu, key=jax.random.key(0))
arrays, rest = eqx.partition(network, eqx.is_array)


def encode(arrays, inputs):  # (views, batch, 64) -> (views, batch, 16)
    return jax.vmap(jax.vmap(eqx.combine(arrays, rest)))(inputs)


equinox_params, equinox_log = train(encode, arrays)

# %% [markdown]
# ## What came out
#
# The prediction loss falls, and so does SIGReg, towards 1.05, which is what samples of N(0, I) have.

# %%
figure, panels = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
for log, name in ((linen_log, "Linen"), (equinox_log, "Equinox")):
    panels[0].plot(log[:, 0], label=name)
    panels[1].semilogy(log[:, 1], label=name)
panels[0].set(title="prediction", xlabel="step")
panels[1].set(title="SIGReg", xlabel="step")
panels[1].axhline(1.05, color="gray", ls=":", label="N(0, I)")
panels[1].legend()
plt.show()

# %%
for name, embed, params in (
    ("Linen", linen.apply, linen_params),
    ("Equinox", encode, equinox_params),
):
    z = embed(params, pixels[None])[0]
    print(f"{name}: RankMe {rankme(z):.1f} of 16, smallest deviation {feature_std(z).min():.2f}")

# %% [markdown]
# For many devices, wrap the step in `jax.shard_map`, pass `axis_name="data"` to `lejepa_loss` and average the gradient once
# with `jax.lax.pmean(gradient, "data")`. Under plain `jax.jit` on sharded arrays nothing changes.
