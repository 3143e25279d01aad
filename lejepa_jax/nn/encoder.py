"""What an encoder is, what some of them can do beside, and encoders by name."""

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Float, Int, Key

from lejepa_jax.nn.convolutions.convnext_v2 import CONVNEXT_SIZES, ConvNeXt, convnext
from lejepa_jax.nn.convolutions.plain_network import ConvNet, convnet
from lejepa_jax.nn.convolutions.residual_network import ResNet, resnet
from lejepa_jax.nn.transformers.vision_transformer import ViT
from lejepa_jax.nn.transformers.vit_sizes import VIT_SIZES, vit
from rope_jax.registry import parse_choice


@runtime_checkable
class Encoder(Protocol):
    """Maps examples to one feature vector each.

    `isinstance` asks for `features` and for being callable, not for what it is called with;
    `lejepa_jax.testing.check_encoder` tests the rest.

    Attributes:
        features: Width of the feature vectors.
    """

    features: int

    def __call__(
        self, inputs: Any, /, *, train: bool = False, keys: Key[Array, " b"] | None = None
    ) -> Float[Array, "b _"]:
        """Encode a batch.

        Args:
            inputs: An array, examples first, or a pytree of them.
            train: Whether to behave as in training: statistics of the batch, stochastic depth.
            keys: One key an example, made from its index in the global batch, for what is random.

        Returns:
            Features in float32.
        """
        ...


@runtime_checkable
class HasPatches(Protocol):
    """An encoder of images that has features of each patch."""

    def patch_features(self, images: Float[Array, "b h w c"], /) -> Float[Array, "b gh gw d"]:
        """Compute features of the patches in their grid, in evaluation."""
        ...


@runtime_checkable
class HasTokens(Protocol):
    """An encoder that has features of parts of an example, in evaluation."""

    def tokens(self, inputs: Any, /) -> Float[Array, "b n d"]:
        """Compute features of the parts; of an image, the patches row by row."""
        ...


@runtime_checkable
class TrainsTokens(Protocol):
    """An encoder that gives features of parts beside its feature vector, in training too."""

    features: int

    def features_and_tokens(
        self, inputs: Any, /, *, train: bool = False, keys: Key[Array, " b"] | None = None
    ) -> tuple[Float[Array, "b d"], Float[Array, "b n d"]]:
        """Compute what a call returns, and features of the parts, as wide."""
        ...


@runtime_checkable
class DropsTokens(Protocol):
    """An encoder that can encode a part of the tokens of each example, for less work."""

    features: int

    def draw_kept(self, keys: Key[Array, " b"], inputs: Any, share: float, /) -> Int[Array, "b k"]:
        """Draw which tokens are kept, from a key an example."""
        ...

    def __call__(
        self,
        inputs: Any,
        /,
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
        kept: Int[Array, "b k"] | None = None,
    ) -> Float[Array, "b _"]:
        """Encode the kept tokens of a batch."""
        ...


@runtime_checkable
class MasksTokens(Protocol):
    """An encoder that says where its tokens are, and gives those of a part of them in training."""

    features: int

    def token_grid(self, inputs: Any, /) -> tuple[int, ...]:
        """Count the tokens along each axis."""
        ...

    def features_and_tokens(
        self,
        inputs: Any,
        /,
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
        kept: Int[Array, "b k"] | None = None,
    ) -> tuple[Float[Array, "b d"], Float[Array, "b k d"]]:
        """Encode the kept tokens of a batch, all by default: a feature vector and the tokens."""
        ...


@runtime_checkable
class HasLayers(Protocol):
    """An encoder whose last layers can be read together, as the published linear probe does."""

    def intermediate(self, inputs: Any, /, *, num_layers: int = 2) -> Float[Array, "b _"]:
        """Concatenate the feature vectors after each of the last layers, in evaluation."""
        ...


