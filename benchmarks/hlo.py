"""Reading compiled programs: what is executed, how often, and how large it is."""

import re
from collections.abc import Iterator
from typing import NamedTuple

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {"f32": 4, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "pred": 1, "u8": 1, "s8": 1, "f64": 8}
_CALLED = re.compile(
    r"(?:body|condition|to_apply|calls|(?:true|false)_computation)=%?([\w.\-]+)"
    r"|branch_computations=\{([^}]*)\}"
)


class Executed(NamedTuple):
    """An operation of a compiled program that is not part of a fused one."""

    times: int
    operation: str
    inputs: int  # bytes
    outputs: int  # bytes
    line: str


def size(shapes: str) -> int:
    """Bytes of all arrays that a text names."""
    total = 0
    for kind, dims in re.findall(r"(\w+)\[([\d,]*)\]", shapes):
        number = 1
        for dim in dims.split(","):
            number *= int(dim or 1)
        total += number * _BYTES.get(kind, 4)
    return total


def executed(hlo: str) -> Iterator[Executed]:
    """Go through what the program executes.

    What is in a loop whose number of turns the compiler knows counts as often as it turns; of a
    choice all branches count.
    """
    blocks, name, entry = {}, "", ""
    for line in hlo.splitlines():
        head = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{\s*$", line)
        if head:
            name = head[2]
            entry = name if head[1] else entry
            blocks[name] = []
        elif name:
            blocks[name].append(line)

    def visit(block: str, times: int) -> Iterator[Executed]:
        shapes = {}
        for line in blocks.get(block, ()):
            found = re.match(
                r"\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\(([^)]*)\)", line
            )
            if not found:
                continue
            result, shape, operation, operands = found.groups()
            shapes[result] = shape
            inputs = sum(size(shapes.get(part.strip(" %"), "")) for part in operands.split(","))
            yield Executed(times, operation, inputs, size(shape), line)
            if operation not in ("while", "call", "conditional", "async-start"):
                continue
            turns = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
            for one, several in _CALLED.findall(line):
                for inner in [one] if one else several.replace("%", "").split(", "):
                    yield from visit(inner, times * int(turns[1]) if turns else times)

    return visit(entry, 1)


def moved(hlo: str) -> dict[str, int]:
    """Bytes that the collectives of a compiled program return to a device, by kind.

    The compiler for TPU may take one apart, to hide it among operations: each part then names the
    chain that it is of, which counts once.
    """
    total, chains = {}, {}
    for times, operation, _, outputs, _ in executed(hlo):
        kind = operation.removesuffix("-start")
        if kind in COLLECTIVES:
            total[kind] = total.get(kind, 0) + times * outputs
    part = rf"= (\S+) ({'|'.join(COLLECTIVES)})\(.*chain_id=\"(\d+)\""
    for shape, kind, chain in re.findall(part, hlo):
        chains[kind, chain] = size(shape)
    for (kind, _), number in chains.items():
        total[kind] = total.get(kind, 0) + number
    return total
