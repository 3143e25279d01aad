import jax
import pytest
from flax import nnx

from lejepa_jax.nn.transformers.vit_sizes import vit


def count(make):
    params = nnx.state(nnx.eval_shape(make), nnx.Param)
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(
    ("size", "patch", "parameters"),
    [
        ("Ti", 16, 5_524_416),
        ("S", 16, 21_665_664),
        ("B", 16, 85_798_656),
        ("L", 16, 303_301_632),
        ("H", 14, 630_764_800),
        ("g", 14, 1_011_202_432),
        ("G", 14, 1_842_775_680),
    ],
)
def test_the_sizes_have_the_published_number_of_parameters(size, patch, parameters):
    # Blocks are alike: two depths give the line on which the published depth lies.
    one, two = (
        count(lambda d=d: vit(size, patch_size=patch, depth=d, rngs=nnx.Rngs(0))) for d in (1, 2)
    )
    depth = {"Ti": 12, "S": 12, "B": 12, "L": 24, "H": 32, "g": 40, "G": 48}[size]
    assert one + (depth - 1) * (two - one) == parameters


def test_the_small_size_has_twelve_blocks():
    assert count(lambda: vit("S", rngs=nnx.Rngs(0))) == 21_665_664
