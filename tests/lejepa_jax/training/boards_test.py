"""Boards by name: which there are, what they are given, and that none of them ends a run."""

import json
import sys
import time
import types

import pytest

from lejepa_jax.training.boards.names import check_loggers, logger_names
from lejepa_jax.training.errors import UsageError
from lejepa_jax.training.log import Metrics, read_metrics

ROWS = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25, "eval/knn": 0.9}]


class FakeService:
    """Stands in for `wandb` and `trackio`, whose runs log and finish alike."""

    def __init__(self, fails=()):
        self.asked, self.logged, self.finished, self.fails = [], [], 0, fails

    def module(self, name):
        module = types.ModuleType(name)
        module.init = self.init
        module.Settings = dict
        return module

    def init(self, **options):
        self._may_fail("init")
        self.asked.append(options)
        return self

    def log(self, row, *, step):
        self._may_fail("log")
        self.logged.append({"step": step, **row})

    def finish(self):
        self._may_fail("finish")
        self.finished += 1

    def _may_fail(self, what):
        if what in self.fails:
            raise RuntimeError(f"no network for {what}\nmore lines")


def write(workdir, loggers, first_step=0, config=None):
    warnings = []
    metrics = Metrics(workdir, first_step, warnings.append, loggers=loggers, config=config or {})
    for row in ROWS:
        metrics.write(row)
    metrics.close()
    return warnings


@pytest.fixture(params=["wandb", "trackio"])
def service(request, monkeypatch):
    """The name of a service and its stand-in."""
    fake = FakeService()
    monkeypatch.setitem(sys.modules, request.param, fake.module(request.param))
    return request.param, fake


def test_names_are_read_and_unknown_ones_refused():
    assert logger_names("wandb, tensorboard,wandb") == ("wandb", "tensorboard")
    assert logger_names("none") == ()
    for wrong in ("", "none,wandb", "paper"):
        with pytest.raises(ValueError, match="logger must be none, or some of tensorboard"):
            logger_names(wrong)


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_missing_library_is_named_before_anything_is_trained(name, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda library: None)
    with pytest.raises(UsageError, match=rf"pip install 'lejepa-jax\[{name}\]'"):
        check_loggers(name)


def test_a_service_gets_every_row_and_the_same_run_when_it_goes_on(service, tmp_path):
    name, fake = service
    assert write(tmp_path, f"{name},tensorboard", config={"data": "a\x1b[2J", "steps": 3}) == []
    assert fake.logged == ROWS
    assert fake.finished == 1
    # The text in it acts on no terminal.
    assert fake.asked[0]["config"] == {"data": "a\ufffd[2J", "steps": 3}
    assert "allow" in (fake.asked[0].get("resume"),)
    assert list((tmp_path / "tensorboard").iterdir())
    write(tmp_path, name, first_step=1)
    first, second = (
        {k: v for k, v in asked.items() if k in ("id", "name")} for asked in fake.asked
    )
    assert first == second
    other = tmp_path / "other"
    other.mkdir()
    write(other, name)
    assert fake.asked[-1]["name"] != first["name"]


@pytest.mark.parametrize("what", ["init", "log", "finish"])
def test_a_service_that_fails_costs_one_line_and_no_row(service, what, tmp_path):
    name, fake = service
    fake.fails = (what,)
    (warning,) = write(tmp_path, name)
    assert warning.endswith(f"no network for {what}")
    assert warning.startswith("nothing is" if what == "init" else "no more is")
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2]


def test_with_none_there_is_the_log_alone(tmp_path):
    assert write(tmp_path, "none") == []
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


# --- the real ones, without a network -------------------------------------------------------------


def test_weights_and_biases_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert write(tmp_path, "wandb", config={"steps": 3}) == []
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (kept,) = folder.glob("*.wandb")
    until = time.monotonic() + 60  # its own process writes a little later
    while b"eval/knn" not in kept.read_bytes() and time.monotonic() < until:
        time.sleep(0.05)
    assert b"eval/knn" in kept.read_bytes()
    assert folder.name.endswith((tmp_path / "logger_id").read_text().strip())


def test_trackio_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "kept"))
    pytest.importorskip("trackio")
    import sqlite3

    assert write(tmp_path, "trackio", config={"steps": 3}) == []
    (path,) = (tmp_path / "kept").rglob("*.db")
    with sqlite3.connect(path) as database:
        found = [json.loads(row[0]) for row in database.execute("select metrics from metrics")]
    assert [row["loss"] for row in found if "loss" in row] == [0.5, 0.25]
