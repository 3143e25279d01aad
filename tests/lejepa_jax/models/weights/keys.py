"""Names and shapes of the arrays of other libraries' models, on file: `keys.txt`.

`python -m tests.lejepa_jax.models.weights.keys` makes the file anew; it needs timm and torchvision.
A line is a name and a shape; `[0,3-5]` in a name and `weight,bias` at its end stand for one name
each.
"""

import re
from itertools import groupby
from pathlib import Path

FILE = Path(__file__).parent / "keys.txt"


def read_keys():
    """Shapes by name, by (library, architecture)."""
    found, current = {}, {}
    for line in FILE.read_text().splitlines():
        if line.startswith("= "):
            current = found.setdefault(tuple(line.split()[1:]), {})
        elif line.startswith("same as "):
            current.update(found[tuple(line.split()[2:])])
        else:
            name, shape = line.split()
            sizes = () if shape == "-" else tuple(map(int, shape.split("x")))
            current.update(dict.fromkeys(expand(name), sizes))
    return found


def expand(name):
    """All names that one stands for.

    >>> expand("blocks.[0,2-3].bias"), expand("norm.weight,bias")
    (['blocks.0.bias', 'blocks.2.bias', 'blocks.3.bias'], ['norm.weight', 'norm.bias'])
    """
    if "," in name.rpartition("]")[2]:
        front, _, ends = name.rpartition(".")
        return [one for end in ends.split(",") for one in expand(f"{front}.{end}")]
    front, bracket, rest = name.partition("[")
    if not bracket:
        return [name]
    numbers, _, back = rest.partition("]")
    found = []
    for part in numbers.split(","):
        first, _, last = part.partition("-")
        found += [f"{front}{number}{back}" for number in range(int(first), int(last or first) + 1)]
    return found


def fold(keys):
    """Lines of names and shapes, with the last number of names folded, and then their ends."""
    ends = {}
    for line in fold_numbers(keys):
        front, _, end = line.split()[0].rpartition(".")
        ends.setdefault((front, line.split()[1]), []).append(end)
    for (front, shape), names in ends.items():
        yield f"{front}.{','.join(names)} {shape}".removeprefix(".")


def fold_numbers(keys):
    groups = {}
    for name, shape in keys.items():
        match = re.fullmatch(r"(.*\.)(\d+)(\.\D+\d?\.\D+|\.\D+)", name)
        front, number, back = match.groups() if match else (name, None, "")
        groups.setdefault((front, back, shape, number is None), []).append(number)
    for (front, back, shape, plain), numbers in groups.items():
        text = "x".join(map(str, shape)) or "-"
        if plain:
            yield f"{front} {text}"
            continue
        parts = []
        for _, run in groupby(enumerate(map(int, numbers)), lambda pair: pair[1] - pair[0]):
            run = [number for _, number in run]
            parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
        yield f"{front}[{','.join(parts)}]{back} {text}"


def main():
    import timm
    import torch
    import torchvision

    from lejepa_jax.models.weights import ARCHITECTURES

    lines, seen = [], {}
    for library, architectures in ARCHITECTURES.items():
        for name in architectures:
            with torch.device("meta"):
                if library == "timm":
                    model = timm.create_model(name, num_classes=0)
                else:
                    model = getattr(torchvision.models, name)()
                    model.fc = torch.nn.Identity()
            keys = {key: tuple(x.shape) for key, x in model.state_dict().items()}
            folded = tuple(fold(keys))
            lines.append(f"= {library} {name}")
            lines += [f"same as {seen[folded]}"] if folded in seen else folded
            seen.setdefault(folded, f"{library} {name}")
    FILE.write_text("\n".join(lines) + "\n")
    assert len(read_keys()) == sum(map(len, ARCHITECTURES.values()))


if __name__ == "__main__":
    main()
