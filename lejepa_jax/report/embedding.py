"""The pictures of learned embeddings and features that a report shows."""

from collections.abc import Mapping, Sequence
from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from lejepa_jax.evaluation.results import Picture
from lejepa_jax.report.distributions import plot_slices, plot_spectrum
from lejepa_jax.report.examples import plot_map, plot_neighbors, plot_patch_pca
from lejepa_jax.statistics.normality import Statistic, epps_pulley


def embedding_pictures(
    key: PRNGKeyArray,
    *,
    embeddings: Mapping[str, Float[Array | np.ndarray, "n _"]] | None = None,
    features: Float[Array | np.ndarray, "n f"] | None = None,
    labels: Int[Array | np.ndarray, " n"] | None = None,
    images: UInt8[Array | np.ndarray, "n h w c"] | None = None,
    class_names: Sequence[str] | None = None,
    patch_features: Float[Array | np.ndarray, "p gh gw e"] | None = None,
    patch_index: Int[np.ndarray, " p"] | None = None,
    statistic: Statistic = epps_pulley,
    null_mean: float | None = None,
) -> list[Picture]:
    """List the pictures of a set of held-out examples, each drawn when it is asked for.

    What is not given is left out: without labels there are no colors and no frames.

    Args:
        key: Draws slices, points and queries: the same key gives the same pictures.
        embeddings: Outputs of the projector by name, `before` and `after` training.
        features: Features of the trained encoder.
        labels: Classes, -1 where unknown.
        images: The examples as images.
        class_names: Names of the classes.
        patch_features: Features of the patches of some examples, of an encoder that has them.
        patch_index: Which of the examples those are, see :func:`examples_of_classes`; by default
            the first ones.
        statistic: Statistic of the slices.
        null_mean: Its mean on exact normal samples.

    Returns:
        Slices, covariance spectrum, map, nearest neighbors, patches.

    Examples:
        >>> cloud = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
        >>> pictures = embedding_pictures(jax.random.key(0), embeddings={"after": cloud})
        >>> [picture.title for picture in pictures]
        ['Slices of the embedding', 'Covariance spectrum of the embedding']
    """
    slice_key, map_key, neighbor_key = jax.random.split(key, 3)
    pictures = []
    if embeddings:
        text = (
            "Projections of held-out embeddings on random directions, and on the worst of 1024, "
            "against the density of N(0, 1). T is the statistic that SIGReg averages"
        )
        text += "." if null_mean is None else f"; its mean is {null_mean:.2f} on normal samples."
        draw = partial(plot_slices, slice_key, embeddings, statistic=statistic)
        pictures.append(Picture("Slices of the embedding", draw, text, vector=True))
        text = (
            "Variances along the principal axes of held-out embeddings. A round cloud of unit "
            "variance lies on the dashed line."
        )
        draw = partial(plot_spectrum, embeddings)
        pictures.append(Picture("Covariance spectrum of the embedding", draw, text, vector=True))
    if features is not None and len(features) > 2:
        text = "Features of held-out examples" + ("" if labels is None else ", colored by class")
        text += ". Distances between far groups mean little."
        draw = partial(plot_map, map_key, features, labels, class_names=class_names)
        pictures.append(Picture("Map of the features", draw, text))
    if features is not None and images is not None and len(features) > 1:
        text = "By cosine similarity of the features, among the held-out examples."
        if labels is not None:
            text += " Green: the class of the query; dashed red: another."
        draw = partial(
            plot_neighbors, neighbor_key, features, images, labels, class_names=class_names
        )
        pictures.append(Picture("Nearest neighbors", draw, text))
    if patch_features is not None and images is not None and len(patch_features):
        text = (
            "First three principal components of the patch features, over all patches shown, as "
            "red, green and blue."
        )
        if patch_index is not None:
            images = np.asarray(images)[patch_index]
        draw = partial(plot_patch_pca, patch_features, images)
        pictures.append(Picture("Patch features", draw, text))
    return pictures
