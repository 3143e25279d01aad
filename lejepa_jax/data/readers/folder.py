"""Folders of image files."""

from lejepa_jax.data.encoded import Encoded, EncodedImages
from lejepa_jax.data.images import EXTENSIONS
from lejepa_jax.data.listing import Listing, list_splits
from lejepa_jax.data.reading import Request
from lejepa_jax.data.splits import Parts


def read_folder(request: Request) -> Parts:
    """Read ``folder:PATH``, or ``folder`` in `data_dir`: image files in folders of their classes.

    Folders named after splits are the splits. Links that leave the folder, and links to folders,
    are not followed.
    """
    path = request.path
    if request.name == "folder":
        if request.data_dir is None:
            raise ValueError("data_dir must name a folder of images for the data set folder")
        path = request.data_dir
    listed = list_splits(path, EXTENSIONS, noun="images", ledger=request.ledger)

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
            channels=3,
            class_names=listing.class_names,
        )

    info = {"ignored": ", ".join(listed.ignored)} if listed.ignored else {}
    return Parts(serve(listed.train), serve(listed.test), serve(listed.validation), info)
