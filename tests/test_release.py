"""The step from a finished run to the package's files."""

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from rarn_edge.assets import shipped_labels, shipped_models, shipped_weights
from rarn_edge.contract.spec import CLASSES, FER2013, FERPLUS
from rarn_edge.data import Faces
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.models.build import build_model, untrained_model
from rarn_edge.models.catalog import find_model
from rarn_edge.report.model_card import log_name
from rarn_edge.train.checkpoint import load_weights, save_weights
from rarn_edge.train.finish import compacted
from rarn_edge.train.run import joint_classes
from rarn_edge.workflow.parity import torch_form

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def release(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("export/build_release.py")


def test_weights_are_stored_compactly_and_loaded_in_float32(tmp_path: Path) -> None:
    spec = find_model("rarn-n").spec
    tensors = dict(untrained_model("rarn-n", 0).state_dict())
    for name, kept in (("whole", tensors), ("half", {key: compacted(value) for key, value in tensors.items()})):
        save_weights(tmp_path / name, spec, kept, {})
    assert (tmp_path / "half").stat().st_size < 0.6 * (tmp_path / "whole").stat().st_size
    packed = zlib.compress((tmp_path / "half").read_bytes())  # as a wheel packs it
    assert len(packed) < 0.8 * (tmp_path / "half").stat().st_size
    loaded = load_weights(tmp_path / "half").tensors
    assert {key: value.dtype for key, value in loaded.items()} == {key: value.dtype for key, value in tensors.items()}
    for key, value in loaded.items():
        torch.testing.assert_close(value, tensors[key], rtol=2.0**-7, atol=1e-7)


@pytest.mark.parametrize("tensor", [torch.rand(16), torch.tensor(3), torch.ones(2, 2, dtype=torch.int64)])
def test_statistics_and_biases_stay_exact(tensor: torch.Tensor) -> None:
    assert torch.equal(compacted(tensor), tensor)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"epochs_done": 2}, "not finished"),
        ({"started_from": "0123"}, "did not start from random weights or the package's"),
    ],
)
def test_a_run_that_cannot_be_released(
    release: ModuleType, split_faces: Faces, tmp_path: Path, found: dict[str, object], message: str
) -> None:
    provenance = {"epochs_done": 3, "recipe": {"epochs": 3}, "started_from": None} | found
    tensors = dict(untrained_model("rarn-n", 0).state_dict())
    save_weights(tmp_path / "weights.safetensors", find_model("rarn-n").spec, tensors, provenance)
    with pytest.raises(InputError, match=message):
        release.adopt(tmp_path, split_faces)


