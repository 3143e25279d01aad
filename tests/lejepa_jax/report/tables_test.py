import io

import pytest
from rich.console import Console

from lejepa_jax.evaluation.results import Results, by_score
from lejepa_jax.report.tables import (
    cells_html,
    error_cells,
    names_html,
    results_table,
    score_cells,
    single_diagnostics,
)

SUITES = {
    "encoder": {"knn": 0.98, "linear": 0.99, "few_shot_1": 0.7, "few_shot_1_std": 0.02},
    "untrained": {"knn": 0.9, "linear": 0.92, "few_shot_1": 0.5, "few_shot_1_std": 0.03},
    "pixels": {"knn": 0.97, "linear": 0.95},
}
RESULTS = Results(by_score(SUITES), {"encoder": {"rankme": 4.9}, "sigreg_null": 1.0525})


def printed(results, **options):
    console = Console(width=120, file=io.StringIO())
    console.print(results_table(results, **options))
    return console.file.getvalue()


def cells_of(line):
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_the_terminal_table_has_a_row_a_source_and_a_column_a_probe():
    lines = printed(RESULTS, title="digits").splitlines()
    header = next(line for line in lines if "k-NN" in line)
    assert header.index("k-NN") < header.index("linear") < header.index("1-shot")
    pixels = next(line for line in lines if line.startswith("│ pixels"))
    assert cells_of(pixels) == ["pixels", "97.0", "95.0", "–"]
    encoder = next(line for line in lines if line.startswith("│ encoder "))
    assert cells_of(encoder) == ["encoder", "98.0", "99.0", "70.0 ± 2.0"]
    assert "digits" in lines[0]


def test_without_labels_the_table_has_the_numbers_that_need_none():
    found = Results(
        diagnostics={
            "encoder": {"loss": 0.25, "label_free_score": 12.345, "rankme": 30.25, "sigreg": 1.5},
            "untrained": {"rankme": 3.0, "sigreg": 400.0},
            "sigreg_null": 1.05,
        }
    )
    lines = printed(found).splitlines()
    header = next(line for line in lines if "RankMe" in line)
    for heading in ("loss", "label-free score", "RankMe", "SIGReg"):
        assert heading in header
    assert cells_of(next(x for x in lines if "│ encoder" in x))[1:] == [
        "0.25",
        "12.35",
        "30.25",
        "1.5",
    ]
    assert cells_of(next(x for x in lines if "untrained" in x))[1:] == ["–", "–", "3", "400"]


def test_a_diagnostic_that_is_not_known_is_left_out():
    assert single_diagnostics({"sigreg_null": None, "parameters": 12}) == {"parameters": "12"}


def test_a_run_without_scores_shows_the_numbers_it_has_or_says_that_there_are_none():
    assert cells_of(printed(Results(diagnostics={"parameters": 12})).splitlines()[3]) == ["12"]
    assert "nothing was measured" in printed(Results())


@pytest.mark.parametrize("name", ["[red]wild[/red]", "[/]", "a[b]c"])
def test_brackets_in_names_are_shown_and_no_markup(name):
    text = printed(Results({name: {name: 0.5}}), title=name)
    assert text.count(name) == 3


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a&b", '"><img src=x>'])
def test_nothing_from_outside_becomes_markup_of_the_page(name):
    pages = [
        cells_html(score_cells({name: {name: 0.5, "other": 0.4}})),
        cells_html(error_cells([[0, 1], [1, 1]], [name, name])),
        names_html({name: name}),
    ]
    for page in pages:
        assert name not in page
        assert "<script" not in page
        assert "<img" not in page


def test_the_best_of_each_column_is_marked_and_the_lead_of_the_encoder_shown():
    cells = score_cells(RESULTS.scores)
    assert [row[0] for row in cells.rows] == [*SUITES, "encoder − pixels, points"]
    assert cells.best[0] == [False, True, True, True]
    assert not any(cells.best[1])
    assert cells.rows[-1][1:] == ["+1.0", "+4.0", "–"]


def test_classes_with_most_errors_come_first_and_absent_ones_are_left_out():
    matrix = [[9, 1, 0, 0], [0, 0, 0, 0], [2, 1, 5, 0], [0, 0, 0, 4]]
    rows = error_cells(matrix, ["ant", "bee", "cat"]).rows
    assert rows == [
        ["cat", "8", "62.5", "ant (2)"],
        ["ant", "10", "90.0", "bee (1)"],
        ["3", "4", "100.0", "–"],
    ]
    assert error_cells([[0, 0], [0, 0]]) is None
    assert len(error_cells([[1 if i == j else 0 for j in range(50)] for i in range(50)]).rows) == 20
