# %% [markdown]
# # Rotation-invariant features of point clouds
#
# A solid is the same solid however it lies. Here are features that do not change when a cloud is rotated, and what that is worth when a
# classifier is trained on upright solids and tested on rotated ones.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from flax import nnx
from sklearn.neighbors import KNeighborsClassifier

from pointcloud_jax import degree_spectrum, random_rotation, rotate, shape_dataset
from pointcloud_jax.nn import DGCNN, DiPVNet, tiny_config

train, test = (
    shape_dataset(jax.random.key(seed), per_family, 128) for seed, per_family in ((0, 10), (1, 4))
)
turns = jax.vmap(random_rotation)(jax.random.split(jax.random.key(2), len(test.points)))
turned = jax.vmap(rotate)(test.points, turns)
print(train.points.shape, test.points.shape)

# %% [markdown]
# ## A descriptor without training
#
# `degree_spectrum` is the energy of the cloud's Fourier transform at each radius and each degree of spherical harmonics.
# Rotations mix the harmonics of one degree only among themselves, so its energy stays.

# %%
radii = np.linspace(0.5, 12, 24)
spectra = jax.jit(
    lambda points: degree_spectrum(points, radii, max_degree=4).reshape(len(points), -1)
)
print(f"largest change under rotation: {jnp.abs(spectra(test.points) - spectra(turned)).max():.1e}")


# %%
def accuracy(features, name):
    classifier = KNeighborsClassifier(1).fit(features(train.points), train.label)
    scores = [classifier.score(features(points), test.label) for points in (test.points, turned)]
    print(f"{name}: {scores[0]:.2f} upright, {scores[1]:.2f} rotated")


def distances(points):  # where the points are, without regard to their order: a plain descriptor
    return np.stack(
        [
            np.histogramdd(cloud, bins=4, range=[(-1, 1)] * 3)[0].ravel()
            for cloud in np.asarray(points)
        ]
    )


accuracy(lambda points: np.log(np.asarray(spectra(points)) + 1e-3), "degree spectrum")
accuracy(distances, "histogram of positions")

# %% [markdown]
# The spectrum is the same for upright and rotated solids; a histogram of positions falls towards chance, which is
# 1 in 18.
#
# ## Networks
#
# `DiPVNet` is invariant by construction, also with random weights; `DGCNN` is not.

# %%
for name, network in (
    ("DiPVNet", DiPVNet(tiny_config(), rngs=nnx.Rngs(0))),
    ("DGCNN", DGCNN(widths=(16, 32), embedding=64, k=8, rngs=nnx.Rngs(0))),
):
    network.eval()
    graph, state = nnx.split(network)
    encode = jax.jit(lambda points, graph=graph, state=state: nnx.merge(graph, state)(points))
    upright, rotated = encode(test.points[:16]), encode(turned[:16])
    change = jnp.linalg.norm(upright - rotated) / jnp.linalg.norm(upright)
    print(f"{name}: features change by {change:.1e}")

# %% [markdown]
# `lejepa shapes` trains both on the solids, and tests them upright and under all rotations:
# [the page on point clouds](../pointcloud.md) has the results.

# %%
figure, panels = plt.subplots(1, 4, figsize=(8, 2.2), subplot_kw={"projection": "3d"})
for axes, index in zip(panels, (0, 20, 40, 60), strict=True):
    axes.scatter(*np.asarray(turned[index]).T, s=2)
    axes.set_axis_off()
plt.show()
