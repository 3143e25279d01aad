"""`publish MODEL hf://OWNER/NAME`: a model on the Hugging Face hub."""

import dataclasses
from typing import Annotated

import tyro

from lejepa_jax.commands.options import parse_options
from lejepa_jax.commands.table import Program
from lejepa_jax.models.loading import load
from lejepa_jax.models.storage.hub import parse_hub_name, publish_model


@dataclasses.dataclass(frozen=True)
class PublishOptions:
    """A model on the Hugging Face hub: weights, configuration and card.

    Attributes:
        model: A run, a model, a file .safetensors, or hf://OWNER/NAME. Of a run that was stopped,
            its newest checkpoint.
        name: Where to: hf://OWNER/NAME, maybe with @BRANCH.
        public: Whether everybody can see a repository that is made now.
        license: License of the weights, for the card.
    """

    model: Annotated[str, tyro.conf.Positional]
    name: Annotated[str, tyro.conf.Positional]
    public: bool = False
    license: str | None = None


def run(arguments: list[str], program: Program) -> int:
    """Publish a model.

    Args:
        arguments: `publish`, a model, a name and flags.
        program: What runs the command.

    Returns:
        The exit code.

    Raises:
        UsageError: One line about what is wrong.
    """
    options = parse_options(PublishOptions, arguments)
    parse_hub_name(options.name)  # before anything is loaded
    where = publish_model(
        load(options.model), options.name, public=options.public, license=options.license
    )
    program.console.print(
        f"lejepa_jax.load({where!r})", markup=False, highlight=False, soft_wrap=True
    )
    return 0
