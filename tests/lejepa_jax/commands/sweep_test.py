"""A sweep: what it runs, what it keeps, what it chooses, and how it ends."""

import io
import json
import os
import signal
import sys
import threading
import time

import pytest
import rich.console

from lejepa_jax.commands import sweep
from lejepa_jax.commands.grid import read_grid
from lejepa_jax.commands.processes import Job, run_jobs
from lejepa_jax.commands.ranking import judge, order, rank_correlations
from lejepa_jax.commands.table import Program
from lejepa_jax.training.errors import UsageError
from lejepa_jax.training.runs import run_metadata
from tests.program import tiny_run
from tests.program.helpers import launch, wait_for_steps

# --- what is run ----------------------------------------------------------------------------------


def test_flags_with_several_values_are_varied_and_tuples_are_one_value():
    recipe = tiny_run.CLASSES
    flags = ["--lr", "0.1", "0.2", "--task.eval-sizes", "12", "16", "--steps=3", "--evaluate"]
    flags += ["--seed", "-1", "2"]
    grid = read_grid(flags, recipe)
    assert grid.varied == {"--learning-rate": ["0.1", "0.2"], "--seed": ["-1", "2"]}
    assert grid.fixed == ["--task.eval-sizes", "12", "16", "--steps", "3", "--evaluate"]


class Fake:
    """Stands in for the processes: writes what a run leaves, and remembers what was asked."""

    def __init__(self, results, fails=()):
        self.results, self.fails, self.asked = results, fails, []

    def __call__(self, jobs, command, *, at_once, ended):
        for job in jobs:
            self.asked.append(job.name)
            workdir = sweep.Path(job.arguments[job.arguments.index("--workdir") + 1])
            workdir.mkdir(parents=True, exist_ok=True)
            job.output.write_text("one\nerror: disk [bold]full\x1b[2J\n")
            (workdir / "run.json").write_text(json.dumps({"recipe": "digits", "steps": 3}))
            if job.name in self.fails:
                ended(job, 1)
                continue
            (workdir / "metrics.jsonl").write_text('{"step": 3, "loss": 1.0}\n')
            (workdir / "results.json").write_text(json.dumps(self.results(job.name)))
            ended(job, 0)
        return None


def result(score, *, std=0.9, sigreg=5.0, rankme=8.0, linear=0.5):
    encoder = {"label_free_score": score, "std_smallest": std, "sigreg": sigreg, "rankme": rankme}
    diagnostics = {"encoder": encoder, "sigreg_null": 1.05, "sigreg_collapsed": 201.0}
    return {"linear": {"encoder": linear}, "diagnostics": diagnostics}


