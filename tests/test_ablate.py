"""Ablations train every variant, judge all on the same faces, and continue where they were stopped."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from rarn_edge.assets import shipped_weights
from rarn_edge.contract.spec import FER2013
from rarn_edge.data import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.train.checkpoint import load_weights
from rarn_edge.train.label_sets import LabelSet


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
        ablations.Variant("settled", recipe=plain, settled=True),
    )
    sets = [LabelSet(training, held_out)]
    rows = list(ablations.ablate(variants, sets, ablations.Plan(1, 0, 1, tmp_path)))
    assert [row.variant for row in rows] == ["plain", "none", "taught", "settled"]
    assert [(row.upright_difference, row.upright_low, row.turned_high) for row in rows[:1]] == [(0.0, 0.0, 0.0)]
    for kind in ("upright", "turned"):
        found = [getattr(row, f"{kind}_difference") for row in rows]
        assert found == pytest.approx([getattr(row, kind) - getattr(rows[0], kind) for row in rows])
    started = [load_weights(tmp_path / row.variant / "weights.safetensors").provenance["started_from"] for row in rows]
    assert started == [None, None, None, load_weights(shipped_weights("rarn-n", FER2013)).sha256]
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert len(files) == 4
    assert list(ablations.ablate(variants, sets, ablations.Plan(1, 0, 1, tmp_path))) == rows
    assert {path: path.stat().st_mtime_ns for path in files} == files  # judged again, not trained again
    path = tmp_path / "x.csv"
    path.write_text(ablations.as_csv(rows))
    read = ablations.from_csv(path)
    assert [row.variant for row in read] == [row.variant for row in rows]
    assert read[2].turned == pytest.approx(rows[2].turned, abs=1e-6)


def test_table_over_seeds(ablations: ModuleType) -> None:
    def row(variant: str, seed: int, upright: float, difference: float) -> object:
        low, high = difference - 0.01, difference + 0.01
        return ablations.Row(variant, "fer2013", 4, seed, 3589, upright, 0.4, difference, low, high, 0.0, -0.01, 0.01)

    seeds = [[row("a", 0, 0.5, 0.0), row("b", 0, 0.52, 0.02)], [row("a", 1, 0.51, 0.0), row("b", 1, 0.515, 0.005)]]
    table = ablations.as_table(seeds).splitlines()
    assert table[2] == "| fer2013 | a | 50.50% | 40.00% | reference | reference |"
    assert table[3] == "| fer2013 | b | 51.75% | 40.00% | **+2.00**, +0.50 | +0.00, +0.00 |"
    unfinished = ablations.as_table([seeds[0][:1], seeds[1]]).splitlines()
    assert unfinished[3] == "| fer2013 | b | 51.50% | 40.00% | +0.50 | +0.00 |"


def test_every_variant_differs_from_the_first_in_one_choice(ablations: ModuleType) -> None:
    for variants in ablations.VARIANTS.values():
        first, *others = variants
        for other in others:
            changed = [
                getattr(first, field) != getattr(other, field) for field in ("model", "recipe", "taught", "settled")
            ]
            assert sum(changed) == 1, other.name


def test_variants_are_chosen_by_name(ablations: ModuleType) -> None:
    readings = ablations.VARIANTS["paper-rarn-n"]
    assert ablations.chosen(readings, None) == readings
    assert [each.name for each in ablations.chosen(readings, ["momentum", "as printed"])] == ["as printed", "momentum"]
    assert [each.name for each in ablations.chosen(readings, ["momentum"], False)] == ["momentum"]
    with pytest.raises(InputError, match="--without-first needs the variants to run: add --variant NAME"):
        ablations.chosen(readings, None, False)
    with pytest.raises(InputError, match="no variant 'momentun'; one of: as printed; shifts as a resized crop"):
        ablations.chosen(readings, ["momentun"])


def test_rows_without_the_first_do_not_mix_with_others(ablations: ModuleType, tmp_path: Path) -> None:
    reading = ablations.VARIANTS["paper-rarn-n"][2]
    rows = [ablations.Row(name, "fer2013", 3, 0, 9, *(0.0,) * 8) for name in ("as printed", "momentum")]
    ablations.check_reference(tmp_path / "x.csv", rows[1:], (reading,))
    with pytest.raises(InputError, match="compares with 'as printed'; leave out --without-first, or give another"):
        ablations.check_reference(tmp_path / "x.csv", rows, (reading,))
    ablations.check_reference(tmp_path / "x.csv", rows, ablations.VARIANTS["paper-rarn-n"])


def test_a_table_keeps_the_rows_that_are_not_made_anew(ablations: ModuleType) -> None:
    readings = ablations.VARIANTS["paper-rarn-n"]
    some = ablations.chosen(readings, ["momentum"])
    assert [each.name for each in some] == ["as printed", "momentum"]
    sets = ("fer2013", "ferplus")
    before = [ablations.Row(each.name, labels, 3, 0, 9, *(0.0,) * 8) for each in readings for labels in sets]
    anew = [replace(row, upright=1.0) for row in before if row.variant in ("as printed", "momentum")]
    for done in range(1, len(anew) + 1):  # stopped after so many rows
        merged = ablations.merged(anew[:done], before, readings)
        assert [(row.variant, row.labels) for row in merged] == [(row.variant, row.labels) for row in before]
        assert [row for row in merged if row.upright] == anew[:done]
    assert ablations.merged(anew, [], readings) == anew


@pytest.mark.parametrize("name", ["recipe", "settle"])
def test_what_cannot_learn_both_label_sets_says_so_before_any_training(ablations: ModuleType, name: str) -> None:
    held_out = LabelSet(synthetic_faces(14, 0), synthetic_faces(14, 1))
    plan = ablations.Plan(1, 0, 1, Path("runs"))
    ablations.check_alone(ablations.VARIANTS[name], [held_out], plan)
    for sets, given in (([held_out, held_out], plan), ([held_out], replace(plan, answers=(Path("t.npz"),)))):
        with pytest.raises(InputError, match="leave out --votes and --teacher"):
            ablations.check_alone(ablations.VARIANTS[name], sets, given)
