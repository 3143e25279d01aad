"""Every public function under every transform of JAX."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import rope_jax
from rope_jax import analysis, frequencies, kernels
from tests.rope_jax.cases import CASES, CONSTANTS, ELSEWHERE, RANDOM

# First-order forward mode, which a custom backward pass excludes.
REVERSE_ONLY = {"comrope"}


def readout(name: str):
    """The size of its arguments, and a scalar function of them that hides no value."""
    case = CASES[name]
    sizes = [int(np.prod(shape)) for shape in case.shapes]

    def loss(x):
        pieces = jnp.split(x, np.cumsum(sizes)[:-1].tolist())
        args = [piece.reshape(shape) for piece, shape in zip(pieces, case.shapes, strict=True)]
        out = jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(case.call(*args))])
        return jnp.sum(jnp.sin(out) * jnp.cos(jnp.arange(out.size, dtype=jnp.float32)))

    return sum(sizes), loss


@pytest.mark.parametrize("name", CASES)
def test_every_transform_agrees_with_every_other(name):
    size, loss = readout(name)
    rng = np.random.default_rng(0)
    x, other, tangent = (jnp.asarray(rng.normal(size=size), jnp.float32) for _ in range(3))

    @jax.jit
    def run(x, other, tangent):
        pair = jnp.stack([x, other])
        gradient, curvature = jax.jvp(jax.grad(loss), (x,), (tangent,))
        out = {
            "gradient": gradient,
            "curvature": curvature,
            "reverse over reverse": jax.grad(lambda x: jnp.vdot(jax.grad(loss)(x), tangent))(x),
            "vmap": jax.vmap(jax.grad(loss))(pair),
            "scan": jax.grad(
                lambda x: lax.scan(lambda c, x: (c + jax.checkpoint(loss)(x), None), 0.0, x)[0]
            )(pair),
        }
        if name not in REVERSE_ONLY:
            out["forward"] = jax.jacfwd(loss)(x)
        return out

    out = jax.tree.map(np.asarray, run(x, other, tangent))
    scale = np.abs(out["gradient"]).max() + 1e-3
    if "forward" in out:
        np.testing.assert_allclose(out["forward"], out["gradient"], rtol=1e-3, atol=1e-4 * scale)
    np.testing.assert_allclose(out["vmap"][0], out["gradient"], rtol=1e-3, atol=1e-4 * scale)
    np.testing.assert_allclose(
        out["scan"], out["vmap"], rtol=1e-3, atol=1e-4 * np.abs(out["vmap"]).max() + 1e-7
    )
    most = np.abs(out["curvature"]).max() + scale
    np.testing.assert_allclose(
        out["curvature"], out["reverse over reverse"], rtol=1e-3, atol=1e-4 * most
    )


@pytest.mark.parametrize("name", CASES)
def test_everything_can_be_exported_for_every_platform(name):
    size, loss = readout(name)
    export = jax.export.export(jax.jit(jax.value_and_grad(loss)), platforms=("cpu", "cuda", "tpu"))
    exported = export(jax.ShapeDtypeStruct((size,), jnp.float32))
    assert [aval.shape for aval in exported.out_avals] == [(), (size,)]


def test_forward_mode_names_the_argument_that_it_needs():
    size, loss = readout("comrope")
    with pytest.raises(TypeError, match="no forward mode; pass derivatives='all'"):
        jax.jit(jax.jacfwd(loss))(jnp.ones(size))


def test_no_public_function_is_left_out():
    tested = {*CASES, *CONSTANTS, *RANDOM, *ELSEWHERE}
    tested |= {name.removesuffix(".init") for name in RANDOM}
    public = {
        *rope_jax.__all__,
        *(f"analysis.{name}" for name in analysis.__all__),
        *(f"kernels.{name}" for name in kernels.__all__),
        *(f"frequencies.{name}" for name in frequencies.__all__),
    }
    renamed = {"no_position": "none"}
    assert {name for name in public if renamed.get(name, name) not in tested} == set()
