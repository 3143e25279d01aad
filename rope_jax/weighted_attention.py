r"""Softmax attention as the quadrature of a kernel integral.

Tokens sample a field at points :math:`y_j` with quadrature weights :math:`w_j`. Then

.. math:: (\mathrm{Att} f)(x) = \frac{\int k(x,y)\, v(y)\, d\mu(y)}{\int k(x,y)\, d\mu(y)}
   \approx \sum_j \mathrm{softmax}_j(s_{ij} + \log w_j)\, v_j,\qquad k = e^{s}.

Plain attention is the case of equal weights, which cancel. With weights, a token given twice at
half its weight changes nothing, a non-uniform sampling of the same field gives the same result up
to the quadrature error, padding of weight zero is ignored, and class tokens keep their share of the
attention when the number of patches changes.
"""

import re
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rope_jax.checks import check_choice, expand_to

Implementation = Literal["xla", "cudnn"]

# A weight of zero as a bias. Finite, so that no softmax meets infinity minus infinity, and small
# enough that exp of it is zero in every dtype.
LOG_ZERO = -1e9


def log_measure(
    measure: Float[Array, "*b n"],
    *,
    num_prefix: int = 0,
    prefix_measure: float | None = None,
    num_train: int | None = None,
) -> Float[Array, "*b p"]:
    r"""Logarithm of quadrature weights, prefix tokens in front.

    Weights of the patches are normalized to sum to one. A class or register token has no area; it
    gets the weight of *one patch of the training grid*, :math:`1 / n_0`. So at the training
    resolution nothing changes, and at any other the balance between class token and patches is the
    one learned (in plain softmax the patches outvote it as their number grows).

    Args:
        measure: Areas of the patches, zero for padding.
        num_prefix: Class and register tokens.
        prefix_measure: Weight of each of them relative to all patches together; by default
            ``1 / num_train``.
        num_train: Patches in training; by default as many as there are.

    Returns:
        Log weights of ``num_prefix + n`` tokens.

    Raises:
        ValueError: If ``num_prefix`` is negative or ``prefix_measure`` not positive.

    Examples:
        >>> logs = log_measure(jnp.array([3.0, 1.0]), num_prefix=1, prefix_measure=1.0)
        >>> jnp.exp(logs)
        Array([1.  , 0.75, 0.25], dtype=float32)
    """
    if num_prefix < 0:
        raise ValueError(f"num_prefix must not be negative, got {num_prefix}")
    if prefix_measure is not None and not prefix_measure > 0:
        raise ValueError(f"prefix_measure must be positive, got {prefix_measure}")
    measure = measure.astype(jnp.float32)
    total = jnp.sum(measure, axis=-1, keepdims=True)
    share = measure / jnp.where(total > 0, total, 1.0)
    logs = jnp.where(share > 0, jnp.log(jnp.where(share > 0, share, 1.0)), LOG_ZERO)
    if num_prefix == 0:
        return logs
    weight = 1 / (num_train or measure.shape[-1]) if prefix_measure is None else prefix_measure
    pad = [(0, 0)] * (logs.ndim - 1) + [(num_prefix, 0)]
    return jnp.pad(logs, pad, constant_values=jnp.log(jnp.float32(weight)))


def _runs_on_cudnn(q: Array, k: Array, v: Array, has_bias: bool) -> bool:
    """Whether cuDNN's flash attention takes this call on the default device."""
    half = q.dtype in (jnp.bfloat16, jnp.float16)
    sizes = q.shape[-1] == v.shape[-1] and q.shape[-1] % 8 == 0 and q.shape[-1] <= 128
    # The backward pass of a bias, which a mask is made into, wants even lengths; a class token
    # makes them odd.
    lengths = not has_bias or (q.shape[-3] % 2 == 0 and k.shape[-3] % 2 == 0)
    device = jax.devices()[0]
    # "9.0" on NVIDIA, from Ampere (8.0) on; AMD's are no numbers.
    capability = re.fullmatch(r"(\d+)\.\d+", str(getattr(device, "compute_capability", "")))
    gpu = device.platform == "gpu" and capability is not None and int(capability[1]) >= 8
    return half and sizes and lengths and gpu


