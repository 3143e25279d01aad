"""Rules between the weights of another library and ours: names, shapes, what changes between them.

A rule says which of their arrays make which of ours and back. A set of rules covers every array of
both sides exactly once, so that nothing can be left out, taken twice or stay random in silence.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Arrays = tuple[np.ndarray, ...]
Shapes = Mapping[str, tuple[int, ...]]


class Rule(NamedTuple):
    """Which arrays of theirs make which of ours.

    Attributes:
        theirs: Names in the other library.
        ours: Paths here. With none, `write` gives what their model wants and ours computes itself.
        read: Makes ours of theirs.
        write: Makes theirs of ours.
        optional: Whether theirs may be missing where they are read.
    """

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    read: Callable[..., Arrays]
    write: Callable[..., Arrays]
    optional: bool = False


def rename(theirs: str, ours: str) -> Rule:
    """Map an array to one of the same axes, but for axes of size 1 that theirs has in front.

    Args:
        theirs: Name in the other library.
        ours: Path here.

    Returns:
        The rule.

    Examples:
        >>> rename("norm.bias", "norm.bias").read(np.zeros(3))[0].shape
        (3,)
    """
    return Rule((theirs,), (ours,), lambda x: (x,), lambda x: (x,))


def token(theirs: str, ours: str) -> Rule:
    """Map tokens `(1, n, width)` to `(n, width)`.

    Args:
        theirs: Name in the other library.
        ours: Path here.

    Returns:
        The rule.

    Examples:
        >>> token("cls_token", "cls_token").write(np.zeros((1, 8)))[0].shape
        (1, 1, 8)
    """
    return Rule((theirs,), (ours,), lambda x: (x[0],), lambda x: (x[None],))


def norm(theirs: str, ours: str, *, bias: bool = True) -> list[Rule]:
    """Map a norm: gain and offset.

    Args:
        theirs: Name in the other library.
        ours: Path here.
        bias: Whether it has an offset.

    Returns:
        The rules.

    Examples:
        >>> [rule.ours for rule in norm("norm1", "attention_norm")]
        [('attention_norm.scale',), ('attention_norm.bias',)]
    """
    gain = rename(f"{theirs}.weight", f"{ours}.scale")
    return [gain, rename(f"{theirs}.bias", f"{ours}.bias")] if bias else [gain]


def linear(
    theirs: str, ours: str, *, bias: bool = True, as_convolution: bool = False
) -> list[Rule]:
    """Map a linear map, whose matrix they keep transposed.

    Args:
        theirs: Name in the other library.
        ours: Path here.
        bias: Whether it has an offset.
        as_convolution: Whether they have it as a convolution of size 1.

    Returns:
        The rules.

    Examples:
        >>> linear("proj", "out", bias=False)[0].write(np.zeros((2, 3)))[0].shape
        (3, 2)
    """
    back = (lambda x: (x.T[:, :, None, None],)) if as_convolution else (lambda x: (x.T,))
    matrix = Rule(
        (f"{theirs}.weight",),
        (f"{ours}.kernel",),
        (lambda x: (x[:, :, 0, 0].T,)) if as_convolution else (lambda x: (x.T,)),
        back,
    )
    return [matrix, rename(f"{theirs}.bias", f"{ours}.bias")] if bias else [matrix]


def convolution(theirs: str, ours: str, *, bias: bool = False) -> list[Rule]:
    """Map a convolution: (out, in, height, width) there, (height, width, in, out) here.

    Args:
        theirs: Name in the other library.
        ours: Path here.
        bias: Whether it has an offset.

    Returns:
        The rules.

    Examples:
        >>> convolution("conv1", "stem")[0].write(np.zeros((7, 7, 3, 64)))[0].shape
        (64, 3, 7, 7)
    """
    kernel = Rule(
        (f"{theirs}.weight",),
        (f"{ours}.kernel",),
        lambda x: (x.transpose(2, 3, 1, 0),),
        lambda x: (x.transpose(3, 2, 0, 1),),
    )
    return [kernel, rename(f"{theirs}.bias", f"{ours}.bias")] if bias else [kernel]


def patches(theirs: str, ours: str, *, size: int, bias: bool = True) -> list[Rule]:
    """Map a convolution whose stride is its size to the linear map of `patchify`.

    Args:
        theirs: Name in the other library.
        ours: Path here.
        size: Side of a patch.
        bias: Whether it has an offset.

    Returns:
        The rules.

    Examples:
        >>> patches("patch_embed.proj", "embed", size=4)[0].read(np.zeros((8, 3, 4, 4)))[0].shape
        (48, 8)
    """

    def write(x: np.ndarray) -> Arrays:
        return (x.reshape(size, size, -1, x.shape[1]).transpose(3, 2, 0, 1),)

    kernel = Rule(
        (f"{theirs}.weight",),
        (f"{ours}.kernel",),
        lambda x: (x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0]),),
        write,
    )
    return [kernel, rename(f"{theirs}.bias", f"{ours}.bias")] if bias else [kernel]


def batch_norm(theirs: str, ours: str) -> list[Rule]:
    """Map a BatchNorm with its running statistics.

    PyTorch keeps a running mean of unbiased variances and JAX's libraries one of biased ones, n /
    (n - 1) smaller for n values a channel and batch. Both are copied as they are: they are used as
    they are in evaluation, where the features are thus the same.

    Args:
        theirs: Name in the other library.
        ours: Path here.

    Returns:
        The rules.

    Examples:
        >>> [rule.ours for rule in batch_norm("bn1", "stem_norm")][2:]
        [('stem_norm.mean',), ('stem_norm.var',), ()]
    """
    counter = constant(f"{theirs}.num_batches_tracked", lambda: np.zeros((), np.int64))
    return [
        *norm(theirs, ours),
        rename(f"{theirs}.running_mean", f"{ours}.mean"),
        rename(f"{theirs}.running_var", f"{ours}.var"),
        counter._replace(optional=True),
    ]


def constant(theirs: str, value: Callable[[], np.ndarray]) -> Rule:
    """Give an array that their model wants and ours computes itself.

    Args:
        theirs: Name in the other library.
        value: Makes it.

    Returns:
        The rule.

    Examples:
        >>> constant("q_norm.bias", lambda: np.zeros(2)).write()
        (array([0., 0.]),)
    """
    return Rule((theirs,), (), lambda _: (), lambda: (value(),))


def expected_shapes(rules: Sequence[Rule], shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Shapes of theirs, without making any large array.

    Args:
        rules: The rules.
        shapes: Shapes of ours by path; each in exactly one rule.

    Returns:
        Shapes by their names.

    Raises:
        ValueError: If a name or a path is in two rules, or a path in none or not here: the rules
            are wrong.

    Examples:
        >>> expected_shapes(linear("proj", "out"), {"out.kernel": (2, 3), "out.bias": (3,)})
        {'proj.weight': (3, 2), 'proj.bias': (3,)}
    """
    counts = Counter(name for rule in rules for name in rule.theirs)
    paths = Counter(path for rule in rules for path in rule.ours)
    wrong = [f"{name} is in {n} rules" for name, n in (counts + paths).items() if n > 1]
    wrong = [text for text in wrong if counts[text.split()[0]] > 1 or paths[text.split()[0]] > 1]
    wrong += [f"{path} is in no rule" for path in shapes if path not in paths]
    wrong += [f"{path} is not in the encoder" for path in paths if path not in shapes]
    if wrong:
        raise ValueError(f"rules must cover each array exactly once: {'; '.join(wrong)}")
    found = {}
    for rule in rules:
        empty = [np.broadcast_to(np.float32(0), shapes[path]) for path in rule.ours]
        made = rule.write(*empty)
        found |= {name: x.shape for name, x in zip(rule.theirs, made, strict=True)}
    return found


