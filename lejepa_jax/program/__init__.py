"""The program `lejepa`: what `python train.py` is in a clone, started from an installed package.

`train.py` and `recipes/` stand beside the packages in a clone. A wheel holds copies of them in
`files/` here, so that an installation has no top-level modules of such common names.
"""

import importlib
import sys
from pathlib import Path

from lejepa_jax.training.huge_pages import restart_with_huge_pages

__all__ = ["main", "program_folder"]


def program_folder() -> Path:
    """Find the folder that holds `train.py` and `recipes/`.

    Returns:
        The clone that this package is in, or `files/` of an installed wheel.

    Raises:
        FileNotFoundError: If neither has them.
    """
    here = Path(__file__).resolve().parent
    places = (here / "files", here.parent.parent)
    for folder in places:
        if (folder / "train.py").is_file() and (folder / "recipes").is_dir():
            return folder
    raise FileNotFoundError(f"train.py and recipes/ are neither in {places[0]} nor in {places[1]}")


def main() -> int:
    """Run `lejepa RECIPE|COMMAND [FLAGS]`.

    Returns:
        The exit code.
    """
    restart_with_huge_pages()
    sys.path.insert(0, str(program_folder()))
    try:
        train = importlib.import_module("train")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("train", "recipes", "lejepa_jax"):
            raise
        print(  # noqa: T201
            f"error: the command line needs the extra 'train': pip install 'lejepa-jax[train]' "
            f"(there is no module {error.name!r})",
            file=sys.stderr,
        )
        return 2
    return train.main(sys.argv[1:])
