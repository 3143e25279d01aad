"""Lists of runs whose files say anything, configurations that grew, and names of before."""

import io
import json
import os
import time
from pathlib import Path

import pytest
import rich.console

from lejepa_jax.training.compatibility import upgrade_config
from lejepa_jax.training.runs import (
    differences,
    headlines,
    list_runs,
    read_run,
    run_metadata,
    runs_table,
)


def make_run(workdir, *, steps=20, logged=(), saved=(), results=None, recipe="digits"):
    workdir.mkdir(parents=True)
    (workdir / "run.json").write_text(json.dumps({"recipe": recipe, "steps": steps}))
    if logged:
        lines = [json.dumps({"step": step, "loss": 1 / step}) + "\n" for step in logged]
        (workdir / "metrics.jsonl").write_text("".join(lines))
    for step in saved:
        (workdir / "checkpoints" / str(step)).mkdir(parents=True)
        (workdir / "checkpoints" / str(step) / "_CHECKPOINT_METADATA").write_text("{}")
    if results is not None:
        (workdir / "results.json").write_text(json.dumps(results))
    return workdir


def show(runs, width=100):
    shown = io.StringIO()
    rich.console.Console(file=shown, width=width, force_terminal=True).print(runs_table(runs))
    return shown.getvalue()


# --- what files may hold --------------------------------------------------------------------------

ODD = ["", "{torn", "[1]", "7", "null", '"text"', "NaN", "[" * 100_000, "\xff\xfe"]


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "results.json"])
@pytest.mark.parametrize("content", ODD)
def test_one_bad_file_costs_no_other_run(name, content, tmp_path):
    make_run(tmp_path / "good", logged=[1, 2], saved=[2])
    bad = make_run(tmp_path / "bad", logged=[1, 2], results={"knn": {"encoder": 0.5}})
    (bad / name).write_bytes(content.encode("latin-1"))
    found = {run.workdir.name: run for run in list_runs(tmp_path)}
    assert (found["good"].step, found["good"].state) == (2, "stopped")
    assert ("bad" in found) == (name != "run.json")
    assert "good" in show(list(found.values()))


@pytest.mark.parametrize(
    "row",
    [
        '{"loss": 3}',
        '{"step": NaN, "loss": 3}',
        '{"step": "7", "loss": 3}',
        '{"step": -1}',
        '{"step": Infinity}',
        '{"step": true}',
        "[7]",
        '{"step": 9, "lo',
    ],
)
def test_what_is_no_row_is_passed_over(row, tmp_path):
    make_run(tmp_path / "run", logged=[1, 2])
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write(row + "\n")
    run = read_run(tmp_path / "run")
    assert (run.step, run.loss) == (2, 0.5)


@pytest.mark.parametrize("value", ['"x"', "null", "[1]", "NaN", "Infinity", "1" + "0" * 400])
def test_values_that_are_no_numbers_are_shown_without_a_trace(value, tmp_path):
    workdir = make_run(tmp_path / "run")
    (workdir / "run.json").write_text(f'{{"recipe": {value}, "steps": {value}}}')
    (workdir / "metrics.jsonl").write_text(f'{{"step": 1, "loss": {value}}}\n')
    (workdir / "results.json").write_text(f'{{"knn": {{"encoder": {value}}}, "linear": {value}}}')
    assert "run" in show([read_run(workdir)])


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "results.json"])
def test_a_pipe_is_not_waited_for(name, tmp_path):
    workdir = make_run(tmp_path / "run", logged=[1], results={})
    (workdir / name).unlink()
    os.mkfifo(workdir / name)
    began = time.monotonic()
    assert len(list_runs(tmp_path)) == (name != "run.json")
    assert time.monotonic() - began < 5


