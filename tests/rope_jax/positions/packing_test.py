"""Packing of token sets into rows."""

import numpy as np
import pytest

import rope_jax


def test_packing_keeps_every_token_once():
    sets = [rope_jax.patch_grid(shape) for shape in ((2, 2), (1, 3), (1, 2), (1, 1))]
    packed = rope_jax.pack(sets, 5, share_rows=True)
    segments = np.asarray(packed.segments)
    assert segments.tolist() == [[0, 0, 0, 0, 3], [1, 1, 1, 2, 2]]
    for index, tokens in enumerate(sets):
        np.testing.assert_array_equal(packed.positions[segments == index], tokens.positions)
    assert packed.mask.shape == (2, 1, 5, 5)
    assert not bool(packed.mask[1, 0, 0, 3])
    assert bool(packed.mask[1, 0, 4, 3])
    alone = rope_jax.pack(sets, 5)
    np.testing.assert_array_equal(alone.measure[1, 3:], 0)
    with pytest.raises(ValueError, match="at least the longest set's 4, got 3"):
        rope_jax.pack(sets, 3)