def read_weights(
    arrays: Mapping[str, np.ndarray],
    rules: Sequence[Rule],
    shapes: Shapes,
    *,
    ignored: Iterable[str] = (),
    what: str = "the architecture",
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    r"""Make our arrays of theirs; everything fits or one error says all that does not.

    Args:
        arrays: Theirs by name.
        rules: The rules.
        shapes: Shapes of ours by path.
        ignored: Regular expressions of names that have no place here, such as a classifier.
        what: Name of the architecture, for the error.

    Returns:
        Ours by path in float32, and the names that were ignored.

    Raises:
        ValueError: If an array is missing, unexpected, of another shape or not of real numbers.

    Examples:
        >>> rules = [rename("norm.weight", "norm.scale")]
        >>> theirs = {"norm.weight": np.ones(3), "head.bias": np.zeros(9)}
        >>> ours, left = read_weights(theirs, rules, {"norm.scale": (3,)}, ignored=[r"head\..*"])
        >>> sorted(ours), left
        (['norm.scale'], ('head.bias',))
    """
    wanted = expected_shapes(rules, shapes)
    optional = {name for rule in rules if rule.optional for name in rule.theirs}
    ignore = [re.compile(pattern) for pattern in ignored]
    left = tuple(
        name
        for name in arrays
        if name not in wanted and any(pattern.fullmatch(name) for pattern in ignore)
    )
    problems = [f"missing: {name} {wanted[name]}" for name in wanted if name not in arrays]
    problems = [text for text in problems if text.split()[1] not in optional]
    for name, x in arrays.items():
        if name not in wanted:
            if name not in left:
                problems.append(f"unexpected: {name} {tuple(x.shape)}")
        elif tuple(x.shape) != wanted[name]:
            problems.append(f"wrong shape: {name} {tuple(x.shape)}, wanted {wanted[name]}")
        elif name not in optional and not _is_real(x):
            problems.append(f"wrong type: {name} {x.dtype}, wanted floating point")
    if not problems:
        problems = _differing_constants(arrays, rules)
    if problems:
        raise ValueError(
            f"weights must fit {what}, got {len(problems)} mismatches{_hint(arrays, wanted)}:\n  "
            + "\n  ".join(problems)
        )
    ours: dict[str, np.ndarray] = {}
    for rule in rules:
        if rule.ours:
            made = rule.read(*(np.asarray(arrays[name], np.float32) for name in rule.theirs))
            ours |= dict(zip(rule.ours, made, strict=True))
    for path, x in ours.items():
        if x.shape != tuple(shapes[path]):
            raise ValueError(f"rules must give {path} the shape {shapes[path]}, got {x.shape}")
    return {path: np.ascontiguousarray(x) for path, x in ours.items()}, left


def write_weights(
    arrays: Mapping[str, np.ndarray], rules: Sequence[Rule], shapes: Shapes
) -> dict[str, np.ndarray]:
    """Make their arrays of ours: the inverse of `read_weights`.

    Args:
        arrays: Ours by path.
        rules: The rules.
        shapes: Shapes of ours by path.

    Returns:
        Theirs by name, contiguous.

    Raises:
        ValueError: If an array is missing, unexpected, of another shape, or holds what their model
            has no place for.

    Examples:
        >>> ours = {"out.kernel": np.zeros((2, 3)), "out.bias": np.zeros(3)}
        >>> shapes = {path: x.shape for path, x in ours.items()}
        >>> write_weights(ours, linear("proj", "out"), shapes)["proj.weight"].shape
        (3, 2)
    """
    expected_shapes(rules, shapes)
    problems = [f"missing: {path}" for path in shapes if path not in arrays]
    problems += [f"unexpected: {path}" for path in arrays if path not in shapes]
    problems += [
        f"wrong shape: {path} {tuple(x.shape)}, wanted {tuple(shapes[path])}"
        for path, x in arrays.items()
        if path in shapes and tuple(x.shape) != tuple(shapes[path])
    ]
    if problems:
        raise ValueError("parameters must be those of the encoder:\n  " + "\n  ".join(problems))
    theirs: dict[str, np.ndarray] = {}
    for rule in rules:
        made = rule.write(*(np.asarray(arrays[path]) for path in rule.ours))
        theirs |= dict(zip(rule.theirs, made, strict=True))
    return {name: np.array(x, order="C") for name, x in theirs.items()}


def _is_real(x: np.ndarray) -> bool:
    # bfloat16 and the like come from ml_dtypes, and are no floating type for numpy.
    return np.issubdtype(x.dtype, np.floating) or str(x.dtype).startswith(("bfloat", "float"))


def _differing_constants(arrays: Mapping[str, np.ndarray], rules: Sequence[Rule]) -> list[str]:
    """Names of what the encoder computes itself, where the file says something else."""
    problems = []
    for rule in rules:
        if not rule.ours and not rule.optional:
            for name, value in zip(rule.theirs, rule.write(), strict=True):
                if not np.allclose(np.asarray(arrays[name], np.float32), value, atol=1e-6):
                    problems.append(f"fixed here: {name}, and it has other values")
    return problems


def _hint(arrays: Mapping[str, np.ndarray], wanted: Mapping[str, object]) -> str:
    """Name the prefix that would make names fit, if there is one."""
    prefixes = Counter(
        name[: -len(known)]
        for known in list(wanted)[:8]
        for name in arrays
        if name.endswith("." + known)
    )
    if not prefixes or any(name in wanted for name in arrays):
        return ""
    return f" (names begin with prefix={prefixes.most_common(1)[0][0]!r})"
