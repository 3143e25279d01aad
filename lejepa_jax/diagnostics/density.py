r"""How likely an input is under the data that an encoder was trained on, read off its Jacobian.

An encoder whose embeddings are N(0, I) has learned the density of its data: where it stretches
space, data are rare once embedded and were dense before. For an invertible map f of data onto
normal embeddings the change of variables is exact,

.. math:: \log p(x) = \log \mathcal{N}(f(x); 0, I) + \sum_k \log \sigma_k(J_f(x)),

and the sum alone is it up to a constant where the norm of the embedding hardly varies, as in many
dimensions.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lejepa_jax.checks import check_choice, check_positive
from lejepa_jax.diagnostics.factorization import EPSILON

#: Maps parameters and a batch of inputs to a batch of features.
Apply = Callable[[Any, Array], Float[Array, "b d"]]


def jepa_score(
    apply: Apply,
    params: Any,
    inputs: Float[Array, "b ..."],
    *,
    key: PRNGKeyArray | None = None,
    method: Literal["exact", "lanczos"] = "exact",
    prior: bool = False,
    floor: float = 1e-6,
    num_probes: int = 8,
    num_steps: int = 16,
    batch_size: int = 8,
) -> Float[Array, " b"]:
    r"""Log-density of each input under what an encoder has learned, up to a constant.

    .. math:: s(x) = \sum_{k=1}^{K} \log \max(\sigma_k(J_f(x)), \epsilon), \qquad
        K = \min(\text{features}, \text{numbers of an input})

    Higher is more likely; low scores are outliers.

    - "exact": the Jacobian of each input, one backward pass a feature, and its singular values by
      QR. It takes features x numbers of an input floats for each of the `batch_size` inputs.
    - "lanczos": :math:`\frac12 \operatorname{tr} \log(J J^\top)` by stochastic Lanczos quadrature:
      `num_probes` random unit vectors, `num_steps` products with :math:`J J^\top` each (a backward
      pass and one through it), whatever the number of features, and no Jacobian is kept. It
      estimates the sum over all features, so an input must have at least as many numbers as the
      embedding. Its standard deviation falls as 1 / sqrt(`num_probes`). Singular values below
      3.5e-4 of the largest are rounding in float32 and count as that: features after a LayerNorm
      have one that is 0. The same probes are used for every
      input, so that scores of different inputs can be compared.

    Args:
        apply: A pure function such as `Model.apply`; each example's features must depend on that
            example alone, as in evaluation.
        params: Its parameters.
        inputs: Examples, as `apply` takes them.
        key: Draws the probes of "lanczos", which needs it.
        method: See above.
        prior: Whether to add :math:`\log \mathcal{N}(f(x); 0, I)`, for embeddings that are what the
            regularizer pulls towards N(0, I): then it is the log-density of an invertible map.
        floor: Smallest singular value that counts, :math:`\epsilon`.
        num_probes: Random vectors of "lanczos".
        num_steps: Steps of "lanczos", at most the number of features.
        batch_size: Inputs at a time.

    Returns:
        A score an input, float32.

    Raises:
        ValueError: If `method` is unknown, a number is not positive, "lanczos" has no key, or an
            input has fewer numbers than features with it.

    Examples:
        A linear encoder has the log-determinant of its matrix everywhere:

        >>> apply = lambda scale, x: x * scale
        >>> score = jepa_score(apply, jnp.array([[2.0, 3.0]]), jnp.ones((1, 2)))
        >>> bool(jnp.allclose(score, jnp.log(6.0)))
        True

    References:
        R. Balestriero, N. Ballas, M. Rabbat, Y. LeCun, "Gaussian Embeddings: How JEPAs Secretly
        Learn Your Data Density", arXiv 2510.05949, 2025 (the sum of the logs of the singular
        values; the estimate is ours).
        S. Ubaru, J. Chen, Y. Saad, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature",
        SIAM J. Matrix Anal. Appl. 38, 2017.
    """
    check_choice("method", method, ("exact", "lanczos"))
    for name, value in (("floor", floor), ("num_probes", num_probes), ("num_steps", num_steps)):
        check_positive(name, value)
    check_positive("batch_size", batch_size)

    def features(x: Array) -> Array:
        return apply(params, x[None])[0].astype(jnp.float32)

    shape = jax.eval_shape(features, jax.ShapeDtypeStruct(inputs.shape[1:], inputs.dtype)).shape
    if method == "lanczos":
        if key is None:
            raise ValueError("key must be given with method='lanczos', got None")
        if math.prod(inputs.shape[1:]) < shape[0]:
            raise ValueError(
                f"inputs must have at least the {shape[0]} numbers of a feature vector with "
                f"method='lanczos', got {inputs.shape[1:]}"
            )
        probes = jax.random.normal(key, (num_probes, shape[0]), jnp.float32)
        probes = probes / jnp.linalg.norm(probes, axis=1, keepdims=True)

    def score(x: Array) -> Array:
        if method == "exact":
            value, volume = _log_volume(features, x, floor)
        else:
            steps = min(num_steps, shape[0])
            value, volume = _estimated_log_volume(features, x, probes, steps, floor)
        if prior:
            volume -= 0.5 * (value @ value + len(value) * math.log(2 * math.pi))
        return volume

    return jax.lax.map(score, inputs, batch_size=batch_size)


def _log_volume(features: Callable[[Array], Array], x: Array, floor: float) -> tuple[Array, Array]:
    """Features, and the sum of the logs of the singular values of their Jacobian."""
    value, pull_back = jax.vjp(features, x)
    rows = jax.vmap(lambda row: pull_back(row)[0])(jnp.eye(len(value), dtype=value.dtype))
    rows = rows.reshape(len(value), -1).astype(jnp.float32)
    # The triangle of the tall side has the same singular values, and is small.
    tall = rows if rows.shape[0] >= rows.shape[1] else rows.T
    values = jnp.linalg.svd(jnp.linalg.qr(tall, mode="r"), compute_uv=False)
    return value, jnp.log(jnp.maximum(values, floor)).sum()


def _estimated_log_volume(
    features: Callable[[Array], Array], x: Array, probes: Array, num_steps: int, floor: float
) -> tuple[Array, Array]:
    """Features, and an estimate of the sum of the logs of the singular values."""
    value, pull_back = jax.vjp(features, x)

    def pull(row: Array) -> Array:
        return pull_back(row)[0]

    # J by the transpose of its transpose: encoders with a derivative of their own have no jvp.
    _, push = jax.vjp(pull, jnp.zeros_like(value))

    def gram(row: Array) -> Array:
        return push(pull(row))[0]

    def quadrature(probe: Array) -> Array:
        nodes, weights = jnp.linalg.eigh(_lanczos(gram, probe, num_steps))
        logs = 0.5 * jnp.log(jnp.maximum(nodes, jnp.maximum(floor**2, EPSILON * nodes[-1])))
        return jnp.sum(weights[0] ** 2 * logs)

    return value, len(value) * jax.lax.map(quadrature, probes).mean()


def _lanczos(product: Callable[[Array], Array], start: Array, num_steps: int) -> Array:
    """Tridiagonal matrix of a symmetric operator on the Krylov space of a unit vector."""

    def step(carry: tuple[Array, Array], index: Array) -> tuple[tuple[Array, Array], Any]:
        basis, current = carry
        basis = basis.at[index].set(current)
        image = product(current)
        diagonal = image @ current
        # Twice against all vectors so far: without it, rounding brings found directions back.
        for _ in range(2):
            image = image - (basis @ image) @ basis
        norm = jnp.linalg.norm(image)
        return (basis, jnp.where(norm > _BREAKDOWN, image / norm, 0)), (diagonal, norm)

    basis = jnp.zeros((num_steps, len(start)), start.dtype)
    _, (diagonal, norms) = jax.lax.scan(step, (basis, start), jnp.arange(num_steps))
    above = jnp.where(norms[:-1] > _BREAKDOWN, norms[:-1], 0)
    return jnp.diag(diagonal) + jnp.diag(above, 1) + jnp.diag(above, -1)


# The Krylov space ends where what is left of a product is rounding.
_BREAKDOWN = 1e-12
