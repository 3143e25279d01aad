"""The site, without what builds it: every page is reached and every link leads somewhere."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
#: Pages that are written when the site is built.
WRITTEN = {"recipes.md", "changelog.md", "contributing.md"}
TUTORIALS = sorted((DOCS / "tutorials").glob("*.py"))

sys.path.insert(0, str(DOCS / "hooks"))


def test_every_entry_of_the_navigation_is_a_page():
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = set(re.findall(r"[\w-]+\.md", navigation))
    assert WRITTEN < named <= {path.name for path in DOCS.glob("*.md")} | WRITTEN


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted(DOCS.glob("*.md"))], ids=lambda p: p.name
)
def test_links_between_pages_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path = target.partition("#")[0]
        if not path or "://" in target or path in WRITTEN or path.startswith("reference/"):
            continue
        if path.startswith("tutorials/"):
            path = path.replace(".md", ".py")
        assert (page.parent / path).exists(), f"{page.name}: {target}"


def test_the_reference_explains_every_public_name_once():
    from reference import reference_pages

    import lejepa_jax

    text = "\n".join(page for _, page in reference_pages())
    explained = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    assert len(explained) == len(set(explained)) > 500
    names = {path.rpartition(".")[2] for path in explained}
    assert set(lejepa_jax.__all__) <= names


def test_every_recipe_is_on_the_page_of_recipes():
    from recipes_page import recipes_page

    from recipes import recipes

    text = recipes_page()
    assert all(f"\n### {name}\n" in text for name in recipes())


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda p: p.stem)
def test_a_tutorial_is_python_in_cells_with_a_title(path):
    text = path.read_text()
    ast.parse(text)
    assert text.startswith("# %% [markdown]\n# # ")
