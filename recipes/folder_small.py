"""Your own folder of a few thousand images of any size, sized for two CPU cores.

python train.py folder-small --data-dir PATH

Sizes, encoder and views follow from the images, see `suited_config`: up to 16 pixels they are those
of `digits`, up to 32 those of `cifar10-small`, whose docstrings have results. This recipe itself is
not yet trained to its end, and its time is not known. After 60 of the 1,500 steps (`--steps 60
--warmup-steps 10`) on a folder of scikit-learn's digits (1,297 to train on, 500 held out, one seed,
2 CPU cores beside other work): linear 95.8 % (untrained encoder 92.4 %, pixels 92.4 %), k-NN 93.2 %
(87.8 %, 95.2 %): that of pixels is not reached so soon. No folder of photographs was tried.
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
