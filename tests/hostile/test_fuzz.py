"""Each fuzzer for a moment, with the same choices in every run; `make fuzz` runs each for a minute with others."""

from pathlib import Path

import pytest

pytest.importorskip("hypothesis")
pytest.importorskip("pyarrow")

from .fuzz import TARGETS, fuzz, mutated


@pytest.mark.parametrize("name", TARGETS)
def test_a_moment_of(name: str) -> None:
    fuzz(name, 40)


def test_every_seed_is_accepted_or_refused_and_mutations_change_it() -> None:
    edits = [
        (3, "set", b"\xff", 1),
        (9, "cut", b"", 4),
        (5, "insert", b"ab", 1),
        (7, "repeat", b"", 3),
        (2, "flip", b"", 1),
    ]
    for target in TARGETS.values():
        for seed in target.seeds():
            assert mutated(seed, []) == seed
            assert mutated(seed, edits) != seed  # type: ignore[arg-type]  # tuples of literals
    assert mutated(b"abc", [(2, "end", b"", 1)]) == b"ab"


def test_a_crash_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that fails on one byte in 256 is caught, so the mutations reach it."""
    from . import fuzz as module

    def fragile(path: Path) -> None:
        if b"\xff" in path.read_bytes():
            raise KeyError("a bug")

    monkeypatch.setitem(module.TARGETS, "json", module.Target(fragile, ".json", lambda: [b"{}"]))
    with pytest.raises(KeyError, match="a bug"):
        fuzz("json", 200)
