r"""Rotations of space: uniform, about an axis, small; as matrices, quaternions, axis and angle.

A rotation is a matrix :math:`R` that acts on column vectors, :math:`v' = R v`. A quaternion is
:math:`(w, x, y, z)`, the scalar part first; :math:`q` and :math:`-q` are one rotation. Angles are
in radians, and positive ones turn counter-clockwise about the axis.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray


def random_quaternion(key: PRNGKeyArray, shape: tuple[int, ...] = ()) -> Float[Array, "*batch 4"]:
    """Draw unit quaternions uniformly: rotations from the Haar measure of SO(3).

    Args:
        key: Random key.
        shape: Leading axes of the result.

    Returns:
        Unit quaternions, float32.

    Examples:
        >>> random_quaternion(jax.random.key(0), (5,)).shape
        (5, 4)

    References:
        M. E. Muller, "A note on a method for generating points uniformly on n-dimensional spheres",
        Communications of the ACM 2, 1959.
    """
    normal = jax.random.normal(key, (*shape, 4), jnp.float32)
    return normal / jnp.linalg.norm(normal, axis=-1, keepdims=True)


def random_rotation(key: PRNGKeyArray, shape: tuple[int, ...] = ()) -> Float[Array, "*batch 3 3"]:
    """Draw rotations uniformly from SO(3).

    Args:
        key: Random key.
        shape: Leading axes of the result.

    Returns:
        Orthogonal matrices of determinant +1, float32.

    Examples:
        >>> random_rotation(jax.random.key(0), (5,)).shape
        (5, 3, 3)
    """
    return quaternion_to_matrix(random_quaternion(key, shape))


def random_rotation_about(
    key: PRNGKeyArray, axis: Float[Array, "3"], shape: tuple[int, ...] = ()
) -> Float[Array, "*batch 3 3"]:
    """Draw rotations about one axis, their angles uniform on the circle.

    The "z" of published protocols is the third coordinate, which is not the vertical of every data
    set: ModelNet40's files have y up. So the axis is asked for.

    Args:
        key: Random key.
        axis: Axis of any length but zero.
        shape: Leading axes of the result.

    Returns:
        Rotation matrices, float32.

    Examples:
        >>> up = jnp.array([0.0, 0.0, 1.0])
        >>> print((random_rotation_about(jax.random.key(0), up) @ up).round(6))
        [0. 0. 1.]
    """
    angle = jax.random.uniform(key, shape, jnp.float32, -jnp.pi, jnp.pi)
    return rotation_about(jnp.broadcast_to(axis, (*shape, 3)), angle)


def random_small_rotation(
    key: PRNGKeyArray, max_angle: float, shape: tuple[int, ...] = ()
) -> Float[Array, "*batch 3 3"]:
    """Draw rotations about uniformly random axes by an angle uniform in [0, `max_angle`].

    Args:
        key: Random key.
        max_angle: Largest angle in radians, up to pi.
        shape: Leading axes of the result.

    Returns:
        Rotation matrices, float32.

    Raises:
        ValueError: If `max_angle` is not in [0, pi].

    Examples:
        >>> random_small_rotation(jax.random.key(0), 4.0)
        Traceback (most recent call last):
            ...
        ValueError: max_angle must be in [0, pi] radians, got 4.0
    """
    if not 0 <= max_angle <= 3.1415927:
        raise ValueError(f"max_angle must be in [0, pi] radians, got {max_angle}")
    axis_key, angle_key = jax.random.split(key)
    axis = jax.random.normal(axis_key, (*shape, 3), jnp.float32)
    return rotation_about(axis, max_angle * jax.random.uniform(angle_key, shape, jnp.float32))


def rotation_about(
    axis: Float[Array, "*batch 3"], angle: Float[Array, "*batch"]
) -> Float[Array, "*batch 3 3"]:
    r"""Make the rotation by an angle about an axis.

    .. math:: R = I + \sin\theta\, [u]_\times + (1 - \cos\theta)\, [u]_\times^2

    Args:
        axis: Axes of any length; a zero axis gives the identity.
        angle: Angles in radians.

    Returns:
        Rotation matrices, float32.

    Examples:
        >>> quarter = rotation_about(jnp.array([0.0, 0.0, 2.0]), jnp.array(jnp.pi / 2))
        >>> print((quarter @ jnp.array([1.0, 0.0, 0.0])).round(6))
        [0. 1. 0.]

    References:
        O. Rodrigues, Journal de Mathématiques Pures et Appliquées 5, 1840.
    """
    half = 0.5 * angle.astype(jnp.float32)[..., None]
    axis = axis.astype(jnp.float32)
    square = jnp.square(axis).sum(-1, keepdims=True)
    unit = axis * lax.rsqrt(jnp.where(square > 0, square, 1))
    # Through the quaternion: 1 - cos of a small angle would cancel in float32.
    return quaternion_to_matrix(jnp.concatenate([jnp.cos(half), jnp.sin(half) * unit], -1))


def quaternion_to_matrix(quaternion: Float[Array, "*batch 4"]) -> Float[Array, "*batch 3 3"]:
    r"""Turn quaternions into rotation matrices.

    .. math:: R = I + \frac{2}{|q|^2} \left(w\,[u]_\times + [u]_\times^2\right), \quad q = (w, u)

    Args:
        quaternion: Scalar part first, of any length but zero.

    Returns:
        Rotation matrices, float32.

    Examples:
        >>> print(quaternion_to_matrix(jnp.array([0.0, 1.0, 0.0, 0.0])))
        [[ 1.  0.  0.]
         [ 0. -1.  0.]
         [ 0.  0. -1.]]
    """
    quaternion = quaternion.astype(jnp.float32)
    w, x, y, z = jnp.moveaxis(quaternion, -1, 0)
    s = 2 / jnp.square(quaternion).sum(-1)
    rows = [
        [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
        [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
        [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
    ]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def matrix_to_quaternion(rotation: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 4"]:
    r"""Turn rotation matrices into unit quaternions with a scalar part of at least zero.

    The rotation fixes :math:`4 q q^\top`. Its row with the largest diagonal entry is a multiple of
    :math:`q` that no cancellation has touched, so that half turns are as exact as small ones.

    Args:
        rotation: Rotation matrices.

    Returns:
        Unit quaternions, scalar part first, float32.

    Examples:
        >>> print(matrix_to_quaternion(jnp.eye(3)))
        [1. 0. 0. 0.]

    References:
        S. W. Shepperd, "Quaternion from rotation matrix", Journal of Guidance and Control 1, 1978.
    """
    r = rotation.astype(jnp.float32)
    a, b, c = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    wx, wy, wz = (r[..., j, k] - r[..., k, j] for j, k in ((2, 1), (0, 2), (1, 0)))
    xy, xz, yz = (r[..., j, k] + r[..., k, j] for j, k in ((0, 1), (0, 2), (1, 2)))
    outer = [
        [1 + a + b + c, wx, wy, wz],
        [wx, 1 + a - b - c, xy, xz],
        [wy, xy, 1 - a + b - c, yz],
        [wz, xz, yz, 1 - a - b + c],
    ]
    outer = jnp.stack([jnp.stack(row, -1) for row in outer], -2)
    largest = jnp.argmax(jnp.diagonal(outer, axis1=-2, axis2=-1), -1)
    row = jnp.take_along_axis(outer, largest[..., None, None], -2)[..., 0, :]
    row = row * jnp.where(row[..., :1] < 0, -1.0, 1.0)
    return row / jnp.linalg.norm(row, axis=-1, keepdims=True)


def matrix_to_axis_angle(
    rotation: Float[Array, "*batch 3 3"],
) -> tuple[Float[Array, "*batch 3"], Float[Array, "*batch"]]:
    """Find the axis and the angle of rotations.

    Args:
        rotation: Rotation matrices.

    Returns:
        Unit axes (the first coordinate axis for the identity) and angles in [0, pi], float32.

    Examples:
        >>> axis, angle = matrix_to_axis_angle(jnp.diag(jnp.array([-1.0, -1.0, 1.0])))
        >>> print(axis, angle)
        [0. 0. 1.] 3.1415927
    """
    quaternion = matrix_to_quaternion(rotation)
    imaginary = quaternion[..., 1:]
    square = jnp.square(imaginary).sum(-1, keepdims=True)
    turned = square > 0
    sine = jnp.sqrt(jnp.where(turned, square, 1))
    first = jnp.broadcast_to(jnp.array([1.0, 0.0, 0.0], jnp.float32), imaginary.shape)
    axis = jnp.where(turned, imaginary / sine, first)
    angle = 2 * jnp.arctan2(jnp.where(turned, sine, 0)[..., 0], quaternion[..., 0])
    return axis, angle


def rotation_angle(rotation: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch"]:
    r"""Angle of rotations: the geodesic distance of :math:`R` from the identity.

    Args:
        rotation: Rotation matrices. The distance of two is the angle of :math:`R_1^\top R_2`.

    Returns:
        Angles in [0, pi], float32.

    Examples:
        >>> print(rotation_angle(jnp.eye(3)))
        0.0
    """
    return matrix_to_axis_angle(rotation)[1]


def rotate(
    vectors: Float[Array, "*batch n 3"], rotation: Float[Array, "*#batch 3 3"]
) -> Float[Array, "*batch n 3"]:
    """Rotate points or normals, each cloud by its own rotation.

    Args:
        vectors: One vector a row.
        rotation: Rotation matrices, `(3, 3)` or with the leading axes of `vectors`.

    Returns:
        The rotated vectors, in the dtype of `vectors`.

    Raises:
        ValueError: If the leading axes differ.

    Examples:
        >>> half_turn = jnp.diag(jnp.array([-1.0, -1.0, 1.0]))
        >>> print(rotate(jnp.array([[1.0, 2.0, 3.0]]), half_turn))
        [[-1. -2.  3.]]
    """
    if rotation.ndim != 2 and rotation.shape[:-2] != vectors.shape[:-2]:
        raise ValueError(
            f"rotation must be (3, 3) or have the leading axes {vectors.shape[:-2]} of the "
            f"vectors, got {rotation.shape}"
        )
    # Not in bfloat16 or TF32, which accelerators would use: invariance would end at 1e-3.
    turned = jnp.matmul(
        vectors.astype(jnp.float32),
        jnp.swapaxes(rotation.astype(jnp.float32), -1, -2),
        precision=lax.Precision.HIGHEST,
    )
    return turned.astype(vectors.dtype)
