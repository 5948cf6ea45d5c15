"""A weights file says whose it is; anything else under its name is refused in one line."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from rarn_edge.errors import InputError
from rarn_edge.models.catalog import find_model
from rarn_edge.models.find import find_network
from rarn_edge.train.checkpoint import (
    STATE_FORMAT,
    STATE_KEYS,
    Weights,
    load_state,
    load_weights,
    save_state,
    save_weights,
)

SPEC = find_model("rarn-n").spec


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    stored = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4, 3, 3, 3).to(memory_format=torch.channels_last)}
    save_weights(path, SPEC, stored, {"seed": 3})
    weights = load_weights(path)
    assert weights.spec == SPEC
    assert weights.provenance == {"seed": 3}
    assert all(torch.equal(value, weights.tensors[name]) for name, value in stored.items())
    assert len(weights.sha256) == 64


def test_model_is_ready_to_answer(weights: Weights) -> None:
    model = weights.model()
    assert not model.training
    assert all(torch.equal(value, weights.tensors[name]) for name, value in model.state_dict().items())


def test_weights_of_another_model_are_refused(weights_file: Path) -> None:
    with pytest.raises(InputError, match=r"weights of 'rarn-n', not of 'rarn-s'; pass --model rarn-n"):
        load_weights(weights_file, find_network("rarn-s"))


def test_parameters_of_another_model_are_refused(weights: Weights, tmp_path: Path) -> None:
    """The header lies: the name is right, the parameters are not."""
    path = tmp_path / "w.safetensors"
    save_weights(path, find_model("rarn-s").spec, weights.tensors, {})
    with pytest.raises(InputError, match="these weights do not fit 'rarn-s'"):
        load_weights(path, find_network("rarn-s")).model()


def test_weights_are_for_whoever_may_read_the_folder(weights: Weights, tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    save_weights(tmp_path / "w.safetensors", weights.spec, weights.tensors, {})
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_full_disk_is_said_and_the_old_state_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    state = {"format": STATE_FORMAT, **dict.fromkeys(STATE_KEYS, torch.zeros(10))}
    save_state(path, state)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    message = (
        r"last\.pt: the disk is full: it takes 1\.0 MB, [\d,.]+ MB are free\.\nMake room, then continue with --resume"
    )
    with pytest.raises(InputError, match=message):
        save_state(path, {**state, "model": torch.zeros(250_000)})
    assert torch.equal(load_state(path)["model"], torch.zeros(10))
    assert [each.name for each in tmp_path.iterdir()] == ["last.pt"]
    with pytest.raises(InputError, match="Make room, then start again"):
        save_state(tmp_path / "first.pt", state)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.safetensors: no such file; weights are made by"):
        load_weights(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 200, 0.5, 0.999], ids=str)
def test_truncated_file_is_refused(weights_file: Path, tmp_path: Path, keep: float) -> None:
    whole = weights_file.read_bytes()
    path = tmp_path / "w.safetensors"
    path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(InputError, match=r"w\.safetensors: not a readable safetensors file"):
        load_weights(path)


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="has no rarn-edge header"):
        load_weights(path)


@pytest.mark.parametrize(
    "header",
    [
        "not json",
        "[]",
        "{}",
        json.dumps({"spec": SPEC.to_dict()}),
        json.dumps({"spec": {"schema_version": 99}, "provenance": {}}),
        json.dumps({"spec": SPEC.to_dict(), "provenance": 3}),
    ],
    ids=["text", "list", "empty", "no provenance", "other schema", "provenance is no object"],
)
def test_damaged_header_names_the_file(tmp_path: Path, header: str) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"rarn_edge": header})
    with pytest.raises(InputError, match=r"w\.safetensors"):
        load_weights(path)


def test_header_of_an_unknown_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    content: dict[str, Any] = {"spec": {**SPEC.to_dict(), "name": "rarn-z"}, "provenance": {}}
    save_file({"a": torch.zeros(1)}, path, {"rarn_edge": json.dumps(content)})
    with pytest.raises(InputError, match="'rarn-z' is no model of this package"):
        load_weights(path).model()
