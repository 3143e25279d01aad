"""The help of a recipe in two groups: the flags that most people want, then the others."""

import re

#: What most people change, in the order in which the help shows it.
USUAL_FLAGS = (
    "--help",
    "--data",
    "--data-dir",
    "--workdir",
    "--steps",
    "--epochs",
    "--global-batch-size",
    "--learning-rate",
    "--seed",
    "--holdout",
    "--init-from",
    "--devices",
    "--precision",
    "--evaluate-every",
    "--keep-best",
    "--logger",
    "--task.encoder",
    "--task.networks",
    "--task.views",
    "--task.view",
    "--task.encoding",
    "--task.regularizer",
    "--task.trade-off",
    "--task.embedding-features",
    "--task.image-size",
    "--task.eval-size",
    "--task.dense-probe",
    "--task.num-points",
    "--task.stored-points",
)
_FLAG = re.compile(r" {1,3}(?:-\w, )?(--[a-z][\w.-]+)")
_INDENT = " " * 5


def two_groups(text: str) -> str:
    """Sort the flags of a help text into usual and expert ones.

    Args:
        text: What the parser of the command line prints, its flags in boxes.

    Returns:
        What stood above the boxes, then the flags without boxes; the text itself where it has none.

    Examples:
        >>> box = ["Digits.", "╭─ options ─╮", "│ --adam-b2 FLOAT │", "│       Decay. │"]
        >>> box += ["│ --steps INT │", "│       Number. │", "╰───────────╯"]
        >>> print(two_groups(chr(10).join(box)))
        Digits.
        <BLANKLINE>
        usual flags:
          --steps INT
              Number.
        <BLANKLINE>
        expert flags:
          --adam-b2 FLOAT
              Decay.
    """
    above: list[str] = []
    entries: dict[str, list[str]] = {}
    flag, boxes = "", False
    for line in text.splitlines():
        # In a terminal the parser draws boxes, elsewhere a title with a rule below it.
        inner = line.replace("│", " ").rstrip()
        found = _FLAG.match(inner)
        boxes = boxes or found is not None or re.match(r"╭| -{3}", line) is not None
        if found:
            flag = found[1]
            entries[flag] = [f"  {inner.strip()}"]
        elif flag and inner.startswith(_INDENT):
            entries[flag].append(f"      {inner.strip()}")
        elif not boxes:
            above.append(line)
    if above and above[-1].startswith(" "):
        above.pop()  # the title of the first group
    if not entries:
        return text
    usual = [name for name in USUAL_FLAGS if name in entries]
    groups = {"usual flags": usual, "expert flags": [name for name in entries if name not in usual]}
    parts = ["\n".join(above).rstrip()]
    for title, names in groups.items():
        parts += ["", f"{title}:", *(line for name in names for line in entries[name])]
    return "\n".join(parts)