def test_phases_are_released_together(
    release: ModuleType, split_faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, assets, logs = find_model("rarn-n").spec, tmp_path / "assets", tmp_path / "export" / "logs"
    first, second, third = runs = [tmp_path / name for name in ("first", "second", "third")]
    for folder in (*runs, assets, logs):
        folder.mkdir(parents=True)
    monkeypatch.setattr(release, "ASSETS", assets)
    monkeypatch.setattr(release, "EXPORT", logs.parent)
    (logs / "rarn-n.fer2013-4.csv").write_text("of weights that these replace")
    phases: list[dict[str, object]] = []
    for seed, folder in enumerate(runs):
        started = load_weights(runs[seed - 1] / "weights.safetensors").sha256 if seed else None
        phases.append({"epochs_done": 9 if seed else 2, "recipe": {"epochs": 9}, "started_from": started})
        tensors = dict(untrained_model("rarn-n", seed).state_dict())
        save_weights(folder / "weights.safetensors", spec, tensors, phases[-1])
        (folder / "log.csv").write_text(folder.name)
    for before, message in (
        ([second], "second: did not start from random weights"),
        ([first], "third: did not start from the weights in .*first"),
        ([first, first], "first: did not start from the weights in .*first"),
        ([first, tmp_path], "no such file"),
    ):
        with pytest.raises(InputError, match=message):
            release.adopt(third, split_faces, before=before)
    (second / "log.csv").rename(tmp_path / "log.csv")
    with pytest.raises(InputError, match=r"second: has no log\.csv"):
        release.adopt(third, split_faces, before=[first, second])
    (tmp_path / "log.csv").rename(second / "log.csv")
    assert (list(assets.iterdir()), [path.name for path in logs.iterdir()]) == (
        [],
        ["rarn-n.fer2013-4.csv"],
    )  # nothing lost
    assert str(release.adopt(third, split_faces, before=[first, second])) == "rarn-n.fer2013"
    assert load_weights(assets / "rarn-n.fer2013.safetensors").provenance["phases"] == phases
    kept = {log.name: log.read_text() for log in logs.iterdir()}
    assert kept == {f"rarn-n.fer2013-{n}.csv": text for n, text in enumerate(("first", "second", "third"), start=1)}
    released = load_weights(assets / "rarn-n.fer2013.safetensors")
    weight = load_weights(third / "weights.safetensors").tensors["backbone.stem.0.weight"]
    assert torch.equal(released.tensors["backbone.stem.0.weight"], compacted(weight).float())


def test_of_a_run_on_both_label_sets_one_is_released_as_the_mean_with_the_run_before(
    release: ModuleType, split_faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(find_model("rarn-n").spec, classes=joint_classes(FER2013, FERPLUS), label_source="fer2013+ferplus")
    assets, logs = tmp_path / "assets", tmp_path / "export" / "logs"
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second, assets, logs):
        folder.mkdir(parents=True)
    monkeypatch.setattr(release, "ASSETS", assets)
    monkeypatch.setattr(release, "EXPORT", logs.parent)
    started = None
    for seed, folder in enumerate((first, second)):
        provenance = {"epochs_done": 9, "recipe": {"epochs": 9}, "started_from": started}
        torch.manual_seed(seed)
        save_weights(folder / "weights.safetensors", spec, dict(build_model("rarn-n", 15).state_dict()), provenance)
        (folder / "log.csv").write_text(folder.name)
        started = load_weights(folder / "weights.safetensors").sha256
    assert str(release.adopt(second, split_faces, before=[first], average=[])) == "rarn-n.fer2013"
    released = load_weights(assets / "rarn-n.fer2013.safetensors")
    assert (released.spec.classes, released.spec.label_source) == (CLASSES, FER2013)
    both = [load_weights(folder / "weights.safetensors").tensors["classifier.weight"][:7] for folder in (first, second)]
    assert torch.equal(released.tensors["classifier.weight"], compacted((both[0] + both[1]) / 2).float())
    assert len(released.provenance["phases"]) == 2
    assert [each["times"] for each in released.provenance["mean_of"]] == [1, 1]
    release.adopt(second, split_faces, before=[first], average=[second], grid=True)
    alone = load_weights(assets / "rarn-n.fer2013.safetensors")
    torch.testing.assert_close(
        alone.tensors["classifier.weight"], both[1], rtol=0, atol=both[1].abs().max().item() / 120
    )
    assert [each["times"] for each in alone.provenance["mean_of"]] == [2]
    assert alone.provenance["on_grid_of"] == "x86-avx2"
    with pytest.raises(InputError, match="nothing to take the mean with: the run started from random weights"):
        release.adopt(first, split_faces, average=[])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    tensors = dict(build_model("rarn-n", 15).state_dict())
    save_weights(elsewhere / "weights.safetensors", spec, tensors, {"started_from": "0123"})
    with pytest.raises(InputError, match="started elsewhere than the run and what it started from"):
        release.adopt(second, split_faces, before=[first], average=[elsewhere])


@pytest.mark.parametrize("smallest", [0.0, 3e-8, 3e-3, 1.0])
def test_weights_on_the_grid_lie_there_after_they_are_stored(smallest: float) -> None:
    """Also those of a channel that is all but zero, which float16 has no bits for."""
    steps = torch.randint(-64, 65, (4, 5, 3, 3)).float()
    steps[:, 0, 0, 0] = 64
    weights = steps * torch.tensor([1.0, 0.3, 0.07, smallest]).view(4, 1, 1, 1) / 64
    stored = compacted(weights, exact=True).float()
    found = 64 * stored / stored.abs().flatten(1).amax(dim=1).clamp_min(1e-30).view(4, 1, 1, 1)
    assert (found - found.round()).abs().max() < 0.1


@pytest.mark.parametrize(
    ("model", "labels"), [(model, labels) for model in shipped_models() for labels in shipped_labels(model)]
)
def test_every_phase_of_shipped_weights_has_its_log(model: str, labels: str) -> None:
    name = f"{model}.{labels}"
    evidence = json.loads((ROOT / "export" / "manifest.json").read_text(encoding="utf-8"))[name]
    assert evidence["weights_sha256"] == load_weights(shipped_weights(model, labels)).sha256
    for number, phase in enumerate(evidence["phases"], start=1):
        log = (ROOT / "export" / "logs" / log_name(name, number)).read_text(encoding="utf-8").splitlines()
        last_epoch = int(log[-1].split(",")[0])
        if phase["epochs_done"] == phase["recipe"]["epochs"]:
            assert len(log) - 1 <= last_epoch == phase["epochs_done"]
        else:  # a run that was cut off: its log, which may have every thirtieth epoch or so, ends before its weights
            every = last_epoch - int(log[-2].split(",")[0])
            assert 0 <= phase["epochs_done"] - last_epoch <= max(3, every)
    assert not (ROOT / "export" / "logs" / log_name(name, len(evidence["phases"]) + 1)).exists()


def test_class_scaling_goes_into_the_last_layer(release: ModuleType, make_weights: Callable[..., Path]) -> None:
    """Its logits are those of the scaling, and surer or less sure where that was wrong."""
    weights, faces = load_weights(make_weights()), synthetic_faces(210, seed=4)
    before = torch_form(weights, faces).logits
    scaled = release.class_scaling(weights, faces)
    said = scaled.provenance["class_scaling"]
    wanted = before * said["factors"] + said["offsets"]
    np.testing.assert_allclose(torch_form(scaled, faces).logits, wanted, atol=2e-3 * np.abs(wanted).max())
    assert said["fitted_on"].startswith("210 ")
    changed = {name for name, value in weights.tensors.items() if not torch.equal(value, scaled.tensors[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    with pytest.raises(InputError, match="class scaling already"):
        release.class_scaling(scaled, faces)
