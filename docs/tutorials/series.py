# %% [markdown]
# # A series of your own
#
# Sensor series of two channels, some of them shorter, some with gaps. The data are made here: three kinds of vibration. Labels are
# seen by the probes only.

# %%
import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)
count, length = 600, 128
kind = np.arange(count) % 3
time = np.arange(length)
phase, rate = rng.uniform(0, 2 * np.pi, (count, 1)), rng.uniform(0.15, 0.3, (count, 1))
wave = np.sin(rate * time + phase)
wave = np.where(kind[:, None] == 1, np.sign(wave), wave)  # square
wave = np.where(kind[:, None] == 2, wave * np.exp(-time / 40), wave)  # dies away
samples = np.stack([wave, np.gradient(wave, axis=1)], -1) + 0.2 * rng.normal(
    size=(count, length, 2)
)
samples[::7, 40:50, 1] = np.nan  # a gap in the second channel
lengths = rng.integers(80, length + 1, count)
rows = np.concatenate([one[:steps] for one, steps in zip(samples, lengths, strict=True)])
np.savez(
    "waves.npz", samples=rows.astype(np.float32), lengths=lengths, label=kind
)  # one after the other

figure, panels = plt.subplots(1, 3, figsize=(8, 2), layout="constrained")
for axes, index, name in zip(panels, (0, 1, 2), ("sine", "square", "dies away"), strict=True):
    axes.plot(samples[index])
    axes.set_title(name)
plt.show()

# %% [markdown]
# ## Train
#
# The recipe `series` has a small ViT over time. What is missing is NaN: it has no weight anywhere. The recipe has 1,000 steps; here
# are a few.

# %% language="bash"
# lejepa series --data npz:waves.npz --workdir run --steps 80 --log-every 40 --devices 1 --logger none --evaluate-every 0

# %% [markdown]
# ## Use it

# %%
import lejepa_jax

model = lejepa_jax.load("run")
features = model(samples[:300].astype(np.float32))
print(features.shape)

# %%
centered = features - features.mean(0)
axes = np.linalg.svd(centered, full_matrices=False)[2][:2]
plt.figure(figsize=(4, 3))
for index, name in enumerate(("sine", "square", "dies away")):
    plt.scatter(*(centered[kind[:300] == index] @ axes.T).T, s=8, label=name)
plt.legend()
plt.title("features, two main axes")
plt.show()

# %% [markdown]
# [Fields](../fields.md) has the formats, the views and how to choose them; `lejepa next-token` learns from long series without views.