def attention(
    q: Float[Array, "*b n h d"],
    k: Float[Array, "*b s g d"],
    v: Float[Array, "*b s g e"],
    *,
    log_measure: Float[Array, "*w s"] | None = None,
    bias: Float[Array, "*c n s"] | None = None,
    mask: Bool[Array, "*m n s"] | None = None,
    scale: float | None = None,
    implementation: Implementation | None = None,
) -> Float[Array, "*b n h e"]:
    r"""Attention with a weight for every key.

    .. math:: o_i = \sum_j \mathrm{softmax}_j(s_{ij} + \log w_j)\, v_j

    Equal weights cancel, and a key of weight zero is not there. Everything runs in
    ``jax.nn.dot_product_attention``.

    Args:
        q: Queries, rotated already.
        k: Keys; ``g`` divides ``h``.
        v: Values.
        log_measure: Log weights of the keys, ``(s,)`` or ``(*b, s)``, see :func:`log_measure`. Any
            constant may be added.
        bias: Added to the scores, broadcast over what is in front: ``(n, s)``, ``(h, n, s)``, or
            ``(*b, h, n, s)``. The log of a positional kernel (:mod:`rope_jax.kernels`).
        mask: Which keys a query sees; shapes as for ``bias``. Every query must see some key.
        scale: Factor of the scores, by default :math:`1/\sqrt d`.
        implementation: ``"xla"`` or ``"cudnn"``. By default cuDNN where it can (a recent NVIDIA
            GPU, half precision, a head size that is a multiple of 8 up to 128, and with weights, a
            bias or a mask even lengths), else XLA.

    Returns:
        Weighted means of the values, dtype of ``q``.

    Raises:
        ValueError: If the implementation is unknown, the log weights do not fit the keys, or keys
            are sharded along their tokens (on a mesh with explicit axes).

    Examples:
        >>> q = k = jnp.zeros((2, 1, 4))
        >>> v = jnp.arange(8.0).reshape(2, 1, 4)
        >>> attention(q, k, v, log_measure=jnp.log(jnp.array([3.0, 1.0])))[0, 0]
        Array([1., 2., 3., 4.], dtype=float32)

    References:
        Calvello et al., "Continuum attention for neural operators", arXiv 2406.06486, 2024.
        Bonev et al., "Attention on the sphere", arXiv 2505.11157, 2025.
    """
    check_choice("implementation", implementation, (None, *get_args(Implementation)))
    lead, num_queries, num_keys = q.shape[:-3], q.shape[-3], k.shape[-3]
    _check_sharding(k)
    _check_sharding(v)
    if any(axes is not None for axes in jax.typeof(q).sharding.spec[1 : len(lead)]):
        return _over_leading_axis(
            q, k, v, log_measure, bias, mask, scale=scale, implementation=implementation
        )
    terms: list[Array] = []
    if log_measure is not None:
        if log_measure.shape[-1] != num_keys:
            raise ValueError(
                f"log_measure must have {num_keys} weights, got {log_measure.shape[-1]}"
            )
        # Only differences count. Taking off the largest makes equal weights exactly zero, so that
        # rounding the sum to the half precision that cuDNN wants costs them nothing.
        logs = log_measure.astype(jnp.float32)
        logs = logs - jax.lax.stop_gradient(jnp.max(logs, axis=-1, keepdims=True))
        terms.append(_flatten(logs[..., None, None, :], lead))
    if bias is not None:
        terms.append(_flatten(bias.astype(jnp.float32), lead))
    if implementation is None:
        implementation = (
            "cudnn" if _runs_on_cudnn(q, k, v, bool(terms) or mask is not None) else "xla"
        )
    total = None
    if terms:
        total = terms[0] + terms[1] if len(terms) == 2 else terms[0]
        # The two token axes are wanted in full; batch and heads may stay one.
        total = jnp.broadcast_to(total, (*total.shape[:2], num_queries, num_keys))
        if implementation == "cudnn":
            lowest = float(jnp.finfo(q.dtype).min) / 2
            total = jnp.maximum(total, lowest).astype(q.dtype)
    # It wants one width for queries and values; channels of zeros change no score and no mean.
    size = v.shape[-1]
    if size != q.shape[-1]:
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        width = max(size, q.shape[-1])
        q, k, v = (
            jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, width - x.shape[-1])]) for x in (q, k, v)
        )
    # It promotes half-precision queries by itself, which a strict caller has switched off.
    with jax.numpy_dtype_promotion("standard"):
        out = jax.nn.dot_product_attention(  # pyright: ignore[reportCallIssue]
            q.reshape(-1, *q.shape[-3:]),
            k.reshape(-1, *k.shape[-3:]),
            v.reshape(-1, *v.shape[-3:]),
            bias=total,
            mask=None if mask is None else _flatten(mask, lead),
            scale=scale,
            implementation=implementation,
        )
    return out.reshape(*lead, *out.shape[1:])[..., :size]


def _check_sharding(k: Array) -> None:
    """Every query needs every key: without this, JAX names a product that nobody wrote."""
    axes = jax.typeof(k).sharding.spec[-3]
    if axes is not None:
        raise ValueError(
            f"k and v must not be sharded along their tokens, got mesh axis {axes!r}; gather them "
            "with jax.sharding.reshard first"
        )


def _over_leading_axis(
    q: Array,
    k: Array,
    v: Array,
    log_measure: Array | None,
    bias: Array | None,
    mask: Array | None,
    **options: Any,
) -> Array:
    """Attention mapped over the first leading axis: sharded ones do not go into one."""
    num_lead = q.ndim - 3
    weights, axes = [], []
    for x, own in ((log_measure, 1), (bias, 3), (mask, 3)):
        leading = x is not None and x.ndim > own
        if x is not None and leading:
            _check_leading(x.ndim - own, num_lead)
            x = jnp.broadcast_to(x, (q.shape[0], *x.shape[1:]))
        weights.append(x)
        axes.append(0 if leading else None)

    def one(q: Array, k: Array, v: Array, logs: Any, bias: Any, mask: Any) -> Array:
        return attention(q, k, v, log_measure=logs, bias=bias, mask=mask, **options)

    return jax.vmap(one, in_axes=(0, 0, 0, *axes))(q, k, v, *weights)


def _check_leading(extra: int, num_lead: int) -> None:
    if extra not in (0, num_lead):
        raise ValueError(
            f"bias, mask and log_measure want 0 or {num_lead} axes in front, got {extra}"
        )


def _flatten(x: Array, lead: tuple[int, ...]) -> Array:
    """Axes in front of ``(h, n, s)`` as one, of size 1 when all examples share them."""
    x = expand_to(x, max(x.ndim, 3))
    own = x.shape[:-3]
    _check_leading(len(own), len(lead))
    if any(size != 1 for size in own):
        x = jnp.broadcast_to(x, (*lead, *x.shape[-3:]))
    return x.reshape(-1, *x.shape[-3:])