@runtime_checkable
class WeighsTokens(Protocol):
    """An encoder that can weigh its tokens by the part of the image they stand for.

    Attributes:
        num_prefix: Tokens that are no patches. With none the weights cancel.
        log_measure: Whether it weighs them where the call does not say.
    """

    num_prefix: int
    log_measure: bool

    def __call__(
        self,
        inputs: Any,
        /,
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
        weigh_tokens: bool | None = None,
    ) -> Float[Array, "b _"]:
        """Encode a batch with or without weights."""
        ...


class Family(NamedTuple):
    """Encoders of one architecture.

    Attributes:
        make: Makes one from a size and options.
        module: Its class, whose options they are.
        sizes: Sizes there are; the first is taken where none is named.
        between: What stands between the family and the size in a name.
    """

    make: Callable[..., Any]
    module: type
    sizes: tuple[str | int, ...]
    between: str


#: Encoders by the first part of their name.
ENCODERS: Mapping[str, Family] = MappingProxyType(
    {
        "vit": Family(vit, ViT, ("S", *(size for size in VIT_SIZES if size != "S")), "-"),
        "resnet": Family(resnet, ResNet, (18, 34, 50, 101, 152), ""),
        "convnet": Family(convnet, ConvNet, ("small", "tiny", "base"), "-"),
        "convnext": Family(convnext, ConvNeXt, tuple(CONVNEXT_SIZES), "-"),
    }
)
# What the caller of the maker gives, and no line of text can.
_GIVEN = ("dtype", "axis_name", "rngs")


def encoder_by_name(text: str, **defaults: Any) -> Callable[..., Encoder]:
    """Give what makes the encoder that a line of text asks for.

    Args:
        text: A name, alone or called with options that are literals: `resnet18`, `vit-S`,
            `vit-S(patch_size=8)`, `convnext-atto(stem_patch=2)`. The size may also be the first
            argument: `vit('S', patch_size=8)`.
        **defaults: Options for encoders that have them and are not given others, such as
            `image_size=32`.

    Returns:
        A function of further options: `dtype`, `axis_name`, `rngs`, `in_channels`.

    Raises:
        ValueError: If there is no such name, size or option.

    Examples:
        >>> from flax import nnx
        >>> make = encoder_by_name("vit('S', patch_size=8)", image_size=32)
        >>> nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0))).grid
        (4, 4)
        >>> encoder_by_name("resnet19")
        Traceback (most recent call last):
            ...
        ValueError: encoder must be one of vit-S, vit-Ti, vit-B, vit-L, vit-H, vit-g, vit-G,
        resnet18, resnet34, resnet50, resnet101, resnet152, convnet-small, convnet-tiny,
        convnet-base, convnext-atto, convnext-femto, convnext-pico, convnext-nano, convnext-tiny,
        convnext-small, convnext-base, convnext-large, convnext-xlarge, convnext-huge,
        got 'resnet19'
    """
    names = {
        f"{name}{family.between}{size}": (name, size)
        for name, family in ENCODERS.items()
        for size in family.sizes
    }
    # The parser wants names that Python has, and every argument by its name.
    head, bracket, rest = text.strip().partition("(")
    rest = re.sub(r"^\s*(?=['\"\d])", "size=", rest)
    try:
        name, options = parse_choice(head.replace("-", "_") + bracket + rest)
    except ValueError as error:
        raise ValueError(f"encoder must name one, such as vit-S(patch_size=8); {error}") from None
    name, size = names.get(head.strip(), (name, None))
    if name in ENCODERS and size is None:
        size = options.pop("size", ENCODERS[name].sizes[0])
    if name not in ENCODERS or size not in ENCODERS[name].sizes:
        raise ValueError(f"encoder must be one of {', '.join(names)}, got {text!r}")
    family = ENCODERS[name]
    known = [
        parameter.name
        for parameter in inspect.signature(family.module.__init__).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in _GIVEN
    ]
    for option in options:
        if option not in known:
            raise ValueError(f"options of {name} are {', '.join(known)}; got {option!r}")
    suited = {option: value for option, value in defaults.items() if option in known}
    return functools.partial(family.make, size, **(suited | options))
