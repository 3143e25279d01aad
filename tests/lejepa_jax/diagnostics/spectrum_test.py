import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from lejepa_jax.diagnostics import spectrum as diagnostics
from lejepa_jax.diagnostics.spectrum import label_free_score

# Compiled once a shape: operation by operation, compilation would be most of the time.
alpha_req = jax.jit(diagnostics.alpha_req)
condition_number = jax.jit(diagnostics.condition_number)
covariance_spectrum = jax.jit(diagnostics.covariance_spectrum)
effective_rank = jax.jit(diagnostics.effective_rank)
feature_std = jax.jit(diagnostics.feature_std)
isotropy = jax.jit(diagnostics.isotropy)
lidar = jax.jit(diagnostics.lidar)
rankme = jax.jit(diagnostics.rankme)

N, D = 64, 6


def cloud(seed=0):
    """Correlated features with different spreads and a mean."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(N, D)) @ rng.normal(size=(D, D)) + rng.normal(size=D)).astype(
        np.float32
    )


def entropy_rank(values, eps=0.0):
    p = values / values.sum() + eps
    return np.exp(-np.sum(p * np.log(p)))


def rotation(seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(D, D)))[0].astype(np.float32)


def test_rankme_is_the_entropy_of_the_singular_values_of_the_matrix():
    x = cloud()
    expected = entropy_rank(np.linalg.svd(x.astype(np.float64), compute_uv=False), 1e-7)
    np.testing.assert_allclose(rankme(x), expected, rtol=1e-4)


def far(kind):
    """Clouds whose singular values span three digits, as a mean or one large feature makes them."""
    x = np.random.default_rng(0).normal(size=(512, 96))
    if kind == "mean":
        x += 30
    else:
        x[:, 0] += 1000
    return x.astype(np.float32)


@pytest.mark.parametrize("kind", ["mean", "feature"])
def test_rankme_sees_all_directions_beside_a_large_mean(kind):
    x = far(kind)
    expected = entropy_rank(np.linalg.svd(x.astype(np.float64), compute_uv=False), 1e-7)
    np.testing.assert_allclose(rankme(x), expected, rtol=1e-4)
    assert expected > 1.5  # of the largest value alone it would be 1


@pytest.mark.parametrize("kind", ["mean", pytest.param("feature", marks=pytest.mark.slow)])
def test_rankme_of_a_large_mean_is_the_same_on_eight_devices_and_under_a_mask(kind):
    x = far(kind)
    mask = np.random.default_rng(1).random(512) < 0.7
    mask[:64] = False  # an empty shard
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    for check_vma in (True, False):
        sharded = jax.jit(
            jax.shard_map(
                lambda x, mask: diagnostics.rankme(x, mask=mask, axis_name="data"),
                mesh=mesh,
                in_specs=(P("data"), P("data")),
                out_specs=P(),
                check_vma=check_vma,
            )
        )
        poisoned = np.where(mask[:, None], x, np.float32(np.inf))
        expected = entropy_rank(np.linalg.svd(x[mask].astype(np.float64), compute_uv=False), 1e-7)
        np.testing.assert_allclose(sharded(poisoned, mask), expected, rtol=1e-4)


def test_singular_values_that_few_samples_leave_open_do_not_count():
    x = np.random.default_rng(0).normal(size=(5, 96)).astype(np.float32)
    expected = entropy_rank(np.linalg.svd(x.astype(np.float64), compute_uv=False), 1e-2)
    np.testing.assert_allclose(diagnostics.rankme(jnp.asarray(x), eps=1e-2), expected, rtol=1e-5)
    padded = np.concatenate([x, np.ones_like(x)])
    masked = diagnostics.rankme(jnp.asarray(padded), eps=1e-2, mask=jnp.arange(10) < 5)
    np.testing.assert_allclose(masked, expected, rtol=1e-5)


def test_eigenvalues_reach_twelve_digits_below_the_largest():
    scale = np.logspace(0, -5, D)
    x = (np.random.default_rng(0).normal(size=(N, D)) * scale).astype(np.float32)
    expected = np.linalg.svd(x - x.astype(np.float64).mean(0), compute_uv=False) ** 2 / N
    np.testing.assert_allclose(covariance_spectrum(x), expected, rtol=2e-2)
    alpha = alpha_req(expected.astype("f4"))
    np.testing.assert_allclose(alpha_req(covariance_spectrum(x)), alpha, rtol=1e-3)


def test_a_flat_cloud_far_from_zero_has_the_rank_it_has():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 40)) + 500
    spectrum = covariance_spectrum(plane.astype(np.float32))
    assert int((spectrum > 0).sum()) == 2


def test_the_gradient_of_rankme_is_that_of_float64_also_where_rank_is_missing():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 5))
    step = 1e-6 * rng.normal(size=x.shape)

    def value(x):
        return entropy_rank(np.linalg.svd(x, compute_uv=False), 1e-7)

    gradient = jax.jit(jax.grad(diagnostics.rankme))
    change = (value(x + step) - value(x - step)) / 2
    np.testing.assert_allclose((gradient(x.astype("f4")) * step).sum(), change, rtol=1e-3)
    assert jnp.isfinite(gradient(jnp.ones((12, 5)))).all()
    assert jnp.isfinite(gradient(jnp.zeros((3, 5)))).all()


def test_rankme_counts_equal_orthogonal_directions():
    for rank in (1, 3, 6):
        basis = np.zeros((N, D), np.float32)
        rows = np.arange(N - N % rank)  # as many in each direction; the others stay 0
        basis[rows, rows % rank] = 3.0
        np.testing.assert_allclose(rankme(basis @ rotation(rank)), rank, rtol=1e-3)


def test_a_collapsed_cloud_in_many_dimensions_has_the_rank_it_has():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(500, 4)) @ rng.normal(size=(4, 256))).astype(np.float32)
    expected = entropy_rank(np.linalg.svd(x.astype(np.float64), compute_uv=False)[:4])
    np.testing.assert_allclose(rankme(x), expected, rtol=1e-3)
    assert int((covariance_spectrum(x) > 0).sum()) == 4


@given(seed=st.integers(0, 100), scale=st.floats(0.01, 100.0))
def test_ranks_and_ratios_do_not_change_with_rotation_and_scale(seed, scale):
    x = cloud(seed)
    moved = (np.float32(scale) * x @ rotation(seed + 1)).astype(np.float32)
    np.testing.assert_allclose(rankme(moved), rankme(x), rtol=1e-3)
    before, after = covariance_spectrum(x), covariance_spectrum(moved)
    np.testing.assert_allclose(effective_rank(after), effective_rank(before), rtol=1e-3)
    np.testing.assert_allclose(alpha_req(after), alpha_req(before), rtol=1e-2, atol=1e-2)
    if float(condition_number(before)) < 1e3:
        np.testing.assert_allclose(isotropy(after), isotropy(before), rtol=1e-2)


def test_spread_and_spectrum_agree_with_numpy_and_survive_a_large_mean():
    x = cloud()
    np.testing.assert_allclose(feature_std(x), x.std(axis=0), rtol=1e-5)
    expected = np.linalg.eigvalsh(np.cov(x.astype(np.float64).T, bias=True))[::-1]
    np.testing.assert_allclose(covariance_spectrum(x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(feature_std(x + 1000), x.std(axis=0), rtol=1e-3)


def test_bfloat16_is_reduced_in_float32():
    x = jnp.asarray(cloud()).astype(jnp.bfloat16)
    assert feature_std(x).dtype == rankme(x).dtype == jnp.float32
    np.testing.assert_allclose(feature_std(x), np.asarray(x, np.float64).std(axis=0), rtol=1e-5)


def test_round_and_singular_spectra_have_their_closed_forms():
    flat, two = jnp.full(5, 3.0), jnp.array([3.0, 1.0])
    assert condition_number(flat) == 1
    np.testing.assert_allclose(isotropy(flat), 1, rtol=1e-6)
    np.testing.assert_allclose(effective_rank(flat), 5, rtol=1e-6)
    assert alpha_req(flat) == 0
    assert condition_number(two) == 3
    np.testing.assert_allclose(isotropy(two), (1 + 1 / 3) * 4 / 4, rtol=1e-6)
    np.testing.assert_allclose(effective_rank(two), 4 / 3**0.75, rtol=1e-6)
    singular = jnp.array([1.0, 0.0])
    assert condition_number(singular) == isotropy(singular) == jnp.inf
    assert effective_rank(singular) == 1
    assert alpha_req(singular) == 0
    assert effective_rank(jnp.zeros(3)) == rankme(jnp.zeros((4, 3))) == 0


@given(alpha=st.floats(0.0, 3.0), scale=st.floats(0.1, 10.0), zeros=st.integers(0, 3))
def test_alpha_req_recovers_a_power_law_and_ignores_zeros(alpha, scale, zeros):
    rank = np.arange(1, 21)
    spectrum = np.where(rank > 20 - zeros, 0.0, scale * rank**-alpha).astype(np.float32)
    np.testing.assert_allclose(alpha_req(spectrum), alpha, atol=1e-4)


def test_lidar_counts_the_directions_in_which_samples_differ_more_than_views():
    rng = np.random.default_rng(0)
    signal = np.zeros((400, D), np.float32)
    signal[:, :3] = rng.normal(size=(400, 3))
    noise = rng.normal(size=(4, 400, D)).astype(np.float32)
    # Noise a hundred times stronger in the other directions adds no rank.
    scale = np.array([0.01, 0.01, 0.01, 1.0, 1.0, 1.0], np.float32)
    views = np.broadcast_to(signal, noise.shape) + scale * noise
    assert 2.9 < float(lidar(views)) < 3.3
    assert float(rankme(views[0])) > 5


def test_lidar_agrees_with_a_float64_formula():
    z = np.random.default_rng(1).normal(size=(3, N, D)) + cloud()[None]
    means = z.mean(axis=0)
    between = np.cov(means.T, bias=True)
    residuals = (z - means).reshape(-1, D)
    within = residuals.T @ residuals / len(residuals) + 1e-4 * np.eye(D)
    values = np.linalg.eigvals(np.linalg.solve(within, between)).real
    np.testing.assert_allclose(lidar(z.astype(np.float32)), entropy_rank(values, 1e-8), rtol=1e-3)


def test_the_label_free_score_is_the_loss_over_a_power_of_the_trade_off():
    assert label_free_score(0.5, 1.0) == 0.5
    assert label_free_score(0.5, 0.05, alpha=0.0) == 0.5
    np.testing.assert_allclose(label_free_score(1.0, 1e-5), 100.0)


MASK = np.arange(N) % 8 < np.repeat(np.arange(1, 9), 8)  # 1 to 8 valid rows on each of 8 devices
VIEWS = np.stack([cloud(1), cloud(1) + 0.3 * cloud(2)])


def everything(views, mask, axis_name=None):
    options = {"mask": mask, "axis_name": axis_name}
    x = views[0]
    return (
        diagnostics.rankme(x, **options),
        diagnostics.feature_std(x, **options),
        diagnostics.covariance_spectrum(x, **options),
        diagnostics.lidar(views, **options),
    )


@pytest.fixture(scope="module")
def expected():
    rows = VIEWS[:, MASK]
    return jax.jit(lambda views: everything(views, None))(rows)


def test_a_mask_equals_slicing(expected):
    # What lies under the mask is never read.
    poisoned = np.where(MASK[None, :, None], VIEWS, np.float32(1e30))
    for got, want in zip(jax.jit(everything)(poisoned, MASK), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_unequal_shards_on_eight_devices_equal_one_device(expected):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.jit(
        jax.shard_map(
            lambda views, mask: everything(views, mask, "data"),
            mesh=mesh,
            in_specs=(P(None, "data"), P("data")),
            out_specs=P(),
        )
    )
    for got, want in zip(sharded(VIEWS, MASK), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_a_vmapped_axis_equals_one_device(expected):
    views = jnp.asarray(VIEWS).reshape(2, 8, 8, D).swapaxes(0, 1)
    mapped = jax.jit(jax.vmap(lambda v, m: everything(v, m, "data"), axis_name="data", out_axes=0))
    for got, want in zip(mapped(views, MASK.reshape(8, 8)), expected, strict=True):
        np.testing.assert_allclose(got, np.broadcast_to(want, got.shape), rtol=1e-4, atol=1e-5)


def test_leading_axes_are_separate_samples():
    for function in (rankme, feature_std, covariance_spectrum):
        together = function(VIEWS)
        for view, value in zip(VIEWS, together, strict=True):
            np.testing.assert_allclose(value, function(view), rtol=1e-5, atol=1e-6)


def test_the_gradient_of_the_spread_agrees_with_its_closed_form():
    x = cloud()
    gradient = jax.grad(lambda x: feature_std(x).sum())(jnp.asarray(x))
    np.testing.assert_allclose(gradient, (x - x.mean(0)) / (N * x.std(0)), atol=1e-6)


def test_bad_arguments_are_named():
    x = jnp.asarray(cloud())
    with pytest.raises(ValueError, match=r"eps must be positive, got 0"):
        diagnostics.rankme(x, eps=0.0)
    with pytest.raises(ValueError, match=r"embeddings must hold at least 2 views, got shape \(1, "):
        diagnostics.lidar(x[None])
    with pytest.raises(ValueError, match=r"delta must be positive, got 0"):
        diagnostics.lidar(jnp.stack([x, x]), delta=0.0)
