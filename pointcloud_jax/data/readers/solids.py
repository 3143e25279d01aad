"""Procedural solids as a data set."""

import jax
import numpy as np

from pointcloud_jax.data.reading import CloudRequest, CloudSets
from pointcloud_jax.data.shapes import FAMILIES, num_parts, shape_dataset

#: Solids of each family in the two halves of the set.
TRAIN_PER_FAMILY, TEST_PER_FAMILY = 60, 30


def read_solids(request: CloudRequest) -> CloudSets:
    """Draw ``shapes``, or ``shapes:N`` with N solids of each family to train on.

    Args:
        request: What was asked for.

    Returns:
        Points, normals and parts.

    Raises:
        ValueError: If N is no positive whole number.
    """
    per_family = TRAIN_PER_FAMILY
    if ":" in request.name:
        argument = request.argument
        if not (argument.isascii() and argument.isdecimal() and int(argument) > 0):
            raise ValueError(
                "data must be shapes:N with a positive whole number N of solids of each family, "
                f"got {request.name!r}"
            )
        per_family = int(argument)
    # Of the validation data neither a solid nor a point is in the other two.
    numbers = {"train": 0, request.holdout: 1 if request.holdout == "test" else 2}
    share = max(1, per_family * TEST_PER_FAMILY // TRAIN_PER_FAMILY)
    clouds = len(FAMILIES) * per_family * len(numbers)
    request.budget.take(clouds * request.num_points * 28, request.name)
    draw = jax.jit(shape_dataset, static_argnums=(1, 2))
    # One size, so that it is compiled once: held-out sets are the first of each family.
    splits = {}
    for split, number in numbers.items():
        drawn = draw(jax.random.key(number), per_family, request.num_points)
        arrays = jax.tree.map(np.asarray, drawn)._asdict()
        kept = np.arange(len(arrays["label"])) % per_family < (
            per_family if split == "train" else share
        )
        splits[split] = {key: array[kept] for key, array in arrays.items()}
    # Parts are numbered within a family there, over all families here.
    counts = [num_parts(family) for family in FAMILIES]
    offsets = np.cumsum([0, *counts[:-1]])
    for arrays in splits.values():
        arrays["part"] = arrays["part"] + offsets[arrays["label"]][:, None]
    names = tuple(
        f"{f}/{i}" for f, count in zip(FAMILIES, counts, strict=True) for i in range(count)
    )
    part_class = np.repeat(np.arange(len(FAMILIES)), counts)
    return CloudSets(splits, FAMILIES, "procedural solids", names, part_class, (), f"{per_family}")
