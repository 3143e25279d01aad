"""Folders of image files."""

from collections.abc import Sequence

from lejepa_jax.data.images.decoding import EXTENSIONS, is_gray
from lejepa_jax.data.images.encoded import Encoded, EncodedImages
from lejepa_jax.data.listing import Listing, list_splits
from lejepa_jax.data.reading import Request
from lejepa_jax.data.splits import Parts


def read_folder(request: Request) -> Parts:
    """Read ``folder:PATH``, or ``folder`` in `data_dir`: image files in folders of their classes.

    Folders named after splits are the splits. A file ``labels.csv`` with the columns ``file`` and
    ``label`` names the classes in place of the sub-folders. Links that leave the folder, and links
    to folders, are not followed. The images are gray if all of them are, by their headers.
    """
    path = request.path
    if request.name == "folder":
        if request.data_dir is None:
            raise ValueError("data_dir must name a folder of images for the data set folder")
        path = request.data_dir
    listed = list_splits(path, EXTENSIONS, noun="images", ledger=request.ledger)
    channels = request.options.channels
    if channels is None:
        parts = filter(None, (listed.train, listed.test, listed.validation))
        channels = 1 if _all_gray([path for part in parts for path in part.paths], request) else 3

    def serve(listing: Listing | None) -> EncodedImages | None:
        if listing is None:
            return None
        paths, labels = listing.paths, listing.labels

        def fetch(records: list[int]) -> list[Encoded]:
            return [(paths[i], int(labels[i])) for i in records]

        return request.encoded(
            fetch,
            listing.describe,
            len(paths),
            labels=labels,
            channels=channels,
            class_names=listing.class_names,
            path=paths.__getitem__,
        )

    return Parts(serve(listed.train), serve(listed.test), serve(listed.validation), listed.info)


def _all_gray(paths: Sequence[str], request: Request) -> bool:
    """Whether every image is gray by its header. One with colors ends the search.

    Sets of colored images cost a few headers; a set of gray ones costs all of its headers, which is
    exact and depends on no order or sample.
    """
    run, gray = 4 * request.decoding.num_threads, False
    for start in range(0, len(paths), run):
        for found in request.decoding.pool.map(is_gray, paths[start : start + run]):
            if found is False:
                return False
            gray = gray or bool(found)
    return gray