@pytest.fixture
def say(monkeypatch, tmp_path):
    """Run the command with a fake of its processes, and return its code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def command(fake, *arguments):
        printed = io.StringIO()
        console = rich.console.Console(file=printed, width=200, markup=False, soft_wrap=True)
        program = Program(tiny_run.recipes(), "digits", console, lambda arguments: 0)
        monkeypatch.setattr(sweep, "run_jobs", fake)
        return sweep.run(["sweep", *arguments], program), printed.getvalue()

    return command


TRADE_OFFS = ("digits", "--evaluate", "--task.trade-off", "0.1", "0.2", "0.3")


def test_every_combination_is_run_once_and_the_same_command_keeps_what_is_finished(say, tmp_path):
    scores = {"0.1": 0.3, "0.2": 0.2, "0.3": 0.4}
    fake = Fake(lambda name: result(scores[name[10:13]], linear=1 - scores[name[10:13]]))
    code, output = say(fake, *TRADE_OFFS, "--seeds", "2", "--steps", "3")
    assert code == 0
    assert fake.asked[:3] == [
        "trade-off=0.1,seed=0",
        "trade-off=0.1,seed=1",
        "trade-off=0.2,seed=0",
    ]
    assert len(set(fake.asked)) == 6
    rows = [line.split()[1] for line in output.splitlines() if line.startswith("│")]
    assert rows == ["trade-off=0.2", "trade-off=0.1", "trade-off=0.3"]
    assert "chosen without labels: trade-off=0.2" in output
    assert "rank correlation of label_free_score with linear +1.00" in output
    folder = tmp_path / "runs" / "digits-sweep"
    summary = json.loads((folder / "sweep_results.json").read_text())
    assert summary["settings"][0]["linear"] == pytest.approx(80)
    assert summary["rank_correlations"]["label_free_score"] == {"linear": 1.0}
    (folder / "trade-off=0.2,seed=1" / "results.json").unlink()
    fake.asked.clear()
    code, output = say(fake, *TRADE_OFFS, "--seeds", "2", "--steps", "3")
    assert fake.asked == ["trade-off=0.2,seed=1"]
    assert "6 runs in runs/digits-sweep, 1 at a time; 5 of them finished before" in output
    # One value more is the same sweep; another number of steps is not.
    fake.asked.clear()
    say(fake, *TRADE_OFFS, "0.15", "--seeds", "2", "--steps", "3")
    assert fake.asked == ["trade-off=0.15,seed=0", "trade-off=0.15,seed=1"]
    with pytest.raises(UsageError, match=r"of digits \['--evaluate', '--steps', '3'\], not of"):
        say(fake, *TRADE_OFFS, "--seeds", "2", "--steps", "4")


def test_a_failed_run_is_in_the_table_with_its_last_line_and_the_code_is_1(say):
    fake = Fake(lambda name: result(0.1), fails=["trade-off=0.2"])
    code, output = say(fake, *TRADE_OFFS)
    assert code == 1
    assert "2/3 trade-off=0.2: exit code 1: error: disk [bold]full\ufffd[2J" in output
    last = [line for line in output.splitlines() if line.startswith("│")][-1]
    assert "trade-off=0.2" in last
    assert "not to be chosen: trade-off=0.2: exit code 1: error: disk [bold]full" in output


def test_a_stopped_sweep_says_so_and_gives_the_code_of_the_signal(say):
    def stopped(jobs, command, *, at_once, ended):
        return signal.SIGINT

    code, output = say(stopped, *TRADE_OFFS)
    assert code == 130
    assert "not started" in output
    assert "chosen without labels" not in output
    assert "the same command goes on" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digits", "--steps", "3"), "sweep wants a flag with several values"),
        (("digits", "--task.trade-off", "0.1", "2"), "trade_off must be between 0 and 1"),
        (("digits", "--task.trade-off", "0.1", "0.1"), "--task.trade-off has a value twice"),
        (("digits", "--seed", "0", "1", "--lerning-rate", "1"), "did you mean --learning-rate"),
        (("digits", "--seeds", "0"), "--seeds must be at least 1, got 0"),
        (("digits", "--seeds", "2", "--jobs", "x"), "--jobs must be at least 1, got x"),
        (("digits", "--seeds", "2"), "sweep compares results, and there are none"),
        (("moon", "--seeds", "2"), "unknown recipe 'moon'"),
        (("digits", "0.1", "--seeds", "2"), "sweep wants a recipe, then flags, got '0.1'"),
    ],
)
def test_a_mistake_is_said_before_anything_is_run(arguments, message, say, tmp_path):
    fake = Fake(lambda name: result(0.1))
    with pytest.raises(UsageError, match=message):
        say(fake, *arguments)
    assert not fake.asked
    assert list(tmp_path.iterdir()) == []


# --- what is chosen -------------------------------------------------------------------------------


def test_a_score_that_is_lowest_where_embeddings_have_collapsed_is_not_chosen():
    runs = {
        "round": result(0.3, rankme=25.0),
        "thin": result(0.1, std=0.05, rankme=31.0),
        "point": result(0.2, std=0.4, sigreg=190.0),
        "failed": None,
    }
    outcomes = order(
        [judge(name, [r] if r else [], [] if r else ["stopped"]) for name, r in runs.items()]
    )
    assert [outcome.name for outcome in outcomes] == ["round", "thin", "point", "failed"]
    assert "standard deviation is 0.05" in outcomes[1].trouble
    assert "SIGReg is 190, and 201 for a single point" in outcomes[2].trouble


# Measured: `sweep digits --steps 300` with trade-offs as named; numbers of `results.json`.
DIGITS = {
    "0.0002": result(0.3192, std=0.0145, sigreg=200.8, rankme=30.46, linear=0.964),
    "0.001": result(0.8200, std=0.0164, sigreg=200.6, rankme=28.64, linear=0.962),
    "0.005": result(0.5041, std=0.4682, sigreg=27.97, rankme=10.77, linear=0.992),
    "0.02": result(0.5684, std=0.6744, sigreg=13.01, rankme=18.27, linear=0.992),
    "0.1": result(0.8099, std=0.8608, sigreg=8.12, rankme=26.14, linear=0.992),
}


@pytest.mark.parametrize("known", ["std_smallest", "sigreg"])
def test_on_digits_the_score_and_rankme_would_choose_what_has_collapsed(known):
    runs = {}
    for name, run in DIGITS.items():
        # Each of the two signs of a collapse is enough.
        encoder = dict(run["diagnostics"]["encoder"])
        encoder.pop({"std_smallest": "sigreg", "sigreg": "std_smallest"}[known])
        runs[name] = run | {"diagnostics": run["diagnostics"] | {"encoder": encoder}}
    free = {name: run["diagnostics"]["encoder"] for name, run in runs.items()}
    assert min(free, key=lambda name: free[name]["label_free_score"]) == "0.0002"
    assert max(free, key=lambda name: free[name]["rankme"]) == "0.0002"
    outcomes = order([judge(name, [run], []) for name, run in runs.items()])
    assert [outcome.name for outcome in outcomes] == ["0.005", "0.02", "0.1", "0.0002", "0.001"]
    assert [bool(outcome.trouble) for outcome in outcomes] == [False, False, False, True, True]


def test_rank_correlations_leave_out_what_cannot_be_chosen_and_turn_the_sign():
    scores = [0.5, 0.4, 0.3, 0.2]
    outcomes = [judge(str(s), [result(s, linear=1 - s**2)], []) for s in scores]
    thin = judge("thin", [result(0.01, std=0.01, linear=0.0)], [])
    assert rank_correlations([*outcomes, thin])["label_free_score"]["linear"] == pytest.approx(1)
    assert rank_correlations(outcomes[:2]) == {}


def test_without_a_label_free_score_the_highest_accuracy_comes_first():
    runs = [{"accuracy": {"encoder": a}} for a in (0.5, 0.9, 0.7)]
    outcomes = order([judge(str(k), [run], []) for k, run in enumerate(runs)])
    assert [outcome.name for outcome in outcomes] == ["1", "2", "0"]


# --- processes ------------------------------------------------------------------------------------


def script(tmp_path, name, text):
    return Job(name, ["-c", text], tmp_path / f"{name}.log")


def test_processes_run_some_at_a_time_and_their_codes_are_told(tmp_path):
    text = "import time, sys; print('begin', flush=True); time.sleep(0.5); sys.exit({})"
    jobs = [script(tmp_path, str(code), text.format(code)) for code in (0, 3, 5)]
    ends = []
    begun = time.monotonic()
    stopped = run_jobs(
        jobs,
        [sys.executable],
        at_once=3,
        ended=lambda job, code: ends.append((job.name, code, time.monotonic() - begun)),
    )
    assert stopped is None
    assert {(name, code) for name, code, _ in ends} == {("0", 0), ("3", 3), ("5", 5)}
    assert (tmp_path / "3.log").read_text() == "begin\n"


def test_a_signal_stops_all_and_starts_no_more(tmp_path):
    patient = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(130))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    jobs = [script(tmp_path, str(k), patient) for k in range(3)]
    ends = {}

    def interrupt():
        until = time.monotonic() + 30
        while time.monotonic() < until:
            logs = [job.output for job in jobs[:2]]
            if all(log.exists() and log.read_text() == "ready\n" for log in logs):
                break
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    handler = signal.getsignal(signal.SIGINT)
    stopped = run_jobs(
        jobs, [sys.executable], at_once=2, ended=lambda job, code: ends.update({job.name: code})
    )
    thread.join()
    assert stopped == signal.SIGINT
    assert ends == {"0": 130, "1": 130}
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.slow
def test_a_real_sweep_is_stopped_goes_on_and_ends_with_its_table(tmp_path):
    flags = ("--evaluate", "--task.trade-off", "0.02", "0.2", "--workdir", str(tmp_path / "all"))
    arguments = ("-m", "tests.program.tiny_run", "sweep", "digits", *flags)
    process = launch(*arguments)
    wait_for_steps(tmp_path / "all" / "trade-off=0.02", 3, process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "the same command goes on" in output
    process = launch(*arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "resuming at step" in (tmp_path / "all" / "trade-off=0.02.log").read_text()
    summary = json.loads((tmp_path / "all" / "sweep_results.json").read_text())
    assert {one["name"] for one in summary["settings"]} == {"trade-off=0.02", "trade-off=0.2"}
    assert all(0 < one["linear"] <= 100 for one in summary["settings"])
    for title in ("score", "RankMe", "SIGReg", "std", "knn %", "linear %"):
        assert title in output


def test_a_run_describes_itself_to_a_sweep():
    """The fake above writes what a run does."""
    assert {"recipe", "steps"} <= set(run_metadata("digits", "", {}, 3))
