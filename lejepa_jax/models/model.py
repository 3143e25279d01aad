"""A trained encoder as something to keep and use."""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, PRNGKeyArray

from lejepa_jax.data.source import Source
from lejepa_jax.evaluation.features import Mapped, ShardBatch, fetch, map_examples
from lejepa_jax.models.architecture import call_maker, describe_maker
from lejepa_jax.models.inputs.sources import batch_source
from lejepa_jax.models.preprocessing import CloudPreprocessing, Preprocessing
from lejepa_jax.models.tensors import arrange_arrays, mismatches, name_arrays
from lejepa_jax.nn.encoder import HasLayers, HasPatches, HasTokens
from lejepa_jax.training.networks import Network, Variables, network
from lejepa_jax.training.sharding import AXES, make_mesh, shard_rows

#: Types in which encoders compute.
PRECISIONS = ("float32", "bfloat16")
Channels = Sequence[int | str | None] | None


@runtime_checkable
class _DescribesPoints(Protocol):
    """An encoder of clouds that has features of each point."""

    def describe(self, points: Any, /) -> Any:
        """Describe every point and every cloud."""
        ...


class Parts(nnx.Module):
    """The networks of a model: an encoder, and a projector where that was kept."""

    def __init__(self, encoder: Any, projector: Any = None):
        self.encoder = encoder
        self.projector = projector