def test_nothing_in_a_file_acts_on_the_terminal(tmp_path):
    evil = "\x1b[2J\x9b2J\r\u202e[red]x[/y][link=file:///etc]"
    workdir = make_run(tmp_path / "a[/b]\x1b[31m", recipe=evil, logged=[1])
    (workdir / "results.json").write_text(json.dumps({evil: {evil: 0.5}}))
    (run,) = list_runs(tmp_path)
    shown = io.StringIO()
    console = rich.console.Console(file=shown, width=300, force_terminal=True)
    console.print_json(data={**run.metadata, "results": run.results})
    for text in (show([run], 300), shown.getvalue()):
        assert not {"\x1b[2J", "\x1b[31m", "\x9b", "\r", "\u202e"} & {
            text[i : i + n] for n in (1, 4, 5) for i in range(len(text))
        }
        assert "[red]x[/y][link=file:///etc]" in text
    assert "a[/b]" in show([run], 300)
    assert "\x1b]8" not in show([run], 300)


def test_names_that_are_no_text_can_be_shown(tmp_path):
    run = read_run(make_run(tmp_path / os.fsdecode(b"caf\xe9"), logged=[1]))
    assert "caf\ufffd" in show([run], 300).encode("utf-8").decode()


# --- what a run has come to -----------------------------------------------------------------------


def test_a_checkpoint_counts_where_nothing_was_logged(tmp_path):
    run = read_run(make_run(tmp_path / "run", saved=[1, 3]))
    assert (run.step, run.state) == (3, "stopped")


def test_results_are_those_of_the_last_step_or_none(tmp_path):
    results = {"knn": {"encoder": 0.5}}
    workdir = make_run(tmp_path / "run", logged=[20], saved=[20], results=results)
    assert read_run(workdir).state == "finished"
    assert read_run(workdir).results == results
    # The run is made longer, and stops after its last step, before the evaluation.
    (workdir / "run.json").write_text(json.dumps({"recipe": "digits", "steps": 40}))
    checkpoint = workdir / "checkpoints" / "40" / "_CHECKPOINT_METADATA"
    checkpoint.parent.mkdir()
    checkpoint.write_text("{}")
    os.utime(workdir / "results.json", (1, 1))
    assert (read_run(workdir).state, read_run(workdir).results) == ("trained", {})
    # Or they say of which step they are.
    (workdir / "results.json").write_text(json.dumps(results | {"step": 20}))
    assert read_run(workdir).state == "trained"
    (workdir / "results.json").write_text(json.dumps(results | {"step": 40}))
    os.utime(workdir / "results.json", (1, 1))
    assert read_run(workdir).state == "finished"
    assert headlines(read_run(workdir).results) == [("knn", 0.5)]


def test_the_end_of_a_path_is_shown_where_there_is_no_room(tmp_path):
    runs = [
        read_run(make_run(tmp_path / ("long" * 20) / f"seed{seed}", logged=[1])) for seed in (0, 1)
    ]
    shown = show(runs, 80)
    assert "…" in shown
    assert "/seed0 " in shown
    assert "/seed1 " in shown
    assert max(len(line) for line in shown.splitlines() if "seed" in line) <= 80


def test_a_run_is_described(tmp_path):
    described = run_metadata("digits", "python train.py", {"seed": 0}, 20)
    (tmp_path / "run.json").write_text(json.dumps(described))
    run = read_run(tmp_path)
    assert (run.recipe, run.steps, run.metadata["config"]) == ("digits", 20, {"seed": 0})
    assert run.metadata["versions"]["jax"]


# --- configurations -------------------------------------------------------------------------------


def test_fields_added_later_are_the_same_at_their_defaults():
    old = {"seed": 0, "task": {"width": 3}}
    task = {"width": 3, "depth": 2, "views": {"size": 8}}
    new = {"seed": 0, "mesh": None, "task": task}
    defaults = {"mesh": None, "task": {"depth": 2, "width": 9, "views": {"size": 8}}}
    assert not list(differences(old, new, (), defaults=defaults))
    task["depth"] = 4
    new["seed"] = 1
    assert list(differences(old, new, (), defaults=defaults)) == [
        "seed was 0, is 1",
        "task.depth was None, is 4",
    ]
    assert list(differences(old, new, {"seed", "task.depth"}, defaults=defaults)) == []
    # A field that is there is compared, whatever its default.
    task |= {"width": 9, "depth": 2}
    assert list(differences(old, new, {"seed"}, defaults=defaults)) == ["task.width was 3, is 9"]


