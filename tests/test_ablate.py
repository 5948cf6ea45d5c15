"""Ablations train every variant, judge all on the same faces, and continue where they were stopped."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from rarn_edge.data import synthetic_faces


@pytest.fixture(scope="module")
def ablations(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("export/ablate.py")


def test_rows_are_paired_with_the_first_and_repeat(ablations: ModuleType, tmp_path: Path) -> None:
    training, held_out = synthetic_faces(64, 0), synthetic_faces(28, 1)
    plain = replace(ablations.EDGE_NANO, batch=16)
    variants = (
        ablations.Variant("plain", recipe=plain),
        ablations.Variant("none", "rarn-n-none", plain),
        ablations.Variant("taught", recipe=plain, taught=True),
    )
    rows = list(ablations.ablate(variants, training, held_out, ablations.Plan(1, 0, 1, tmp_path)))
    assert [row.variant for row in rows] == ["plain", "none", "taught"]
    assert (rows[0].difference, rows[0].p_value) == (0.0, 1.0)
    assert [row.difference for row in rows[1:]] == pytest.approx([row.upright - rows[0].upright for row in rows[1:]])
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert len(files) == 3
    assert list(ablations.ablate(variants, training, held_out, ablations.Plan(1, 0, 1, tmp_path))) == rows
    assert {path: path.stat().st_mtime_ns for path in files} == files  # judged again, not trained again
    assert ablations.as_csv(rows).count("\n") == 4
    assert "| taught |" in ablations.as_table(rows)


def test_every_variant_differs_from_the_first_in_one_choice(ablations: ModuleType) -> None:
    for variants in ablations.VARIANTS.values():
        first, *others = variants
        for other in others:
            changed = [getattr(first, field) != getattr(other, field) for field in ("model", "recipe", "taught")]
            assert sum(changed) == 1, other.name