class Model:
    """An encoder with its weights and with what its inputs go through.

    Called with images it gives features, preprocessed as in the run and in batches over all devices
    of this process. `apply` is the pure function, for other JAX code.

    Args:
        makers: What makes the `encoder`, and maybe the `projector`: each from `rngs`, and of images
            also `dtype`; functions, or partial ones, as in a recipe.
        arrays: Parameters and statistics by name, such as `encoder.norm.scale`.
        preprocessing: What inputs go through.
        precision: Type in which the networks compute; weights are float32.
        provenance: Where it is from, as JSON can hold it: data, recipe, command, results.

    Attributes:
        makers: As given.
        preprocessing: As given.
        precision: As given.
        provenance: As given.
        features: Width of the features.
        make: Makes the networks, untrained, from a key.
        net: The networks as pure functions, see `lejepa_jax.training.networks`.
        variables: Their parameters and state, on the host.
        num_devices: On how many devices of this process a call computes; None for all. To be set
            before the first call.

    Raises:
        ValueError: If the arrays are not those of the networks; one line with every difference.

    Examples:
        >>> from lejepa_jax.nn import ResNet
        >>> from lejepa_jax.models.preprocessing import ImagePreprocessing
        >>> make = functools.partial(ResNet, stage_sizes=(1,), width=4, stem="small", in_channels=1)
        >>> preprocessing = ImagePreprocessing(channels=1, image_size=8, eval_size=8)
        >>> model = random_model(jax.random.key(0), {"encoder": make}, preprocessing)
        >>> model(np.zeros((2, 8, 8), np.uint8)).shape
        (2, 4)
        >>> inputs = model.preprocess(np.zeros((2, 8, 8), np.uint8))
        >>> jax.jit(model.apply)(model.params, inputs).shape
        (2, 4)
    """

    def __init__(
        self,
        makers: Mapping[str, Callable[..., Any]],
        arrays: Mapping[str, np.ndarray],
        preprocessing: Preprocessing,
        *,
        precision: str = "float32",
        provenance: Mapping[str, Any] | None = None,
    ):
        self.makers = dict(makers)
        self.preprocessing, self.precision = preprocessing, precision
        self.provenance = dict(provenance or {})
        self.make = parts_maker(makers, preprocessing, precision)
        self.net = network(self.make)
        like = abstract_variables(self.net)
        wanted = {name: leaf.shape for name, leaf in _names(like).items()}
        wrong = mismatches({name: np.shape(array) for name, array in arrays.items()}, wanted)
        if wrong:
            raise ValueError(f"the arrays do not fit the network: {'; '.join(wrong)}")
        typed = {name: np.asarray(arrays[name], leaf.dtype) for name, leaf in _names(like).items()}
        self.variables = Variables(*(arrange_arrays(typed, part) for part in like))
        self.features = int(self.net.shape.encoder.features)
        self.num_devices: int | None = None
        self._programs: dict[Any, Any] = {}

    # --- as pure functions ------------------------------------------------------------------------

    @functools.cached_property
    def params(self) -> Any:
        """Parameters of the encoder, a pytree of arrays."""
        return jax.tree.map(jnp.asarray, self.variables.params["encoder"])

    def apply(self, params: Any, inputs: Any) -> Float[Array, "b d"]:
        """Encode what `preprocess` gave; pure, differentiable in both arguments.

        Args:
            params: Parameters of the encoder, as in `params`.
            inputs: Of images, normalized ones (b s s c) of floating point. Of clouds, points
                (b p 3), or a dictionary of `points`, `normals` and `mask`.

        Returns:
            Features in float32. Statistics of BatchNorm are those of the run.
        """
        others = {**self.variables.params, "encoder": params}
        model = self.net.merge(others, self.variables.state)
        return self._encode(model, inputs)

    def preprocess(self, inputs: Any, *, channels: Channels = None) -> Any:
        """Make what the encoder sees, of whatever a call takes.

        Args:
            inputs: See `__call__`.
            channels: Likewise.

        Returns:
            Normalized images (n s s c); of clouds a dictionary of `points` and maybe `normals` and
            `mask`. All of them at once.
        """
        source, _ = batch_source(inputs, self.preprocessing, channels)
        batch = source.gather(np.arange(len(source)))
        return self.preprocessing.inputs({name: jnp.asarray(a) for name, a in batch.items()})

    # --- as a person uses it ----------------------------------------------------------------------

    def __call__(
        self, inputs: Any, *, num_layers: int = 1, channels: Channels = None
    ) -> Float[np.ndarray, "n d"]:
        """Compute features.

        Args:
            inputs: One image or several, of any sizes: arrays (h w), (h w c), (n h w) or (n h w c)
                of uint8 or of floating point in [0, 1], PIL images, paths of files; or a list of
                them. Of clouds: arrays (p 3) or (n p 3), or a list of them.
            num_layers: Last layers to read side by side, of an encoder that can (`HasLayers`), as
                the published linear probe of a ViT does with two.
            channels: Of fields that have not the channels of the model: what each of theirs is, the
                number or the name of one of the model, in any order, or None for one that the model
                does not know and leaves out. What the model does not get is missing: encoders with
                `isolated_channels` do not see it, others see its mean.

        Returns:
            A row an input, in float32.

        Raises:
            ValueError: If something is no image or cannot be read, or has other channels.
        """
        return self._map(self.program("features", num_layers), inputs, channels)[0]

    def embeddings(self, inputs: Any, *, channels: Channels = None) -> Float[np.ndarray, "n k"]:
        """Compute embeddings: what the projector makes of the features.

        Args:
            inputs: See `__call__`.
            channels: Likewise.

        Returns:
            A row an input.

        Raises:
            ValueError: If the model was kept without its projector; else as `__call__`.
        """
        if self.net.shape.projector is None:
            raise ValueError("this model was kept without a projector, so it has no embeddings")
        return self._map(self.program("features", 1), inputs, channels)[1]

    def tokens(self, inputs: Any, *, channels: Channels = None) -> Float[np.ndarray, "n t d"]:
        """Compute features of the parts of each input: patches or positions of the last map.

        Args:
            inputs: See `__call__`.
            channels: Likewise.

        Returns:
            Rows of the grid one after the other; of clouds a row a point.

        Raises:
            ValueError: If the encoder has none; else as `__call__`.
        """
        return self._map(self.program("tokens", 1), inputs, channels)[0]

    @property
    def config(self) -> dict[str, Any]:
        """What `config.json` holds: architecture, preprocessing and precision."""
        return describe_model(self.makers, self.preprocessing, self.precision)

    def digest(self) -> str:
        """Identify the model: a digest of its networks, its weights and its preprocessing."""
        found = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode())
        for part in self.variables:
            for name, leaf in sorted(name_arrays(part).items()):
                found.update(name.encode() + np.ascontiguousarray(leaf).tobytes())
        return found.hexdigest()[:32]

    # --- as the commands use it -------------------------------------------------------------------

    def program(
        self, what: str, num_layers: int
    ) -> Callable[[Mapping[str, Array]], tuple[Array, ...]]:
        """Make the compiled function of a batch that gives features and embeddings, or tokens.

        Args:
            what: `features` or `tokens`.
            num_layers: See `__call__`.

        Returns:
            A function of a batch on the devices.

        Raises:
            ValueError: If the encoder cannot.
        """
        encoder, key = self.net.shape.encoder, (what, num_layers)
        if num_layers > 1 and not isinstance(encoder, HasLayers):
            raise ValueError(f"num_layers must be 1 with this encoder, got {num_layers}")
        if what == "tokens" and not _has_parts(encoder):
            raise ValueError("this encoder has no features of parts of an input")
        if key not in self._programs:

            @jax.jit
            def compute(variables: Variables, batch: Mapping[str, Array]) -> tuple[Array, ...]:
                model, seen = self.net.merge(*variables), self.preprocessing.inputs(batch)
                if what == "tokens":
                    return (_tokens(model.encoder, seen),)
                features = found = self._encode(model, seen)
                if num_layers > 1:
                    found = model.encoder.intermediate(seen, num_layers=num_layers)
                return (found,) if model.projector is None else (found, model.projector(features))

            self._programs[key] = functools.partial(compute, self.placed)
        return self._programs[key]

    def map_source(self, source: Source, *, num_layers: int = 1) -> Mapped:
        """Compute features of every example of a source, in its order.

        Args:
            source: Images or clouds as the model wants them.
            num_layers: See `__call__`.

        Returns:
            Features and maybe embeddings as `outputs`, with labels and indices.
        """
        function, size = self.program("features", num_layers), self.preprocessing.batch_size
        return map_examples(function, source, self.shard_batch, batch_size=size)

    @functools.cached_property
    def _mesh(self) -> jax.sharding.Mesh:
        devices = jax.local_devices()[: self.num_devices]
        return make_mesh(dict(zip(AXES, (len(devices), 1), strict=True)), devices)

    @functools.cached_property
    def shard_batch(self) -> ShardBatch:
        """Puts a batch on the devices of this process."""
        return functools.partial(shard_rows, mesh=self._mesh)

    @functools.cached_property
    def placed(self) -> Variables:
        """The variables on every device of this process."""
        return jax.device_put(self.variables, NamedSharding(self._mesh, P()))

    def _encode(self, model: Any, seen: Any) -> Array:
        if not isinstance(seen, Mapping):
            return model.encoder(seen)
        return model.encoder(seen["points"], **{k: v for k, v in seen.items() if k != "points"})

    def _map(
        self, function: Callable[..., tuple[Array, ...]], inputs: Any, channels: Channels
    ) -> list[np.ndarray]:
        """Apply a compiled function in batches of one size, which keeps the number of programs."""
        source, count = batch_source(inputs, self.preprocessing, channels)
        size = self._batch_size(count)
        parts = []
        for start in range(0, count, size):
            index = np.minimum(np.arange(start, start + size), count - 1)
            outputs = function(self.shard_batch(source.gather(index)))
            parts.append([fetch(x)[: count - start] for x in outputs])
        return [np.concatenate(rows) for rows in zip(*parts, strict=True)]

    def _batch_size(self, count: int) -> int:
        """That of the run's evaluation; of fewer examples the next power of two."""
        return min(self.preprocessing.batch_size, max(1 << (count - 1).bit_length(), 1))


