"""Your own folder of a few thousand images of any size, sized for two CPU cores.

python train.py folder-small --data-dir PATH

Sizes, encoder and views follow from the images, see `suited_config`: up to 16 pixels they are those
of `digits`, up to 32 those of `cifar10-small`, whose docstrings have results. This recipe itself is
not yet trained to its end: neither its time nor its results are known.
"""

from lejepa_jax.tasks import SmallFolderConfig
from recipes import Recipe

RECIPE = Recipe(
    data="folder",
    task=SmallFolderConfig(),
    steps=1500,
    global_batch_size=128,
    learning_rate=3e-3,
    warmup_steps=100,
    weight_decay=0.05,
    log_every=20,
    checkpoint_every=500,
)
