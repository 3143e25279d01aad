"""The exact gradient of a large batch, in the memory of a small one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


class MicrobatchResult(NamedTuple):
    """What `microbatched_value_and_grad` returns; the last two are None unless asked for."""

    value: Float[Array, ""]
    gradient: PyTree
    loss_aux: Any
    encoder_aux: Any


def microbatched_value_and_grad(
    encode: Callable[..., Any],
    loss: Callable[..., Any],
    *,
    num_microbatches: int,
    in_axes: Any = 0,
    out_axes: Any = 0,
    loss_has_aux: bool = False,
    encoder_has_aux: bool = False,
) -> Callable[[PyTree, PyTree], MicrobatchResult]:
    r"""Differentiate a loss that couples all samples, holding the activations of a few.

    SIGReg squares a mean over the batch, so the mean of its gradients over micro-batches is not the
    gradient of the batch (nor is that of any contrastive loss). But the loss touches the network
    only through the embeddings z, which are small:

    .. math:: \frac{d L}{d \theta} = \sum_j \frac{\partial L}{\partial z_j} \frac{d z_j}{d \theta}

    First all micro-batches are encoded and only z is kept; then the loss is differentiated with
    respect to z; then each micro-batch is encoded again and its slice of that gradient is pulled
    back. The result is exact for every loss, up to the order of summation. It costs one more
    forward pass; the memory is that of one micro-batch and of z.

    Sample i is in micro-batch `i % num_microbatches`, so that a batch sharded over devices by `jit`
    stays where it is. Inside `shard_map` or `pmap`, use it in place of `jax.value_and_grad`: a loss
    that reduces over the mapped axis and one `jax.lax.pmean` of the gradient at the end are all
    that is needed, and gradients cross devices once, not once a micro-batch.

    Args:
        encode: `(params, inputs) -> embeddings`, any pytrees of arrays. It must give a sample the
            same embedding both times and whatever its micro-batch: what is random (dropout, drop
            path) takes a key for each example from `inputs`. A layer that normalizes over the batch
            normalizes over a micro-batch.
        loss: `(params, embeddings) -> value`, of all embeddings in their order. The direct
            dependence on `params` (those of a probe, say) is differentiated too.
        num_microbatches: Number of equal parts of the (local) batch.
        in_axes: Batch axis of the inputs: an integer for all, or a pytree prefix as in `jax.vmap`
            (views of shape `(v, b, ...)` have axis 1); None for what every micro-batch gets whole,
            such as running statistics.
        out_axes: Batch axis of the embeddings, likewise.
        loss_has_aux: Whether `loss` returns `(value, aux)`.
        encoder_has_aux: Whether `encode` returns `(embeddings, aux)`: new running statistics, say.

    Returns:
        A function `(params, inputs)` that returns the value, the gradient with respect to `params`,
        the auxiliary output of the loss, and those of the encoder, stacked over micro-batches
        (average running statistics over that axis).

    Raises:
        ValueError: If `num_microbatches` is not positive; when called, if it does not divide the
            batch.

    Examples:
        >>> def encode(w, x):
        ...     return jnp.tanh(w * x)
        >>> def loss(w, z):
        ...     return jnp.square(z.mean()) + z.var()
        >>> x = jnp.arange(6.0)
        >>> result = microbatched_value_and_grad(encode, loss, num_microbatches=3)(0.3, x)
        >>> exact = jax.grad(lambda w: loss(w, encode(w, x)))(0.3)
        >>> bool(jnp.allclose(result.gradient, exact))
        True

    References:
        L. Gao, Y. Zhang, J. Han, J. Callan, Scaling deep contrastive learning batch size under
        memory limited setup, arXiv 2101.06983, 2021.
    """
    if num_microbatches < 1:
        raise ValueError(f"num_microbatches must be positive, got {num_microbatches}")

    def value_and_grad(params: PyTree, inputs: PyTree) -> MicrobatchResult:
        parts, rebuild = _split_tree(inputs, in_axes, num_microbatches)

        def embed(params: PyTree, part: list[jax.Array]) -> tuple[Any, Any]:
            outputs = encode(params, rebuild(part))
            return outputs if encoder_has_aux else (outputs, None)

        stacked = jax.lax.map(lambda part: embed(params, part)[0], parts)
        embeddings = _join_tree(stacked, out_axes)

        # Under shard_map with check_vma the parameters are the same on all devices and known to be
        # so: every pull-back that meets data would sum over devices there and then. Marked as
        # varying, they leave that to the one pull-back of the mark.
        params, unmark = jax.vjp(lambda params: _vary_like(params, embeddings), params)
        value, (direct, cotangents) = jax.value_and_grad(
            loss, argnums=(0, 1), has_aux=loss_has_aux
        )(params, embeddings)
        cotangent_parts, rebuild_cotangents = _split_tree(cotangents, out_axes, num_microbatches)

        def accumulate(total: PyTree, operands: tuple[Any, Any]) -> tuple[PyTree, Any]:
            part, cotangent_part = operands
            _, pull_back, aux = jax.vjp(lambda params: embed(params, part), params, has_aux=True)
            (gradient,) = pull_back(rebuild_cotangents(cotangent_part))
            return jax.tree.map(jnp.add, total, gradient), aux

        total, encoder_aux = jax.lax.scan(accumulate, direct, (parts, cotangent_parts))
        (gradient,) = unmark(total)
        value, loss_aux = value if loss_has_aux else (value, None)
        return MicrobatchResult(value, gradient, loss_aux, encoder_aux)

    return value_and_grad


def _split_tree(
    tree: PyTree, axes: Any, num: int
) -> tuple[list[jax.Array], Callable[[list[jax.Array]], PyTree]]:
    """Cut the leaves with an axis into `(num, ...)`; also gives what rebuilds a tree of a part."""
    leaves, treedef = jax.tree.flatten(tree)
    leaf_axes = _leaf_axes(tree, axes)
    parts = [
        _split(leaf, axis, num)
        for leaf, axis in zip(leaves, leaf_axes, strict=True)
        if axis is not None
    ]

    def rebuild(part: list[jax.Array]) -> PyTree:
        cut = iter(part)
        pairs = zip(leaves, leaf_axes, strict=True)
        return treedef.unflatten([leaf if axis is None else next(cut) for leaf, axis in pairs])

    return parts, rebuild


def _join_tree(stacked: PyTree, axes: Any) -> PyTree:
    leaves, treedef = jax.tree.flatten(stacked)
    leaf_axes = _leaf_axes(stacked, axes)
    return treedef.unflatten([_join(x, a) for x, a in zip(leaves, leaf_axes, strict=True)])


def _leaf_axes(tree: PyTree, axes: Any) -> list[int | None]:
    repeated = jax.tree.map(
        lambda axis, subtree: [axis] * len(jax.tree.leaves(subtree)),
        axes,
        tree,
        is_leaf=lambda axis: axis is None,
    )
    return jax.tree.leaves(repeated, is_leaf=lambda axis: axis is None)


def _split(x: jax.Array, axis: int, num: int) -> jax.Array:
    axis = axis % x.ndim
    if x.shape[axis] % num:
        raise ValueError(
            f"num_microbatches must divide the batch, got {num} for axis {axis} of {x.shape}"
        )
    shape = (*x.shape[:axis], x.shape[axis] // num, num, *x.shape[axis + 1 :])
    return jnp.moveaxis(x.reshape(shape), axis + 1, 0)


def _join(parts: jax.Array, axis: int | None) -> jax.Array:
    if axis is None:
        raise ValueError("out_axes must name the batch axis of every embedding, got None")
    axis = axis % (parts.ndim - 1)
    x = jnp.moveaxis(parts, 0, axis + 1)
    return x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])


def _vary_like(params: PyTree, embeddings: PyTree) -> PyTree:
    """Add a zero made from data, so that the sum varies over devices as the data does."""
    number = jax.tree.leaves(embeddings)[0].ravel()[0]
    never = (number == number) & (number != number)
    return jax.tree.map(lambda p: p + never.astype(jnp.result_type(p)), params)