def random_model(
    key: PRNGKeyArray,
    makers: Mapping[str, Callable[..., Any]],
    preprocessing: Preprocessing,
    *,
    precision: str = "float32",
) -> Model:
    """Make a model of random weights.

    Args:
        key: Random key of the weights.
        makers: See `Model`.
        preprocessing: See `Model`.
        precision: See `Model`.

    Returns:
        The model.
    """
    net = make_network(makers, preprocessing, precision)
    arrays = {name: np.asarray(leaf) for name, leaf in _names(net.init(key)).items()}
    return Model(makers, arrays, preprocessing, precision=precision)


def make_network(
    makers: Mapping[str, Callable[..., Any]], preprocessing: Preprocessing, precision: str
) -> Network:
    """Make the networks of a model as pure functions; nothing is allocated.

    Args:
        makers: See `Model`.
        preprocessing: See `Model`.
        precision: See `Model`.

    Returns:
        The networks, `Parts`.

    Raises:
        ValueError: If one cannot be made.
    """
    return network(parts_maker(makers, preprocessing, precision))


def parts_maker(
    makers: Mapping[str, Callable[..., Any]], preprocessing: Preprocessing, precision: str
) -> Callable[[PRNGKeyArray], Parts]:
    """Make the function that makes the networks of a model from a key.

    Args:
        makers: See `Model`.
        preprocessing: See `Model`.
        precision: See `Model`.

    Returns:
        The function.

    Raises:
        ValueError: For an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    # Networks on clouds compute in float32 alone, and are not asked.
    clouds = isinstance(preprocessing, CloudPreprocessing)
    dtype = {} if clouds else {"dtype": jnp.dtype(precision)}

    def make(key: PRNGKeyArray) -> Parts:
        rngs = nnx.Rngs(key)
        made = {
            name: call_maker(maker, f"the {name}", axis_name=None, rngs=rngs, **dtype)
            for name, maker in makers.items()
        }
        return Parts(**made)

    return make


def describe_model(
    makers: Mapping[str, Callable[..., Any]], preprocessing: Preprocessing, precision: str
) -> dict[str, Any]:
    """Describe a model as JSON can hold it.

    Args:
        makers: See `Model`.
        preprocessing: See `Model`.
        precision: See `Model`.

    Returns:
        Architecture, preprocessing and precision.

    Raises:
        ValueError: If an option of a network is no literal.
    """
    fields = {name: getattr(preprocessing, name) for name in preprocessing.__dataclass_fields__}
    return {
        "architecture": {name: describe_maker(make) for name, make in makers.items()},
        "preprocessing": {
            name: list(value)
            if isinstance(value, Sequence) and not isinstance(value, str)
            else value
            for name, value in fields.items()
        },
        "precision": precision,
    }


def abstract_variables(net: Network) -> Variables:
    """Shapes and types of the variables of networks; nothing is allocated."""
    return jax.eval_shape(net.init, jax.random.key(0))


def _names(variables: Variables) -> dict[str, Any]:
    """Parameters and state by name: attributes of one module, so that no name is there twice."""
    return {**name_arrays(variables.params), **name_arrays(variables.state)}


def _has_parts(encoder: Any) -> bool:
    return isinstance(encoder, HasTokens | HasPatches | _DescribesPoints)


def _tokens(encoder: Any, seen: Any) -> Array:
    if isinstance(seen, Mapping):
        rest = {name: value for name, value in seen.items() if name != "points"}
        return encoder.describe(seen["points"], **rest).per_point
    if isinstance(encoder, HasTokens):
        return encoder.tokens(seen)
    found = encoder.patch_features(seen)
    return found.reshape(found.shape[0], -1, found.shape[-1])
