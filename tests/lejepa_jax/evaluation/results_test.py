import json

from lejepa_jax.evaluation.results import Picture, Results, by_score, merge_results


def test_results_have_a_score_first_and_are_json():
    suites = {
        "encoder": {"knn": 0.98, "few_shot_1": 0.7, "few_shot_1_std": 0.02},
        "pixels": {"knn": 0.97},
    }
    results = Results(by_score(suites), {"sigreg_null": 1.05}, {"confusion": {"encoder": [[1]]}})
    found = results.as_json()
    assert json.loads(json.dumps(found)) == found
    assert list(found) == ["knn", "few_shot_1", "few_shot_1_std", "diagnostics", "confusion"]
    assert found["knn"] == {"encoder": 0.98, "pixels": 0.97}
    assert found["few_shot_1"] == {"encoder": 0.7}


def test_results_of_several_evaluators_become_one_and_the_later_one_counts():
    picture = Picture("here", lambda: None, "")
    first = Results(
        {"knn": {"a": 0.1, "b": 0.2}}, {"a": {"rankme": 1.0}, "n": 1}, {"x": 1}, [picture]
    )
    second = Results(
        {"knn": {"b": 0.3}, "linear": {"a": 0.4}},
        {"a": {"sigreg": 2.0}, "n": 2},
        {"y": 2},
        [picture],
    )
    merged = merge_results([first, second])
    assert merged.scores == {"knn": {"a": 0.1, "b": 0.3}, "linear": {"a": 0.4}}
    assert merged.diagnostics == {"a": {"rankme": 1.0, "sigreg": 2.0}, "n": 2}
    assert merged.details == {"x": 1, "y": 2}
    assert len(merged.pictures) == 2
    assert first.scores["knn"]["b"] == 0.2  # what was given is left alone
