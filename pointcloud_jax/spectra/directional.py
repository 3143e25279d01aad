"""The direction-aware spherical Fourier transform (DASFT): energy averaged over a sphere rule."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Array, Bool, Float

from lejepa_jax.statistics.characteristic.specification import Derivatives, ecf
from pointcloud_jax.checks import check_points
from pointcloud_jax.geometry.sphere import SphereRule
from pointcloud_jax.reductions import mask_weights
from pointcloud_jax.spectra.blocks import num_blocks


def dasft(
    points: Float[Array, "*batch n 3"],
    rule: SphereRule,
    radii: Float[Array | np.ndarray, " m"],
    *,
    derivatives: Derivatives = "reverse",
    mask: Bool[Array, "*batch n"] | None = None,
) -> Float[Array, "*batch m"]:
    r"""Average the energy spectrum of each cloud over the directions of a rule.

    .. math:: G(r) = \sum_d w_d\, |\hat\varphi_d(r)|^2,
        \qquad \hat\varphi_d(r) = \frac1n \sum_j e^{i r\, \omega_d \cdot v_j}

    Invariant under rotation as far as the rule is exact (table in `pointcloud_jax.geometry.sphere`:
    from 4 % on average for the published 36 Fibonacci directions to float32 rounding for
    `lebedev(29)`, at radius 1), and exactly invariant under translation. With NumPy `radii` that
    are equally spaced one sine and cosine serve all of them, in the gradient too; no tensor of
    points, directions and radii is formed. Under a mesh of explicit axes clouds may be sharded
    over any of their axes.

    Args:
        points: The clouds. Bring them to radius 1 first (`normalize_radius`).
        rule: Directions and weights.
        radii: Frequencies, in inverse units of the points.
        derivatives: "reverse" for `jax.grad` and `jax.hessian`; "all" for `jax.jvp` and
            `jax.jacfwd` too, one sine and cosine a radius, as `ecf` says.
        mask: True for points that exist.

    Returns:
        The spectra in float32, between 0 and 1.

    Raises:
        ValueError: For unknown `derivatives`, and as `check_points`.

    Examples:
        >>> from pointcloud_jax.geometry.sphere import lebedev
        >>> pair = jnp.array([[0.0, 0.0, 0.5], [0.0, 0.0, -0.5]])
        >>> print(dasft(pair, lebedev(29), np.array([0.0, np.pi])).round(4))
        [1.  0.5]

    References:
        Hu, Li, Zhu, Hou, "Hierarchical Direction Perception via Atomic Dot-Product Operators for
        Rotation-Invariant Point Clouds Learning", arXiv 2511.08240, 2025. The mean over points in
        place of the sum makes clouds of different sizes alike and keeps the digits.
    """
    check_points("points", points, mask)
    points, _ = mask_weights(points, mask)
    # Under explicit axes each reshape of a sharded array would have to say what becomes of it: in
    # here the compiler decides, and outside the spectra are sharded as their clouds were.
    spec = jax.typeof(points).sharding
    if AxisType.Explicit not in spec.mesh.axis_types:
        return _spectra(points, mask, rule, radii, derivatives)
    by_compiler = jax.sharding.auto_axes(
        functools.partial(_spectra, rule=rule, radii=radii, derivatives=derivatives),
        out_sharding=PartitionSpec(*spec.spec[:-2], None),
    )
    return by_compiler(points, mask)  # pyright: ignore[reportCallIssue]  (typed as its decorator)


def _spectra(
    points: jax.Array,
    mask: jax.Array | None,
    rule: SphereRule,
    radii: jax.Array | np.ndarray,
    derivatives: Derivatives,
) -> jax.Array:
    directions = jnp.asarray(rule.directions, jnp.float32)
    weights = jnp.asarray(rule.weights, jnp.float32)

    def energy(block: tuple[jax.Array, jax.Array]) -> jax.Array:
        directions, weights = block
        projections = jnp.matmul(points, directions.T, precision=lax.Precision.HIGHEST)
        phi = checkpoint_name(ecf(projections, radii, derivatives=derivatives, mask=mask), "phi")
        square = jnp.square(phi.real) + jnp.square(phi.imag)
        return jnp.einsum("...km,k->...m", square, weights, precision=lax.Precision.HIGHEST)

    num = directions.shape[0]
    blocks = num_blocks(points.size // 3 * num, num)
    if blocks == 1:
        return energy((directions, weights))
    per_block = -(-num // blocks)
    padding = per_block * blocks - num
    # Directions that only fill the last block have weight zero.
    directions = jnp.pad(directions, [(0, padding), (0, 0)]).reshape(blocks, per_block, 3)
    weights = jnp.pad(weights, (0, padding)).reshape(blocks, per_block)
    # The projections of all blocks would be many times the points. What is summed of them is little
    # and most of the work.
    policy = jax.checkpoint_policies.save_only_these_names("phi")
    return lax.map(jax.checkpoint(energy, policy=policy), (directions, weights)).sum(0)
