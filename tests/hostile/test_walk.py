"""A part of the walk over every command and every kind of bad path; `python tests/hostile/walk.py` is the whole of it."""

import sys
from pathlib import Path

import pytest

from rarn_edge.boundary.edge import BUG

from .walk import KINDS, NAMES, SLOTS, _wrong, run, walk


@pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and alarms of POSIX")
def test_bad_paths_end_in_a_line_and_change_nothing(tmp_path: Path) -> None:
    runs, findings = walk(tmp_path, every=41, offset=5, measures=False)
    assert runs > 30
    assert len(KINDS) + len(NAMES) >= 40
    assert {slot.words[0] for slot in SLOTS} == {
        *("predict", "score", "evaluate", "parity", "verify", "bundle", "stamp", "export", "quantize", "verdict"),
        *("audit", "compare", "bench", "train", "run", "inspect"),
    }
    assert not findings, "\n".join(f"{finding.command}\n    {finding.what[-2000:]}" for finding in findings)


def test_the_walk_sees_what_goes_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be of no use if a traceback or a wrong exit code passed by it."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("rarn_edge.boundary.paths._status", broken)
    code, said, error = run("parity", "--from", "x.json")
    assert code == BUG
    assert list(_wrong(code, said, error, True))
    assert list(_wrong(0, "", "", True))
    assert list(_wrong(2, "", "error: a\nb\nc\nd\n", False))
    assert list(_wrong(2, "\x1b", "error: a", False))
    assert not list(_wrong(2, "", "error: a", True))
