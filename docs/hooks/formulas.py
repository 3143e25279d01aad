"""Formulas as MathML, made when the site is built: browsers need neither scripts nor a network."""

import html
import re

from latex2mathml.converter import convert

_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_DISPLAYED = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def render_formulas(page: str) -> str:
    """Replace the LaTeX of a page.

    Args:
        page: HTML, formulas marked by `pymdownx.arithmatex`.

    Returns:
        The same with MathML.
    """
    page = _DISPLAYED.sub(lambda m: _mathml(m[1], "block"), page)
    return _INLINE.sub(lambda m: _mathml(m[1], "inline"), page)


def _mathml(latex: str, display: str) -> str:
    found = convert(html.unescape(latex).strip(), display=display)
    return f'<div class="formula">{found}</div>' if display == "block" else found
