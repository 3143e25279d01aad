"""Pages show the numbers of docs/results/, and those files say how they were measured."""

import pytest

from benchmarks.results import ROOT, TABLES, markdown, read_result


@pytest.mark.parametrize("name", TABLES)
def test_pages_show_what_the_file_has(name):
    for page in TABLES[name].pages:
        assert markdown(name) + "\n" in (ROOT / page).read_text(), f"{page}: {name}"


@pytest.mark.parametrize("name", TABLES)
def test_the_docstring_of_a_recipe_has_the_numbers_of_the_file(name):
    text = (ROOT / "recipes" / f"{name.replace('-', '_')}.py").read_text().split('"""')[1]
    runs = read_result(name)["runs"]
    for score in ("knn", "linear"):
        mean = sum(run["results"][score]["encoder"] for run in runs) / len(runs)
        assert f" {100 * mean:.1f} %" in text, score


@pytest.mark.parametrize("name", TABLES)
def test_a_result_says_how_it_was_measured(name):
    result = read_result(name)
    assert result["machine"]
    assert [run["seed"] for run in result["runs"]] == list(TABLES[name].seeds)
    for run in result["runs"]:
        assert {"command", "commit", "date", "versions"} <= set(run)
        assert len(run["commit"]) == 40
