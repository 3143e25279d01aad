"""Colors of a view: brightness, contrast, saturation, hue and grayscale as one affine map."""

import math

import jax.numpy as jnp
import numpy as np

from lejepa_jax.augment.draws import Draws, between, either_way
from lejepa_jax.augment.specs import LUMA, ViewSpec

# NTSC: RGB to luma Y and the two chroma coordinates I and Q.
_YIQ = np.array([LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
# Color = gray part + chroma part. `_GRAY` projects on the gray axis along the chroma plane;
# `_QUARTER` turns the chroma plane by 90 degrees, from red towards yellow, and removes the gray.
_GRAY = np.ones((3, 1)) * _YIQ[:1]
_QUARTER = np.linalg.inv(_YIQ) @ np.array([[0, 0, 0], [0, 0, 1], [0, -1, 0]]) @ _YIQ


def recolor(u: Draws, view, spec: ViewSpec):
    r"""Change the colors of [row, channel, column] into [row, column, channel].

    Brightness :math:`\beta`, contrast :math:`\gamma` about the mean gray :math:`\bar g`,
    saturation :math:`\sigma` and hue :math:`\theta` are, in any order,
    :math:`\beta\gamma\,(P + \sigma(\cos\theta\,(1 - P) + \sin\theta\,J))\,x
    + \beta(1 - \gamma)\,\bar g`, with :math:`P` the projection on the gray axis and :math:`J`
    the quarter turn of the chroma plane. Grayscale is :math:`\sigma = 0`.
    """
    channels = view.shape[1]
    jitter = u.jitter < spec.jitter_prob

    def factor(name):
        strength = getattr(spec, name)
        drawn = between(getattr(u, name), (max(1 - strength, 0.0), 1 + strength))
        return jnp.where(jitter, drawn, 1.0)

    brightness, contrast = factor("brightness"), factor("contrast")
    luma = np.array(LUMA if channels == 3 else (1.0,), np.float32)
    means = view.mean((0, 2))
    gray = sum(luma[k] * means[k] for k in range(channels))
    gain, bias = brightness * contrast, brightness * (1 - contrast) * gray
    if channels == 1 or not (spec.saturation or spec.hue or spec.grayscale_prob):
        return gain * view.swapaxes(1, 2) + bias
    saturation = factor("saturation")
    if spec.grayscale_prob > 0:
        saturation = jnp.where(u.gray < spec.grayscale_prob, 0.0, saturation)
    angle = jnp.where(jitter, either_way(u.hue, 2 * math.pi * spec.hue), 0.0)
    projection, quarter = jnp.asarray(_GRAY, jnp.float32), jnp.asarray(_QUARTER, jnp.float32)
    turned = (
        jnp.cos(angle) * (jnp.eye(3, dtype=jnp.float32) - projection) + jnp.sin(angle) * quarter
    )
    matrix = gain * (projection + saturation * turned)
    # Written out: XLA on CPU is three times slower with a 3x3 product a pixel.
    return bias + sum(view[:, k, :, None] * matrix[None, None, :, k] for k in range(3))
