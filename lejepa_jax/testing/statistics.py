"""Checks of statistics: what SIGReg relies on, see `lejepa_jax.statistics.normality.Statistic`."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

Way = Literal["shard_map", "shard_map, unchecked", "vmap", "pmap", "jit"]
#: Value of the mean and its gradient, by the name of the statistic.
Steps = dict[str, tuple[jax.Array, jax.Array]]

_NUM_SAMPLES, _FEATURES = 12, 3
# Valid samples of 8 devices with two each: all, one or none.
_MASK = np.array([[1, 1], [0, 0], [1, 0], [0, 1], [1, 1], [1, 1], [0, 0], [1, 1]], bool).ravel()


def check_statistic(
    statistic: Callable[..., Any] | Mapping[str, Callable[..., Any]],
    *,
    per_column: bool = True,
    widest: float = 50.0,
    devices: Sequence[int] = (2, 4, 8),
    ways: Sequence[Way] = ("shard_map", "vmap"),
) -> None:
    """Check all that SIGReg relies on; every failure says what is wrong.

    - the shape is `(*batch, k)`, or `()` of a whole cloud, in float32, whatever the dtype;
    - gradients have the dtype of the samples;
    - the order of the samples does not matter;
    - a mask is the same as leaving out, and NaN under it reaches neither value nor gradient;
    - value and gradient are finite at collapse, at ties, far out, in bfloat16, and with two, one or
      no samples;
    - on devices with unequal valid counts, value and gradient are those of one device.

    Args:
        statistic: A statistic, or several by their names: all of them are compiled together.
        per_column: Whether it maps `(*batch, n, k)` to `(*batch, k)`, or `(n, d)` to a scalar.
        widest: Scale of the cloud that lies farthest out.
        devices: Numbers of devices; those that are not there are left out.
        ways: How samples are mapped over them; `vmap` over 8, and `pmap` too.

    Raises:
        AssertionError: For the first that does not hold.

    Examples:
        >>> from lejepa_jax.statistics.moment_tests import vcreg
        >>> check_statistic(vcreg, devices=())
        >>> check_statistic(lambda x, *, mask=None, axis_name=None: (x**2).mean(-2), devices=())
        Traceback (most recent call last):
            ...
        AssertionError: statistic: the dtype must be float32 for bfloat16, got bfloat16
    """
    table = dict(statistic) if isinstance(statistic, Mapping) else {"statistic": statistic}
    _check_shapes(table, per_column)
    clouds = _clouds(widest)
    # One compiled function for all that clouds of one shape can show.
    step = jax.jit(functools.partial(_steps, table, per_column))
    with jax.debug_nans(False):
        found = step(clouds.samples, clouds.mask)
    _check_order(step, clouds, found)
    _check_masks(table, step, clouds, found, per_column)
    _check_finite(clouds, found, "float32")
    with jax.debug_nans(False):
        rounded = step(clouds.samples.astype(jnp.bfloat16), clouds.mask)
    _check_finite(clouds, rounded, "bfloat16")
    for way in ways:
        for number in (8,) if way in ("pmap", "vmap") else devices:
            if number <= jax.device_count() or way == "vmap":
                check_devices(table, way, number)


def check_devices(
    table: Mapping[str, Callable[..., Any]], way: Way, number: int = 8, *, masked: bool = True
) -> None:
    """Check that samples sharded over devices give value and gradient of one device.

    The gradient is with respect to what all devices share, averaged once at the end, as in a step
    of training.

    Args:
        table: Statistics by name.
        way: How samples are mapped over devices, by the compiler alone in `jit`.
        number: Number of devices, a divisor of 16.
        masked: Whether some samples do not count, of one shard none.

    Raises:
        AssertionError: If one differs.

    Examples:
        >>> from lejepa_jax.statistics.moment_tests import vcreg
        >>> check_devices({"vcreg": vcreg}, "vmap", 2)
    """
    weight, x = draw(_FEATURES, _FEATURES, seed=5), draw(_MASK.size, _FEATURES, seed=6)
    mask = jnp.asarray(_MASK) if masked else None

    def step(weight: Any, x: Any, mask: Any, axis_name: str | None = None) -> Steps:
        def value_and_gradient(f: Callable[..., Any]) -> tuple[Any, Any]:
            def loss(weight: Any) -> Any:
                z = jnp.matmul(x, weight, precision="highest")
                return f(z, mask=mask, axis_name=axis_name).mean()

            value, gradient = jax.value_and_grad(loss)(weight)
            return value, gradient if axis_name is None else jax.lax.pmean(gradient, axis_name)

        return {name: value_and_gradient(f) for name, f in table.items()}

    expected = jax.jit(step)(weight, x, mask)
    mapped = functools.partial(step, axis_name="data")
    rows = PartitionSpec("data")
    if way in ("pmap", "vmap"):
        shards = jax.tree.map(lambda a: a.reshape(number, -1, *a.shape[1:]), (x, mask))
        axes = (None, 0, 0 if masked else None)
        transform = jax.pmap if way == "pmap" else jax.vmap
        everywhere = transform(mapped, axis_name="data", in_axes=axes)(weight, *shards)
        for name, leaves in everywhere.items():
            for leaf in leaves:
                same = np.array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape))
                assert same, f"{name}: devices have different results under {way}"
        found = jax.tree.map(lambda leaf: leaf[0], everywhere)
    else:
        mesh = jax.make_mesh((number,), ("data",), (AxisType.Auto,), devices=jax.devices()[:number])
        if way == "jit":
            mapped = step
            x, mask = jax.device_put((x, mask), NamedSharding(mesh, rows))
        else:
            mapped = jax.shard_map(
                mapped,
                mesh=mesh,
                in_specs=(PartitionSpec(), rows, rows if masked else None),
                out_specs=PartitionSpec(),
                check_vma=way == "shard_map",
            )
        try:
            found = jax.jit(mapped)(weight, x, mask)
        except ValueError as error:
            if "replicat" not in str(error):
                raise
            raise AssertionError(
                f"{', '.join(table)}: results are not the same on all devices: a sum or a count "
                "does not cross axis_name"
            ) from error
    what = f"differs between one device and {number} ({way})"
    for name, (value, gradient) in found.items():
        assert_close(name, f"the value {what}", value, expected[name][0], rtol=2e-6, atol=2e-7)
        scale = float(jnp.abs(expected[name][1]).max())
        assert_close(name, f"the gradient {what}", gradient, expected[name][1], atol=1e-5 * scale)


def _steps(table: Mapping[str, Any], per_column: bool, x: Any, mask: Any = None) -> Steps:
    """Values, and gradients of their means, by name; leading axes are separate clouds."""

    def step(f: Any, x: Any, mask: Any) -> tuple[Any, Any]:
        def mean(x: Any) -> tuple[Any, Any]:
            value = f(x, mask=mask)
            return value.mean(), value

        gradient, value = jax.grad(mean, has_aux=True)(x)
        return value, gradient

    def over_clouds(f: Any) -> tuple[Any, Any]:
        if per_column or x.ndim == 2:
            return step(f, x, mask)
        return jax.vmap(lambda *one: step(f, *one))(x, mask)

    return {name: over_clouds(f) for name, f in table.items()}


def _check_shapes(table: Mapping[str, Any], per_column: bool) -> None:
    for dtype in (jnp.float32, jnp.bfloat16):
        for lead in ((), (2,)) if per_column else ((),):
            x = jax.ShapeDtypeStruct((*lead, _NUM_SAMPLES, _FEATURES), dtype)
            found = jax.eval_shape(functools.partial(_steps, table, per_column), x)
            wanted = (*lead, _FEATURES) if per_column else ()
            for name, (value, gradient) in found.items():
                assert value.shape == wanted, (
                    f"{name}: the shape must be {wanted} for {x.shape}, got {value.shape}"
                )
                assert value.dtype == jnp.float32, (
                    f"{name}: the dtype must be float32 for {x.dtype}, got {value.dtype}"
                )
                assert gradient.dtype == x.dtype, (
                    f"{name}: the gradient must be {x.dtype} like the samples, got {gradient.dtype}"
                )


class _Clouds(NamedTuple):
    """Clouds one after the other, the first two of them ordinary."""

    names: list[str]
    samples: jax.Array
    mask: jax.Array


def _clouds(widest: float) -> _Clouds:
    x = draw(_NUM_SAMPLES, _FEATURES)
    degenerate = {
        "collapse to 0": 0 * x,
        "collapse to 5": 0 * x + 5,
        "collapse to 1e-20": 0 * x + 1e-20,
        "ties": jnp.round(x),
        "one apart": (0 * x).at[0].set(1.0),
        "narrow": 1e-6 * x,
        "wide": widest * x,
    }
    counts = (_NUM_SAMPLES, 2, 1, 0)
    rng = np.random.default_rng(2)
    cases = [("a normal cloud, 7 samples", x, rng.permutation(_NUM_SAMPLES) < 7)]
    cases += [("another, 7 samples", draw(*x.shape, seed=1), rng.permutation(_NUM_SAMPLES) < 7)]
    for name, cloud in degenerate.items():
        for count in counts:
            cases += [(f"{name}, {count} samples", cloud, np.arange(_NUM_SAMPLES) < count)]
    names, clouds, masks = zip(*cases, strict=True)
    return _Clouds(list(names), jnp.stack(clouds), jnp.asarray(np.stack(masks)))


def _check_order(step: Callable[..., Steps], clouds: _Clouds, found: Steps) -> None:
    order = np.random.default_rng(1).permutation(_NUM_SAMPLES)
    shuffled = step(clouds.samples[:, order], clouds.mask[:, order])
    for name, (value, gradient) in found.items():
        what = "the order of the samples changes"
        mine = shuffled[name][0][:2]
        assert_close(name, f"{what} the value", mine, value[:2], rtol=1e-3, atol=1e-5)
        scale = float(jnp.abs(gradient[:2]).max())
        mine, expected = shuffled[name][1][:2], gradient[:2, order]
        assert_close(name, f"{what} the gradient", mine, expected, atol=1e-3 * scale)


def _check_masks(
    table: Mapping[str, Any],
    step: Callable[..., Steps],
    clouds: _Clouds,
    found: Steps,
    per_column: bool,
) -> None:
    alone = jax.jit(functools.partial(_steps, table, per_column))
    # The mean is over the clouds as well.
    share = len(clouds.names) if per_column else 1
    for index in range(2):
        valid = np.asarray(clouds.mask[index])
        for name, (value, gradient) in alone(clouds.samples[index][valid]).items():
            what = "a mask is not the same as leaving out:"
            mine = found[name][0][index]
            assert_close(name, f"{what} the value", mine, value, rtol=2e-5, atol=1e-6)
            mine = share * found[name][1][index][valid]
            scale = float(jnp.abs(gradient).max())
            assert_close(name, f"{what} the gradient", mine, gradient, atol=1e-4 * scale)
    with jax.debug_nans(False):
        spoiled = step(jnp.where(clouds.mask[..., None], clouds.samples, jnp.nan), clouds.mask)
    for name, parts in spoiled.items():
        for part, mine, expected in zip(("value", "gradient"), parts, found[name], strict=True):
            what = f"NaN under the mask reaches the {part}"
            assert_close(name, what, mine[:2], expected[:2], rtol=1e-5, atol=1e-6)


def _check_finite(clouds: _Clouds, found: Steps, dtype: str) -> None:
    for name, parts in found.items():
        for part, values in zip(("value", "gradient"), parts, strict=True):
            finite = np.isfinite(np.asarray(values, np.float32)).reshape(len(clouds.names), -1)
            bad = [case for case, row in zip(clouds.names, finite, strict=True) if not row.all()]
            assert not bad, f"{name}: the {part} is not finite at {bad[0]} in {dtype}"


def draw(*shape: int, seed: int = 0) -> jax.Array:
    """Draw normal numbers."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def assert_close(
    name: str, what: str, found: Any, expected: Any, *, rtol: float = 0.0, atol: float
) -> None:
    """Require that numbers agree, and say of which part what was wanted."""
    found, expected = (np.asarray(value, np.float64) for value in (found, expected))
    error = np.abs(found - expected)
    good = error <= atol + rtol * np.abs(expected)  # False of NaN
    assert good.all(), f"{name}: {what}: wanted {expected[~good][0]:.7g}, got {found[~good][0]:.7g}"