def test_fields_added_to_the_parts_of_a_list_are_the_same_at_their_defaults():
    old = {"views": [{"size": 8}, {"size": 4}], "scale": [0, 1]}
    views = [{"size": 8, "area": "uniform"}, {"size": 4, "area": "uniform"}]
    new = {"views": views, "scale": [0, 1]}
    defaults = {"views": [{"area": "uniform"}, {"area": "uniform"}], "scale": [0, 2]}
    assert not list(differences(old, new, (), defaults=defaults))
    views[1] = {"size": 5, "area": "torchvision"}
    new["scale"] = [0, 2]
    assert list(differences(old, new, (), defaults=defaults)) == [
        "scale was [0, 1], is [0, 2]",
        "views[1].area was None, is torchvision",
        "views[1].size was 4, is 5",
    ]
    old["views"].pop()
    assert next(differences(old, new, {"scale"}, defaults=defaults)).startswith("views was [{")


def test_a_run_that_was_made_before_views_had_an_area_is_the_same():
    from lejepa_jax.training.recipe import defaults, describe
    from tests.program.tiny_run import RECIPE

    old = describe(RECIPE)
    for view in old["task"]["views"]:
        del view["area"]
    assert not list(differences(old, describe(RECIPE), (), defaults=defaults(RECIPE)))


def test_an_old_configuration_gets_the_names_of_today_and_a_new_one_keeps_them():
    old = {
        "optimiser": "sgd",
        "global_batch": 64,
        "average_decay": None,
        "seed": 3,
        "task": {
            "eval_batch": 60,
            "neighbours": 20,
            "quadrature": "folded",
            "encoder": {
                "call": "Dipvnet",
                "config": {"normalise_radius": True, "centre": False, "num_neighbours": 8},
            },
            "views": [{"call": "VnDgcnn"}, {"call": "L2dp"}, {"call": "DipvnetParts"}],
        },
    }
    new = {
        "optimizer": "sgd",
        "global_batch_size": 64,
        "ema_decay": None,
        "seed": 3,
        "task": {
            "eval_batch_size": 60,
            "knn_k": 20,
            "statistic": "epps_pulley",
            "encoder": {
                "call": "DiPVNet",
                "config": {"normalize_radius": True, "center": False, "num_neighbors": 8},
            },
            "views": [{"call": "VNDGCNN"}, {"call": "L2DP"}, {"call": "DiPVNetParts"}],
        },
    }
    assert upgrade_config(old) == new
    assert upgrade_config(new) == new


def test_folders_that_cannot_be_read_are_passed_over(tmp_path):
    make_run(tmp_path / "good", logged=[1])
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling").mkdir()
    (tmp_path / "dangling" / "run.json").symlink_to("/nowhere")
    (tmp_path / "folder" / "run.json").mkdir(parents=True)
    assert [run.workdir.name for run in list_runs(tmp_path)] == ["good"]
    assert list_runs(Path("/nowhere")) == []


def test_a_run_without_labels_shows_what_needs_none(tmp_path):
    encoder = {"label_free_score": 0.25, "rankme": 30.5, "sigreg": 1.25, "isotropy": 9.0}
    found = {"diagnostics": {"encoder": encoder}}
    make_run(tmp_path / "free", logged=[20], results=found)
    make_run(tmp_path / "known", logged=[20], results={"knn": {"encoder": 0.5}, **found})
    make_run(tmp_path / "odd", logged=[20], results={"diagnostics": {"encoder": [1]}})
    lines = {
        line.split()[1]: line
        for line in show(list_runs(tmp_path), 150).splitlines()
        if "20/20" in line
    }
    free, known = (next(v for k, v in lines.items() if k.endswith(n)) for n in ("free", "known"))
    assert "label_free_score 0.25  rankme 30.5  sigreg 1.25" in free
    assert "knn 50.0" in known
    assert "rankme" not in known
