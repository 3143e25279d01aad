"""Models of the Hugging Face hub: fetched once, then read from its cache; published."""

import re
import tempfile
from pathlib import Path

from lejepa_jax.checks import needs_extra
from lejepa_jax.models.model import Model
from lejepa_jax.models.saving import CARD, CONFIG, WEIGHTS, save

_NAME = re.compile(r"hf://([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?", re.ASCII)


def parse_hub_name(text: str) -> tuple[str, str | None]:
    """Read `hf://OWNER/NAME` or `hf://OWNER/NAME@REVISION`.

    Args:
        text: What was given.

    Returns:
        The repository and the revision: a branch, a tag or a commit.

    Raises:
        ValueError: If it is neither.

    Examples:
        >>> parse_hub_name("hf://somebody/lejepa-digits@v1")
        ('somebody/lejepa-digits', 'v1')
    """
    found = _NAME.fullmatch(text)
    if not found or ".." in text:
        raise ValueError(f"a model of the hub must read hf://OWNER/NAME or @REVISION, got {text!r}")
    return found[1], found[2]


def fetch_model(text: str) -> tuple[Path, Path]:
    """Fetch a model, unless its revision is in the cache.

    What the cache has is used without asking the hub. A newer revision is fetched once it is named.

    Args:
        text: `hf://OWNER/NAME`, maybe with `@REVISION`.

    Returns:
        The folder of its files, and the folder of the cache that they lie in.

    Raises:
        ValueError: If there is no such model, or it is not in the cache and the hub cannot be
            reached.
        MissingExtra: If `huggingface_hub` is not installed.
    """
    with needs_extra("hub"):
        import huggingface_hub  # pyright: ignore[reportMissingImports]

    name, revision = parse_hub_name(text)
    # Only these three: nothing else of a repository is wanted, and no code.
    wanted = [WEIGHTS, CONFIG, CARD]
    for offline in (True, False):
        try:
            folder = huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=wanted, local_files_only=offline
            )
        except Exception as error:  # of the network, of the hub, of the disk
            if offline:
                continue
            raise ValueError(f"{text} cannot be fetched: {_reason(error)}") from None
        if offline and not all((Path(folder) / file).exists() for file in (WEIGHTS, CONFIG)):
            continue  # somebody fetched a part of it
        return Path(folder), Path(folder).parent.parent
    raise AssertionError("unreachable")


def publish_model(
    model: Model, text: str, *, public: bool = False, license: str | None = None
) -> str:
    """Publish a model on the hub: its three files as one commit, nothing else.

    Who publishes is what `hf auth login` or the variable `HF_TOKEN` says.

    Args:
        model: The model.
        text: `hf://OWNER/NAME`, maybe with `@BRANCH`. The repository and the branch are made if
            they are not there.
        public: Whether a new repository can be seen by everybody; an existing one stays as it is.
        license: License of the weights, for the card, see `save`.

    Returns:
        What `load` takes to load this very commit: `hf://OWNER/NAME@COMMIT`.

    Raises:
        ValueError: If the name is none, the hub cannot be reached, or it refuses.
        MissingExtra: If `huggingface_hub` is not installed.
    """
    with needs_extra("hub"):
        import huggingface_hub  # pyright: ignore[reportMissingImports]

    name, branch = parse_hub_name(text)
    with tempfile.TemporaryDirectory() as place:
        folder = save(model, Path(place) / "model", license=license)
        try:
            api = huggingface_hub.HfApi()
            api.create_repo(name, private=not public, exist_ok=True)
            if branch is not None:
                api.create_branch(name, branch=branch, exist_ok=True)
            done = api.upload_folder(
                repo_id=name,
                folder_path=folder,
                revision=branch,
                commit_message="A model of lejepa-jax",
                allow_patterns=[WEIGHTS, CONFIG, CARD],
            )
        except Exception as error:  # of the network, of the hub
            raise ValueError(f"{text} cannot be published: {_reason(error)}") from None
    return f"hf://{name}@{done.oid}"


def _reason(error: Exception) -> str:
    """One line about what went wrong."""
    return " ".join(str(error).split())[:200] or type(error).__name__
