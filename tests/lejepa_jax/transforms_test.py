"""Every public function under every transform of JAX that it promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import NamedSharding, PartitionSpec

from lejepa_jax import ecf, epps_pulley, rankme, sigreg
from tests.lejepa_jax.cases import CASES, NUM_SAMPLES


def total(name):
    """A scalar of all that a function returns, with weights in which no symmetry cancels."""

    def call(x):
        leaves = jax.tree.leaves(CASES[name].call(x))
        return sum(
            jnp.vdot(jnp.cos(jnp.arange(leaf.size, dtype=jnp.float32)), jnp.square(leaf.ravel()))
            for leaf in leaves
        )

    return call


@pytest.mark.parametrize("name", CASES)
def test_checkpoint_scan_vmap_and_export_change_nothing(name):
    x, f = CASES[name].input(), total(name)
    stacked = jnp.stack([x, 1.1 * x])

    @jax.jit
    def run(stacked):
        plain = jax.vmap(jax.value_and_grad(f))(stacked)
        step = jax.value_and_grad(jax.checkpoint(f))
        _, scanned = jax.lax.scan(lambda carry, x: (carry, step(x)), None, stacked)
        return plain, scanned

    (values, gradients), scanned = run(stacked)
    for mine, theirs in ((values, scanned[0]), (gradients, scanned[1])):
        np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=2e-4 * np.abs(theirs).max())
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    exported = export.export(jax.jit(f), platforms=("cpu", "cuda", "tpu"))(shape)
    assert exported.platforms == ("cpu", "cuda", "tpu")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.forward])
def test_forward_mode_is_reverse_mode(name):
    x, f = CASES[name].input(), total(name)

    @jax.jit
    def run(x, tangent):
        _, change = jax.jvp(f, (x,), (tangent,))
        return change, jax.jacfwd(lambda s: f(x + s * tangent))(0.0), jax.grad(f)(x)

    tangent = jax.random.normal(jax.random.key(1), x.shape)
    change, along, gradient = run(x, tangent)
    np.testing.assert_allclose(change, along, rtol=1e-4)
    expected = np.vdot(gradient, tangent)
    scale = np.linalg.norm(gradient) * np.linalg.norm(tangent)
    np.testing.assert_allclose(change, expected, atol=1e-4 * scale)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.hessian])
def test_products_with_the_hessian_are_differences_of_gradients(name):
    x, f = CASES[name].input(), total(name)
    tangent = jax.random.normal(jax.random.key(2), x.shape)

    @jax.jit
    def run(x):
        gradient = jax.grad(f)
        _, forward = jax.jvp(gradient, (x,), (tangent,))
        step = 2e-3
        difference = (gradient(x + step * tangent) - gradient(x - step * tangent)) / (2 * step)
        return forward, difference

    forward, difference = run(x)
    assert jnp.isfinite(forward).all()
    scale = max(float(jnp.abs(difference).max()), 1e-3)
    if name in ("spectrum", "p_value"):  # corners: a largest value, a tabled one
        return
    np.testing.assert_allclose(forward / scale, difference / scale, atol=2e-2)


def test_the_hessian_of_the_fast_path_is_that_of_the_plain_one():
    x = CASES["sigreg"].input()
    fast, plain = (
        jax.jit(jax.hessian(CASES[name].call))(x) for name in ("sigreg", "sigreg, all derivatives")
    )
    np.testing.assert_allclose(fast, plain, atol=1e-6)


def test_forward_mode_of_the_fast_path_is_refused_and_the_docstring_says_so():
    x = CASES["epps_pulley"].input()
    with pytest.raises(TypeError, match="custom_vjp") as error:
        jax.jvp(epps_pulley, (x,), (x,))
    assert str(error.value).split("(")[0].strip() in " ".join(ecf.__doc__.split())
    assert "jax.jacfwd" in epps_pulley.__doc__


EXPLICIT = [name for name in CASES if name not in ("spectrum", "p_value", "sigreg_p_value")]


@pytest.mark.parametrize("name", EXPLICIT)
def test_meshes_with_explicit_axes_give_the_values_of_one_device(name):
    x, f = CASES[name].input(), total(name)
    mesh = jax.make_mesh((8,), ("data",))
    assert mesh.axis_types == (jax.sharding.AxisType.Explicit,)
    axis = x.ndim - 2
    assert x.shape[axis] == NUM_SAMPLES
    rows = NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))
    step = jax.jit(jax.value_and_grad(f))
    value, gradient = step(x)
    sharded = step(jax.device_put(x, rows))
    np.testing.assert_allclose(sharded[0], value, rtol=1e-4)
    scale = float(jnp.abs(gradient).max())
    np.testing.assert_allclose(sharded[1], gradient, atol=1e-4 * scale)


def test_explicit_axes_take_masks_and_stay_explicit_outside(key):
    mesh = jax.make_mesh((8,), ("data",))
    x = CASES["sigreg"].input()
    mask = jnp.broadcast_to(jnp.arange(NUM_SAMPLES) < 11, x.shape[:-1])
    rows = NamedSharding(mesh, PartitionSpec(None, "data"))
    step = jax.jit(jax.grad(lambda z, mask: sigreg(key, 2 * z, num_slices=4, mask=mask)))
    expected = step(x, mask)
    gradient = step(jax.device_put(x, rows), jax.device_put(mask, rows))
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    assert gradient.sharding.spec == PartitionSpec(None, "data", None)


def test_explicit_axes_of_samples_and_features_work_without_jit_too():
    mesh = jax.make_mesh((4, 2), ("data", "model"))
    x = CASES["rankme"].input()[:, :2]
    both = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data", "model")))
    np.testing.assert_allclose(rankme(both), rankme(x), rtol=1e-5)
    with jax.set_mesh(mesh):
        np.testing.assert_allclose(rankme(both), rankme(x), rtol=1e-5)
