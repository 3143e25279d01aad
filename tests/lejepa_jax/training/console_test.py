"""What libraries print beside a run."""

import sys

from lejepa_jax.training.console import silenced_libraries


def test_other_errors_that_nobody_catches_are_still_shown(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    before = sys.unraisablehook
    with silenced_libraries():
        for error in (RuntimeError("Event loop is closed"), RuntimeError("other"), OSError("full")):
            sys.unraisablehook(type("Found", (), {"exc_value": error}))
    assert [str(found.exc_value) for found in seen] == ["other", "full"]
    assert sys.unraisablehook is before
