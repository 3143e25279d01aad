# %% [markdown]
# # From a folder of images to a shared model
#
# The whole way with a folder of your own: look at it, train, use the model, embed the folder, find near images.
# The images here are drawn by a program, so that the page can be made without a network; put your own path in their place.
# Cells that begin with `%%bash` are typed in a terminal.

# %%
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

rng = np.random.default_rng(0)
folder = Path("images")
for kind in ("circle", "cross", "square"):
    (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(80):
        side = int(rng.integers(40, 70))
        image = Image.fromarray(rng.integers(0, 90, (side, side, 3), np.uint8))
        draw = ImageDraw.Draw(image)
        x, y, r = (*rng.integers(16, side - 16, 2).tolist(), int(rng.integers(8, 14)))
        color = tuple(rng.integers(120, 256, 3).tolist())
        if kind == "circle":
            draw.ellipse((x - r, y - r, x + r, y + r), fill=color)
        elif kind == "square":
            draw.rectangle((x - r, y - r, x + r, y + r), fill=color)
        else:
            draw.line((x - r, y, x + r, y), fill=color, width=5)
            draw.line((x, y - r, x, y + r), fill=color, width=5)
        image.save(folder / kind / f"{number:03}.png")
print(sum(1 for _ in folder.rglob("*.png")), "images")

# %% [markdown]
# ## A recipe of its own
#
# A recipe is a Python file with a constant `RECIPE`. This one has a small residual network and views of 32 pixels, so that it is
# trained in a minute. For real images start from the recipe `folder`.

# %%
recipe = '''
"""Small pictures of shapes."""

import functools

from lejepa_jax.augment import cifar_view
from lejepa_jax.nn import ResNet
from lejepa_jax.tasks import PretrainingConfig
from lejepa_jax.training.recipe import Recipe

RECIPE = Recipe(
    data="folder",
    task=PretrainingConfig(
        image_size=40,
        encoder=functools.partial(ResNet, stage_sizes=(1, 1), width=16, stem="small"),
        views=(cifar_view(2, 32),),
        num_global=2,
        embedding_features=16,
        hidden_features=64,
        trade_off=0.02,
        num_slices=128,
        eval_size=32,
    ),
    steps=60,
    global_batch_size=48,
    learning_rate=2e-3,
    log_every=20,
)
'''
Path("mine.py").write_text(recipe)

# %% language="bash"
# lejepa ./mine.py --data-dir images --workdir run --devices 1 --logger none --evaluate-every 0

# %% [markdown]
# `run/report.html` has curves, spectra, neighbors and confusions. The same command again would go on where it was stopped.
# The probes are beside an untrained encoder and raw pixels; sixty steps on such simple pictures are here to show the way.
#
# ## Use it

# %%
import lejepa_jax

model = lejepa_jax.load("run")
paths = sorted(str(path) for path in folder.rglob("*.png"))
features = model(paths)
print(features.shape, features.dtype)

# %% [markdown]
# The nearest images of three of them, by the cosine of their features:

# %%
import matplotlib.pyplot as plt

unit = features / np.linalg.norm(features, axis=1, keepdims=True)
figure, panels = plt.subplots(3, 6, figsize=(7, 3.6), layout="constrained")
for row, query in zip(panels, (10, 100, 200), strict=True):
    near = np.argsort(-unit @ unit[query])[:6]
    for axes, index in zip(row, near, strict=True):
        axes.imshow(Image.open(paths[index]))
        axes.axis("off")
panels[0, 0].set_title("query", fontsize=8)
panels[0, 1].set_title("nearest", fontsize=8)
plt.show()

# %% [markdown]
# ## Embed a whole folder
#
# Images that are added later are embedded alone.

# %% language="bash"
# lejepa embed run --data-dir images --out features.npz --devices 1

# %% [markdown]
# ## Share it
#
# A model is a folder of three files: weights, configuration and a card. `lejepa publish run hf://OWNER/NAME` puts it on the
# Hugging Face hub; here it is only copied.

# %%
lejepa_jax.save(model, "shared")
print(*sorted(path.name for path in Path("shared").iterdir()))
again = lejepa_jax.load("shared")
print(
    bool(
        np.array_equal(again(paths[:8]), features[:8])
        or np.allclose(again(paths[:8]), features[:8], atol=1e-5)
    )
)
