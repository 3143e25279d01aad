import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rope_jax import ENCODINGS, encoding_by_name, patch_grid, spherical


def test_defaults_reach_those_that_have_them_and_give_way_to_options():
    positions = patch_grid((2, 3)).positions
    passed = encoding_by_name("spherical", 7, 2, remainder="pass", grid=(2, 3))
    x = jnp.arange(84.0).reshape(6, 2, 7)
    rotated = passed.rotate(passed.prepare({}, positions), x)
    expected = spherical(7, 2, remainder="pass")
    np.testing.assert_array_equal(rotated, expected.rotate(expected.prepare({}, positions), x))
    with pytest.raises(ValueError, match="head_dim must be a positive multiple of 3, got 7"):
        encoding_by_name("spherical(remainder='error')", 7, 2, remainder="pass")


@pytest.mark.parametrize("name", sorted(ENCODINGS))
@pytest.mark.parametrize("num_axes", [1, 2, 3])
def test_every_name_is_defined_on_the_line_the_plane_and_in_space(name, num_axes):
    encoding = encoding_by_name(name, 24, 2, num_axes=num_axes, grid=(2, 2, 2)[:num_axes])

    def run(key, x, positions):
        params = encoding.init(key)
        return encoding.rotate(encoding.prepare(params, positions), x)

    shape = jax.eval_shape(
        run, jax.random.key(0), jnp.zeros((5, 2, 24)), jnp.zeros((5, num_axes))
    ).shape
    assert shape == (5, 2, 24)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("spheric", "encoding must be one of none, learned_absolute, sincos, rope_1d, axial,"),
        ("mixed(open('file'))", "got \"mixed(open('file'))\""),
        ("mixed(base=open('file'))", "got \"mixed(base=open('file'))\""),
        ("mixed(10.0)", "wanted a name or name(option=literal, ...), got 'mixed(10.0)'"),
        ("axial(**{'base': 2.0})", "got \"axial(**{'base': 2.0})\""),
        ("axial(", "got 'axial('"),
        ("", "got ''"),
        ("axial(base=" + "(" * 3000 + "1" + ")" * 3000 + ")", "wanted a name or name(option"),
        ("__import__('os')", "got \"__import__('os')\""),
        ("liere(size=3)", "options of liere must be among: block_size, init_scale, derivatives"),
        ("none(size=3)", "options of none must be among: none; got 'size'"),
        ("liere(block_size=5)", "head_dim must be a positive multiple of 5, got 24"),
    ],
)
def test_a_text_that_names_nothing_is_refused_and_never_run(spec, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        encoding_by_name(spec, 24, 2)
