"""Your own series of one or more channels, of one length or of many: sensors, spectra, ECG.

python train.py series --data npz:FILE.npz

Also `csv:FILE`, `parquet:FILE`, `npy:FILE`, `hdf5:FILE`, `folder:PATH` (wav, flac, npy); the table
of `lejepa_jax.data.fields.load_fields` says what they hold. Every window is read at 128 places,
whatever its length: where a step of time means something, as in sounds, choose `fit="pad"` as
`spoken-digits` does. Gaps (NaN) and padding are masked.
"""

import functools

from lejepa_jax.augment.fields import FieldView
from lejepa_jax.nn import ViT
from lejepa_jax.tasks.fields import FieldPretrainingConfig
from recipes import Recipe

RECIPE = Recipe(
    data="npz",
    task=FieldPretrainingConfig(
        num_axes=1,
        encoder=functools.partial(
            ViT,
            num_axes=1,
            width=96,
            depth=4,
            num_heads=4,
            patch_size=4,
            image_size=128,
            pooling="mean",
            position="axial",
        ),
        views=(
            FieldView(
                4,
                128,
                scale=(0.5, 1.0),
                gain=(0.8, 1.25),
                offset=0.1,
                noise=0.1,
                channel_drop=0.1,
                erase=(0.0, 0.15),
            ),
        ),
        num_global=4,
        eval_size=128,
        embedding_features=32,
        hidden_features=512,
        num_slices=256,
        eval_batch_size=250,
    ),
    steps=1000,
    global_batch_size=64,
    learning_rate=1e-3,
    warmup_steps=100,
    weight_decay=0.05,
    checkpoint_every=250,
)
