"""Docstrings for Markdown: roles of reStructuredText become formulas, code and links."""

import re
from typing import Any

import griffe

_DISPLAYED = re.compile(r"^( *)\.\. math::(.*(?:\n(?:\1 +\S.*|[ ]*(?=\n\1 +\S)))*)", re.MULTILINE)
_ROLE = re.compile(r":(?:func|class|mod|data|meth):`~?([^`]+)`")


def to_markdown(text: str, module: str) -> str:
    """Rewrite a docstring.

    Args:
        text: With roles such as `:math:` and `:func:`.
        module: Where it stands, for names without a path.

    Returns:
        The same as Markdown.
    """

    def displayed(match: re.Match[str]) -> str:
        formula = " ".join(line.strip() for line in match[2].splitlines())
        return f"\n{match[1]}\\[{formula.strip()}\\]\n"

    def link(match: re.Match[str]) -> str:
        name = match[1]
        path = name if "." in name else f"{module}.{name}"
        return f'<autoref identifier="{path}" optional><code>{name}</code></autoref>'

    text = _DISPLAYED.sub(displayed, text)
    text = re.sub(r":math:`([^`]+)`", lambda m: rf"\({' '.join(m[1].split())}\)", text)
    return _ROLE.sub(link, text)


class Roles(griffe.Extension):
    """Rewrites every docstring as it is read."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value, obj.module.path)
