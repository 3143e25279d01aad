"""Meshes whose axes are explicit, the default of `jax.make_mesh`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import rope_jax

HEADS, DIM = 2, 24


@pytest.fixture(scope="module")
def mesh():
    made = jax.make_mesh((2, 2), ("data", "model"), devices=jax.devices()[:4])
    assert made.axis_types == (AxisType.Explicit, AxisType.Explicit)
    return made


def agree(mesh, function, arguments, specs):
    """Value and gradients on sharded arguments are those on one device."""

    def loss(*arguments):
        leaves = jax.tree.leaves(function(*arguments))
        return sum((jnp.sin(leaf).sum() for leaf in leaves), start=0.0)

    run = jax.value_and_grad(loss, argnums=tuple(range(len(arguments))))
    alone = jax.jit(run)(*arguments)
    with jax.set_mesh(mesh):
        put = [
            jax.device_put(x, NamedSharding(mesh, spec))
            for x, spec in zip(arguments, specs, strict=True)
        ]
        together = jax.jit(run)(*put)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), together, alone
    )


@pytest.mark.parametrize("name", sorted(rope_jax.ENCODINGS))
def test_encodings_of_sharded_examples_heads_and_positions(mesh, name):
    options = {
        "rope_1d": {"num_axes": 2, "learned": True},
        "spherical": {"learned": True},
        "learned_absolute": {"grid": (2, 3)},
    }.get(name, {})
    encoding = rope_jax.ENCODINGS[name](DIM, HEADS, **options)
    params = encoding.init(jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    # Learned per head, they may be sharded with the heads.
    specs = [
        P(
            *(
                "model" if size == HEADS and axis == leaf.ndim - back else None
                for axis, size in enumerate(leaf.shape)
            )
        )
        for leaf in leaves
        for back in [{"liere": 3, "rope_1d": 2, "string_cayley": 2}.get(name, 0)]
    ]

    def run(positions, x, *leaves):
        params = jax.tree.unflatten(tree, leaves)
        rotated = encoding.rotate(encoding.prepare(params, positions), x)
        return rotated if encoding.embed is None else (rotated, encoding.embed(params, positions))

    positions, x = (
        jax.random.normal(jax.random.key(i), shape)
        for i, shape in enumerate([(2, 3, 2), (2, 3, HEADS, DIM)])
    )
    agree(mesh, run, [positions, x, *leaves], [P("data"), P("data", None, "model"), *specs])


def draw(*shape):
    return jax.random.normal(jax.random.key(sum(shape)), shape)


@pytest.mark.parametrize(
    "spec", [P("data", None, None, "model"), P("data", "model"), P(None, "data")]
)
def test_attention_over_several_leading_axes(mesh, spec):
    x, logs = draw(2, 2, 3, 2, 4), draw(2, 2, 3)
    agree(
        mesh,
        lambda x, logs: rope_jax.attention(x, x, x, log_measure=logs),
        [x, logs],
        [spec, P(*spec[:2])],
    )


def test_attention_of_sharded_queries_with_a_bias(mesh):
    agree(
        mesh,
        lambda q, k, bias: rope_jax.attention(q, k, k, bias=bias),
        [draw(2, 4, 2, 4), draw(2, 3, 2, 4), draw(2, 4, 3)],
        [P("data", "model"), P("data"), P()],
    )


def test_log_measure_of_sharded_examples(mesh):
    agree(
        mesh,
        lambda m: rope_jax.log_measure(jnp.exp(m), num_prefix=2),
        [draw(2, 3)],
        [P("data")],
    )


def test_keys_that_are_sharded_along_their_tokens_are_refused_in_one_line(mesh):
    with jax.set_mesh(mesh):
        x = jax.device_put(jnp.zeros((2, 4, 1, 4)), NamedSharding(mesh, P("data", "model")))
        with pytest.raises(ValueError, match=r"k and v must not be sharded .* mesh axis 'model'"):
            jax.jit(rope_jax.attention)(x, x, x)


def test_attention_over_leading_axes_is_that_of_each(key):
    q, k, v, bias = (
        draw(2, 3, 4, 2, 4),
        draw(2, 3, 5, 2, 4),
        draw(2, 3, 5, 2, 6),
        draw(2, 1, 2, 4, 5),
    )
    logs, mask = draw(5), jax.random.bernoulli(key, 0.7, (2, 3, 1, 4, 5)).at[..., 0].set(True)
    run = jax.jit(rope_jax.attention)
    out = run(q, k, v, bias=bias, log_measure=logs, mask=mask)
    one = run(q[1, 2], k[1, 2], v[1, 2], bias=bias[1, 0], log_measure=logs, mask=mask[1, 2])
    np.testing.assert_allclose(out[1, 2], one, atol=1e-6)
    with pytest.raises(ValueError, match="want 0 or 2 axes in front, got 1"):
        rope_jax.attention(q, k, v, bias=draw(2, 2, 4, 5))
