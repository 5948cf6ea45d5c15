"""The table of limits: what a TOML file may change in it, and what it may not."""

from pathlib import Path

import pytest

from rarn_edge.errors import InputError
from rarn_edge.parity.tolerances import TOLERANCES, read_tolerances, tolerances_from_dict, tolerances_to_dict


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("[faces.int8]\nmin_agreement = 0.9\n")
    found = read_tolerances(tmp_path / "other.toml")
    assert found["faces"]["int8"].min_agreement == 0.9
    assert found["faces"]["int8"].min_snr_db == TOLERANCES["faces"]["int8"].min_snr_db
    assert found["faces"]["float"] == TOLERANCES["faces"]["float"]
    assert TOLERANCES["faces"]["int8"].min_agreement == 0.985


def test_round_trip() -> None:
    assert tolerances_from_dict(tolerances_to_dict(TOLERANCES), "x") == TOLERANCES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[face.int8]\nmin_agreement = 0.9", r"no inputs 'face'; one of: faces, adversarial"),
        ("[faces.int4]\nmin_agreement = 0.9", r"\[faces.int4\] is no kind of step"),
        ("[faces.int8]\nagreement = 0.9", r"\[faces.int8\] has no limit 'agreement'"),
        ("[faces.int8]\nmin_agreement = '0.9'", r"min_agreement is a number of at least 0, found '0.9'"),
        ("[faces.int8]\nmin_agreement = true", "found True"),
        ("[faces.int8]\nmin_agreement = 98.5", r"at most 1, found 98\.5; 98\.5 % is 0\.985"),
        ("[faces.int8]\nmax_accuracy_drop = 2", "2 % is 0.02"),
        ("[faces.int8]\nmin_snr_db = nan", "nan is beyond the range of float64, or no number"),
        ("[faces]\nint8 = 3", r"\[faces.int8\] is a table"),
        ("faces = 3", r"\[faces\] is a table"),
        ("[faces", "not a readable TOML file"),
    ],
)
def test_what_is_not_in_the_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "other.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_tolerances(tmp_path / "other.toml")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: no such file"):
        read_tolerances(tmp_path / "none.toml")
