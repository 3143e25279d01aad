"""What `mkdocs build` asks of this project: pages that are written from the code."""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from bibliography import bibliography
from formulas import render_formulas
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from recipes_page import recipes_page
from reference import reference_pages
from tutorials import run_tutorial, title_of

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.py"))


def on_config(config: MkDocsConfig) -> None:
    """Add the pages that are written here, and those not named, to the navigation."""
    named = str(config.nav)
    _section(config.nav, "Training").extend(
        path.name for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in named
    )
    _section(config.nav, "Tutorials").extend(
        {title_of(path): f"tutorials/{path.stem}.md"} for path in TUTORIALS
    )
    groups: dict[str, list[Any]] = {}
    for name, _ in reference_pages():
        groups.setdefault(name.split(".")[0], []).append({name: f"reference/{name}.md"})
    _section(config.nav, "Reference").extend({name: pages} for name, pages in groups.items())


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Write them."""

    def add(path: str, content: str | bytes) -> None:
        files.append(File.generated(config, path, content=content))

    for name, page in reference_pages():
        add(f"reference/{name}.md", page)
    add("recipes.md", recipes_page())
    for name in ("CHANGELOG", "CONTRIBUTING"):
        add(f"{name.lower()}.md", (ROOT / f"{name}.md").read_text())
    for path in TUTORIALS:
        done = run_tutorial(path, ROOT / "build" / "tutorials")
        note = f"\n[This page as a notebook]({path.stem}.ipynb), run when the page was made.\n"
        add(f"tutorials/{path.stem}.md", re.sub(r"\A(\s*# .+\n)", rf"\1{note}", done.page))
        add(f"tutorials/{path.stem}.ipynb", done.notebook)
        for picture, data in done.pictures.items():
            add(f"tutorials/{picture}", data)
    return files


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Put the bibliography where a page asks for it."""
    return markdown.replace("<!-- bibliography -->", bibliography())


def on_page_content(html: str, **kwargs: Any) -> str:
    """Render the formulas of a page."""
    return render_formulas(html)


def _section(nav: list[Any] | None, title: str) -> list[Any]:
    for entry in nav or []:
        if isinstance(entry, dict) and title in entry:
            return entry[title]
    raise ValueError(f"the navigation in mkdocs.yml must have a section {title!r}")
