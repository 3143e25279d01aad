"""Every public function once, with small arguments: for tests of what holds for all of them."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import rope_jax
from rope_jax import analysis, frequencies, kernels

HEADS, DIM = 2, 12


class Case(NamedTuple):
    """A function of a key or of arrays of numbers; everything else is bound."""

    call: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...] = ()


def _encoding(name: str, **options: Any) -> Case:
    encoding = rope_jax.ENCODINGS[name](DIM, HEADS, **options)

    def call(params, positions, x):
        rotated = encoding.rotate(encoding.prepare(params, positions), x)
        return rotated if encoding.embed is None else (rotated, encoding.embed(params, positions))

    shapes = jax.eval_shape(encoding.init, jax.random.key(0))
    leaves, tree = jax.tree.flatten(shapes)

    def of_arrays(*arrays):
        *flat, positions, x = arrays
        return call(jax.tree.unflatten(tree, flat), positions, x)

    return Case(of_arrays, (*(leaf.shape for leaf in leaves), (2, 2), (2, HEADS, DIM)))


_OPTIONS = {
    "learned_absolute": {"grid": (2, 3)},
    "axial": {"learned": "separate"},
    "uniform": {"learned": True},
    "rope_1d": {"learned": True, "num_axes": 2},
    "spherical": {"learned": True},
    "liere": {"block_size": 3, "derivatives": "all"},
    "comrope": {"block_size": 3},
}
_QKV = ((3, HEADS, 4),) * 3
_SIZES = {"head_dim": DIM, "num_heads": HEADS}


def _measured(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    encoding = rope_jax.spherical(DIM, HEADS, learned=True)  # not relative: no result is zero
    return lambda frequencies, *rest: function(
        encoding, {"frequencies": frequencies}, *rest, **options
    )


_LEARNED = (2, HEADS, DIM // 3)

CASES: dict[str, Case] = {
    **{name: _encoding(name, **_OPTIONS.get(name, {})) for name in rope_jax.ENCODINGS},
    "from_frequencies": Case(
        lambda w, p: rope_jax.from_frequencies(DIM, HEADS, w).prepare({}, p), ((2, 1, 3), (2, 2))
    ),
    "over_heads": Case(
        lambda w, p, x: (lambda e: e.rotate(e.prepare(({"frequencies": w}, {}), p), x))(
            rope_jax.over_heads([(1, rope_jax.mixed(4, 1)), (1, rope_jax.axial(4, 1))])
        ),
        ((2, 1, 2), (2, 2), (2, 2, 4)),
    ),
    "over_channels": Case(
        lambda w, p, x: (lambda e: e.rotate(e.prepare(({"frequencies": w}, {}), p), x))(
            rope_jax.over_channels([(4, rope_jax.mixed(4, 1)), (4, rope_jax.axial(4, 1))])
        ),
        ((2, 1, 2), (2, 2), (2, 1, 8)),
    ),
    "partial_rotation": Case(
        lambda p, x: (lambda e: e.rotate(e.prepare(({}, {}), p), x))(
            rope_jax.partial_rotation(rope_jax.axial, 6, 1, num_unrotated=2)
        ),
        ((2, 2), (2, 1, 6)),
    ),
    "with_prefix": Case(
        lambda p, x: (lambda e: e.rotate(e.prepare({}, p), x))(
            rope_jax.with_prefix(rope_jax.axial(4, 1), 1)
        ),
        ((2, 2), (3, 1, 4)),
    ),
    "freeze": Case(
        lambda w, p: rope_jax.freeze(rope_jax.mixed(4, 1)).prepare({"frequencies": w}, p),
        ((2, 1, 2), (2, 2)),
    ),
    "cast_rotation": Case(
        lambda a: rope_jax.cast_rotation(rope_jax.pair_rotation(a), jnp.float32), ((2, 1, 2),)
    ),
    "prepare_layers": Case(
        lambda w, p: rope_jax.prepare_layers(rope_jax.mixed(4, 1), {"frequencies": w}, p, 2),
        ((2, 2, 1, 2), (2, 2)),
    ),
    "rotation_angles": Case(rope_jax.rotation_angles, ((2, 2), (2, 1, 3))),
    "pair_rotation": Case(rope_jax.pair_rotation, ((2, 1, 3),)),
    "rotate_pairs": Case(
        lambda a, x: rope_jax.rotate_pairs(rope_jax.pair_rotation(a), x), ((2, 1, 2), (2, 2, 5))
    ),
    "rotate_plane": Case(
        lambda a, b, t: rope_jax.rotate_plane(a, b, jnp.cos(t), jnp.sin(t)),
        ((2, 3), (2, 3), (1, 3)),
    ),
    "rotate_spherical": Case(
        lambda t, x: rope_jax.rotate_spherical(
            rope_jax.encodings.triplets.SphericalRotation(jnp.cos(t), jnp.sin(t)), x, order=(1, 0)
        ),
        ((2, 2, 1, 2), (2, 1, 6)),
    ),
    "rotate_blocks": Case(rope_jax.rotate_blocks, ((2, 1, 3, 3, 1), (2, 2, 4))),
    "rotate_in_basis": Case(
        lambda a, b, x: rope_jax.rotate_in_basis(
            rope_jax.encodings.basis.BasisRotation(rope_jax.pair_rotation(a), b), x
        ),
        ((2, 1, 2), (1, 4, 4), (2, 2, 4)),
    ),
    "skew": Case(functools.partial(rope_jax.skew, size=3), ((2, 3),)),
    "exp_skew": Case(
        lambda u: rope_jax.exp_skew(rope_jax.skew(u, 3), derivatives="all"), ((2, 3),)
    ),
    "rodrigues": Case(rope_jax.rodrigues, ((3, 2),)),
    "convert_layout": Case(
        functools.partial(
            rope_jax.convert_layout, head_dim=6, source="adjacent", target="half_split"
        ),
        ((2, 12),),
    ),
    "attention": Case(
        lambda q, k, v, logs, bias: rope_jax.attention(q, k, v, log_measure=logs, bias=bias),
        (*_QKV, (3,), (HEADS, 3, 3)),
    ),
    "log_measure": Case(
        lambda m: rope_jax.log_measure(jnp.exp(m), num_prefix=1, num_train=4), ((3,),)
    ),
    "boxes": Case(lambda p: rope_jax.boxes(p, p + 1.5), ((2, 2),)),
    "points": Case(lambda p: rope_jax.points(p, num_neighbors=1), ((3, 2),)),
    "unit_vectors": Case(rope_jax.unit_vectors, ((2, 2),)),
    "log_polar": Case(functools.partial(rope_jax.log_polar, min_radius=0.1), ((2, 2),)),
    "wrap": Case(rope_jax.wrap, ((2, 2),)),
    "augment_positions": Case(
        lambda p: rope_jax.augment_positions(
            jax.random.key(0), p, shift=0.1, jitter=1.2, rescale=2.0
        ),
        ((2, 2),),
    ),
    "perturb_positions": Case(
        lambda p: rope_jax.perturb_positions(jax.random.key(0), p, 0.5), ((2, 2),)
    ),
    "kernels.matern": Case(lambda r: kernels.matern(1.5).log(jnp.exp(r)), ((3,),)),
    "kernels.gaussian": Case(lambda r: kernels.gaussian().log(r), ((3,),)),
    "kernels.exponential": Case(lambda r: kernels.exponential().log(r), ((3,),)),
    "kernels.wendland": Case(lambda r: kernels.wendland(9.0).log(jnp.exp(r)), ((3,),)),
    "kernels.periodic": Case(lambda r: kernels.periodic().log(r), ((3,),)),
    "kernels.von_mises_fisher": Case(lambda r: kernels.von_mises_fisher(2.0).log(r), ((3,),)),
    "kernels.scale_free": Case(
        lambda r: kernels.scale_free(2.0, min_distance=0.1).log(jnp.exp(r)), ((3,),)
    ),
    "kernels.euclidean": Case(kernels.euclidean, ((2, 2),)),
    "kernels.distances": Case(
        functools.partial(kernels.distances, space="sphere"), ((2, 2), (3, 2))
    ),
    "kernels.pairwise_bias": Case(
        functools.partial(kernels.pairwise_bias, kernels.gaussian(), space="torus"),
        ((2, 2), (3, 2)),
    ),
    "kernels.alibi": Case(kernels.alibi, ((2, 2), (3, 2), (2,))),
    "kernels.relative_bias": Case(
        functools.partial(kernels.relative_bias, shape=(2, 2)), ((2, 9),)
    ),
    "analysis.rotation_matrices": Case(
        lambda w, p: (
            lambda e: analysis.rotation_matrices(e, e.prepare({"frequencies": w}, p), 2, 4, 1)
        )(rope_jax.mixed(4, 1)),
        ((2, 1, 2), (2, 2)),
    ),
    "analysis.scores": Case(
        _measured(analysis.scores), (_LEARNED, (2, 2), (2, HEADS, DIM), (2, HEADS, DIM))
    ),
    "analysis.shift_error": Case(
        _measured(functools.partial(analysis.shift_error, jax.random.key(0)), **_SIZES),
        (_LEARNED, (2, 2), (2,)),
    ),
    "analysis.group_law_error": Case(
        _measured(analysis.group_law_error, **_SIZES), (_LEARNED, (2, 2))
    ),
    "analysis.mixed_difference": Case(
        _measured(functools.partial(analysis.mixed_difference, jax.random.key(0)), **_SIZES),
        (_LEARNED, (2, 2)),
    ),
    "analysis.kernel_map": Case(_measured(analysis.kernel_map, **_SIZES), (_LEARNED, (2, 2))),
    "analysis.commutator_norm": Case(analysis.commutator_norm, ((3, 3), (3, 3))),
    "analysis.locality": Case(analysis.locality, ((2, 3), (3, 2))),
    "analysis.nyquist_coverage": Case(
        functools.partial(analysis.nyquist_coverage, spacing=0.5), ((4, 2),)
    ),
}
"""Differentiable functions of arrays."""

CONSTANTS: dict[str, Callable[[], Any]] = {
    "patch_grid": lambda: rope_jax.patch_grid((2, 3)),
    "torus_grid": lambda: rope_jax.torus_grid((2, 3)),
    "sphere_grid": lambda: rope_jax.sphere_grid(3, 4, rule="clenshaw_curtis"),
    "healpix_grid": lambda: rope_jax.healpix_grid(1),
    "healpix_nested": lambda: rope_jax.healpix_nested(2),
    "healpix_interpolation": lambda: rope_jax.healpix_interpolation(jnp.eye(3), 2),
    "pack": lambda: rope_jax.pack([rope_jax.patch_grid((1, 2)), rope_jax.patch_grid((1, 1))], 3),
    "layout_permutation": lambda: rope_jax.layout_permutation(
        4, source="adjacent", target="half_split"
    ),
    "frequencies.geometric": lambda: frequencies.geometric(3, 10.0),
    "frequencies.log_uniform": lambda: frequencies.log_uniform(3, 0.1, 1.0),
    "frequencies.pixel": lambda: frequencies.pixel(3),
    "frequencies.quasi_random_directions": lambda: frequencies.quasi_random_directions(3, 2),
    "frequencies.axis_mask": lambda: frequencies.axis_mask([1, 2]),
    "kernels.alibi_slopes": lambda: kernels.alibi_slopes(3),
    "kernels.relative_index": lambda: kernels.relative_index((2, 2)),
}
"""Functions of no array."""

RANDOM: dict[str, Callable[[jax.Array], Any]] = {
    **{
        f"{name}.init": lambda key, name=name: rope_jax.ENCODINGS[name](
            DIM, HEADS, **{k: v for k, v in _OPTIONS.get(name, {}).items() if k != "derivatives"}
        ).init(key)
        for name in rope_jax.ENCODINGS
    },
    "comrope(axial).init": lambda key: rope_jax.comrope(
        DIM, HEADS, variant="axial", block_size=3
    ).init(key),
    "mixed(rotate_init=False).init": lambda key: rope_jax.mixed(DIM, 1, rotate_init=False).init(
        key
    ),
    "mixed, 3-D.init": lambda key: rope_jax.mixed(DIM, 1, num_axes=3).init(key),
    "init_layers": lambda key: rope_jax.init_layers(rope_jax.mixed(4, 1), key, 2),
    "augment_positions": lambda key: rope_jax.augment_positions(
        key, jnp.ones((2, 2), jnp.float32), shift=0.1, jitter=1.2, rescale=2.0
    ),
    "perturb_positions": lambda key: rope_jax.perturb_positions(
        key, jnp.ones((2, 2), jnp.float32), 0.5
    ),
    "frequencies.random_frames": lambda key: [
        frequencies.random_frames(key, 2, dim) for dim in (1, 2, 3)
    ],
    "matern.frequencies": lambda key: [
        kernels.matern(nu).frequencies(key, 3, 2) for nu in (0.5, np.inf)
    ],
    "periodic.frequencies": lambda key: kernels.periodic().frequencies(key, 3, 2),
    "shift_error": lambda key: analysis.shift_error(
        key,
        rope_jax.spherical(3, 1),
        {},
        rope_jax.patch_grid((2, 2)).positions,
        jnp.ones(2, jnp.float32),
        head_dim=3,
        num_heads=1,
    ),
    "mixed_difference": lambda key: analysis.mixed_difference(
        key, rope_jax.spherical(3, 1), {}, jnp.ones((2, 2), jnp.float32), head_dim=3, num_heads=1
    ),
}
"""Functions of a key."""

ELSEWHERE = {
    *("Coordinates", "Encoding", "Layout", "Packed", "Params", "Rotation", "ENCODINGS"),
    *("analysis", "frequencies", "kernels", "testing"),  # modules
    *("encoding_by_name", "parse_choice"),  # of text
    "equivariance_report",  # of numpy arrays, made of functions that are here
    *("analysis.Equivariance", "analysis.EquivarianceReport", "analysis.equivariance_report"),
    *("analysis.Spectrum", "analysis.generators", "analysis.spectrum"),  # numpy inside
    "analysis.count_parameters",
    "kernels.Kernel",
    "init_layers",
}
