"""The log of a run, on disks that are full, and after kills."""

import os
import re
import resource
import signal
import threading

import pytest

from lejepa_jax.training.boards import tensorboard
from lejepa_jax.training.log import Metrics, read_metrics


def write_rows(workdir, first_step, *steps):
    metrics = Metrics(workdir, first_step, print)
    for step in steps:
        metrics.write({"step": step, "loss": 1 / step})
    metrics.close()


def steps(workdir):
    return [row["step"] for row in read_metrics(workdir)]


@pytest.fixture
def full_disk():
    """Let no file grow beyond some size, as on a full disk; back to normal at the end."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size or before[1], before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_rows_after_the_checkpoint_are_made_again(tmp_path):
    write_rows(tmp_path, 0, 1, 2, 3, 4)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')  # torn by a kill
    write_rows(tmp_path, 2, 3)
    assert steps(tmp_path) == [1, 2, 3]
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 3


def test_what_killed_runs_left_half_written_is_removed(tmp_path):
    for name in ("metrics.new", "metrics.jsonl.partial", "results.json.partial"):
        (tmp_path / name).write_text("half")
    write_rows(tmp_path, 0, 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.jsonl", "tensorboard"]


def test_a_full_disk_costs_the_rows_it_has_no_room_for_and_one_warning(tmp_path, full_disk):
    warnings = []
    metrics = Metrics(tmp_path, 0, warnings.append)
    path = tmp_path / "metrics.jsonl"
    metrics.write({"step": 1, "loss": 0.5})
    full_disk(path.stat().st_size + 10)  # the next row is torn
    for step in (2, 3, 4):
        metrics.write({"step": step, "loss": 0.5})
    full_disk(None)
    for step in (5, 6):
        metrics.write({"step": step, "loss": 0.5})
    metrics.close()
    assert steps(tmp_path) == [1, 5, 6]
    (warning,) = [line for line in warnings if "TensorBoard" not in line]
    assert warning == "metrics could not be written: File too large"


def test_a_log_that_cannot_be_cut_leaves_the_old_one_and_nothing_else(tmp_path, full_disk):
    write_rows(tmp_path, 0, *range(1, 100))
    before = (tmp_path / "metrics.jsonl").read_bytes()
    full_disk(1000)
    with pytest.raises(OSError, match="File too large"):
        Metrics(tmp_path, 90, print)
    full_disk(None)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.jsonl", "tensorboard"]


def test_tensorboard_on_a_full_disk_costs_one_line_and_no_row(tmp_path, full_disk, monkeypatch):
    """Its own thread would die, and then block the run once 10 events wait for it."""
    monkeypatch.setattr(tensorboard, "_FLUSH_SECONDS", 0.0)
    warnings, threads = [], threading.active_count()
    metrics = Metrics(tmp_path, 0, warnings.append)
    full_disk(2000)  # an event takes more room than a row
    for step in range(1, 61):
        metrics.write({"step": step, "loss": 0.5})
    metrics.close()
    full_disk(None)
    assert threading.active_count() == threads
    assert warnings == ["no more is written for TensorBoard: File too large"]
    assert steps(tmp_path) == list(range(1, 61))


@pytest.mark.parametrize("kind", ["a file", "a pipe"])
def test_a_folder_of_tensorboard_that_is_none_costs_a_line(kind, tmp_path):
    if kind == "a file":
        (tmp_path / "tensorboard").write_text("mine")
    else:
        os.mkfifo(tmp_path / "tensorboard")
    warnings = []
    metrics = Metrics(tmp_path, 0, warnings.append)
    metrics.write({"step": 1, "loss": 0.5})
    metrics.close()
    assert steps(tmp_path) == [1]
    assert re.match(r"nothing is written for TensorBoard: (File exists|Not a dir)", warnings[0])


def test_tensorboard_reads_what_was_written_and_forgets_what_is_made_again(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    write_rows(tmp_path, 0, 1, 2, 3)
    write_rows(tmp_path, 1, 2)
    found = []
    for path in sorted((tmp_path / "tensorboard").iterdir(), key=lambda p: p.stat().st_mtime_ns):
        data, events = path.read_bytes(), []
        while data:  # length, its checksum, an event, its checksum
            size = int.from_bytes(data[:8], "little")
            events.append(Event.FromString(data[12 : 12 + size]))
            data = data[16 + size :]
        found.append(events)
    assert [[e.step for e in events] for events in found] == [[0, 1, 1, 2, 3], [0, 2, 2]]
    assert found[1][1].session_log.status == 1  # a start: what has this step or a later one is old
    (value,) = found[0][2].summary.value
    assert (value.tag, value.simple_value) == ("loss", 1.0)


def test_a_log_that_is_no_file_is_an_error_at_once(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    assert read_metrics(tmp_path) == []
    with pytest.raises(OSError, match="not a regular file"):
        Metrics(tmp_path, 0, print)


def test_other_processes_write_nothing(tmp_path):
    metrics = Metrics(None, 0, print)
    metrics.write({"step": 1})
    metrics.close()
    assert not list(tmp_path.iterdir())
