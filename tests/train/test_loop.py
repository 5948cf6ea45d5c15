"""A run leaves what it promises, survives an interruption bit by bit, and is never mixed with another run."""

import csv
import errno
import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from rarn_edge.boundary.lock import locked
from rarn_edge.contract.preprocess import to_input
from rarn_edge.contract.spec import CLASSES, FERPLUS_CLASSES
from rarn_edge.data import Faces, Split
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.data.votes import CHOICES, majority
from rarn_edge.errors import InputError
from rarn_edge.models.build import build_model
from rarn_edge.models.find import find_network
from rarn_edge.models.rarn import RARN
from rarn_edge.train.checkpoint import load_state, load_weights
from rarn_edge.train.evaluate import evaluate_torch
from rarn_edge.train.loop import train
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.recipe import RECIPES
from rarn_edge.train.run import LOCK_FILE, BatchLog, EpochLog, Run, split_for_training

MakeRun = Callable[..., Run]
NANO = find_network("rarn-n")
OTHER_INPUT = replace(
    NANO, spec=replace(NANO.spec, preprocess=replace(NANO.spec.preprocess, mean=(0.0,), std=(255.0,)))
)


def tensors(value: Any, path: str = "") -> dict[str, Tensor]:
    """Every tensor of a nested state by its path."""
    if isinstance(value, Tensor):
        return {path: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {name: tensor for key, inner in items for name, tensor in tensors(inner, f"{path}/{key}").items()}


def interrupt_in(epoch: int, batch: int = 2) -> Callable[[BatchLog], None]:
    def on_batch(log: BatchLog) -> None:
        if (log.epoch, log.batch) == (epoch, batch):
            raise KeyboardInterrupt

    return on_batch


@pytest.fixture(scope="module", params=["edge", "edge-distilled", "edge-quantized", "paper", "edge in bf16"])
def straight(request: pytest.FixtureRequest, make_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of three epochs, for each recipe and precision."""
    recipe, _, precision = request.param.partition(" in ")
    run = make_run(
        tmp_path_factory.mktemp("straight"), recipe, precision=TrainingPrecision.named(precision or "float32")
    )
    train(run)
    return run


@pytest.mark.parametrize("epoch", [1, 2])
def test_resume_is_bit_exact(straight: Run, tmp_path: Path, epoch: int) -> None:
    run = replace(straight, folder=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(run, on_batch=interrupt_in(epoch))
    state = torch.random.get_rng_state()
    torch.rand(epoch)  # another process has another random state
    train(run, resume=True)
    torch.random.set_rng_state(state)
    expected, found = load_state(straight.folder / "last.pt"), load_state(tmp_path / "last.pt")
    assert tensors(found).keys() == tensors(expected).keys()
    assert [name for name, value in tensors(expected).items() if not torch.equal(value, tensors(found)[name])] == []
    measured = ("epoch", "learning_rate", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
    logs = [[{key: log[key] for key in measured} for log in state["history"]] for state in (expected, found)]
    assert logs[0] == logs[1]
    ours, theirs = (load_weights(folder / "weights.safetensors").tensors for folder in (straight.folder, tmp_path))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_another_seed_is_another_run(straight: Run, tmp_path: Path) -> None:
    """The control: the comparison above can fail."""
    train(replace(straight, folder=tmp_path, seed=1, recipe=replace(straight.recipe, epochs=1)))
    expected, found = (tensors(load_state(run / "last.pt")["model"]) for run in (straight.folder, tmp_path))
    assert not torch.equal(expected["/classifier.weight"], found["/classifier.weight"])


@pytest.mark.parametrize(("precision", "computed"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_that_of_the_activations_alone(
    make_run: MakeRun, tmp_path: Path, precision: str, computed: torch.dtype
) -> None:
    found: list[torch.dtype] = []

    def record(module: torch.nn.Module, _inputs: tuple[Tensor], output: Tensor) -> None:
        if module.training:
            found.append(output.dtype)

    def watched(num_classes: int) -> torch.nn.Module:
        model = build_model("rarn-n", num_classes)
        next(layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)).register_forward_hook(record)
        return model

    run = make_run(tmp_path, epochs=1, precision=TrainingPrecision(precision))
    train(replace(run, network=replace(run.network, builder=watched)))
    assert found == [computed] * 3  # batches
    kept = {name: value.dtype for name, value in tensors(load_state(tmp_path / "last.pt")).items() if value.ndim}
    assert {dtype for dtype in kept.values() if dtype.is_floating_point} == {torch.float32}


def test_usual_precision_follows_the_device() -> None:
    assert TrainingPrecision.usual_on("cuda") is TrainingPrecision.BF16
    assert TrainingPrecision.usual_on("cpu") is TrainingPrecision.FLOAT32


def test_training_changes_no_global_random_state(make_run: MakeRun, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    train(make_run(tmp_path, epochs=1))
    assert torch.equal(before, torch.random.get_rng_state())


def test_files_of_a_run(straight: Run) -> None:
    names = {path.name for path in straight.folder.iterdir()}
    assert names == {"last.pt", "weights.safetensors", "log.csv", "curves.png"}
    with (straight.folder / "log.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert {"learning_rate", "train_loss", "train_accuracy", "test_loss", "test_accuracy"} <= set(rows[0])
    assert all(0 <= float(row["test_accuracy"]) <= 1 for row in rows)
    assert (straight.folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_checkpoint_needs_no_unpickling(straight: Run) -> None:
    state = torch.load(straight.folder / "last.pt", weights_only=True)
    assert {"model", "averaged", "optimizer", "history", "identity"} <= set(state)
    assert [log["epoch"] for log in state["history"]] == [1, 2, 3]


def test_weights_carry_their_contract(straight: Run) -> None:
    weights = load_weights(straight.folder / "weights.safetensors", find_network("rarn-n"))
    assert weights.spec.classes == CLASSES
    assert weights.provenance["recipe"] == json.loads(json.dumps(straight.recipe.to_dict()))
    assert weights.provenance["seed"] == 0
    assert weights.provenance["trained_in"] == straight.precision
    assert weights.provenance["epochs_done"] == 3
    assert weights.provenance["train_images"] == 42
    with safe_open(straight.folder / "weights.safetensors", framework="pt") as file:
        assert list(file.metadata()) == ["rarn_edge"]


def test_weights_are_the_ones_measured(straight: Run) -> None:
    """The accuracy in the log is that of the exported file."""
    weights = load_weights(straight.folder / "weights.safetensors")
    loss, accuracy = evaluate_torch(weights.model(), weights.spec.preprocess, straight.test)
    log = EpochLog(**load_state(straight.folder / "last.pt")["history"][-1])
    assert (loss, accuracy) == pytest.approx((log.test_loss, log.test_accuracy), abs=1e-5)


def test_interrupt_in_the_first_epoch_leaves_usable_files(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(run, on_batch=interrupt_in(1, batch=1))
    assert load_state(tmp_path / "last.pt")["history"] == []
    weights = load_weights(tmp_path / "weights.safetensors", find_network("rarn-n"))
    logits = weights.model()(torch.from_numpy(to_input(run.test.images, weights.spec.preprocess)))
    assert logits.shape == (14, 7)
    assert torch.isfinite(logits).all()
    assert not [path for path in tmp_path.iterdir() if ".part" in path.name]


def test_finished_run_resumes_to_itself(straight: Run) -> None:
    before = (straight.folder / "last.pt").read_bytes()
    history = train(straight, resume=True)
    assert [log.epoch for log in history] == [1, 2, 3]
    assert (straight.folder / "last.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": RECIPES["paper"]}, "recipe ('edge' then)"),
        ({"seed": 1}, "seed"),
        ({"network": find_network("rarn-s")}, "model"),
        ({"recipe": replace(RECIPES["edge"], epochs=5, batch=14)}, "recipe (epochs 3, now 5)"),
        ({"network": OTHER_INPUT}, "input (mean; std)"),
        ({"precision": TrainingPrecision.BF16}, "precision"),
    ],
)
def test_resume_of_another_run_is_refused(
    make_run: MakeRun, tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(make_run(tmp_path), on_batch=interrupt_in(1, batch=1))
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(
        InputError, match=rf"made with another {re.escape(named)}; resume with the same options.* or start anew"
    ):
        train(replace(make_run(tmp_path), **change), resume=True)
    assert (tmp_path / "last.pt").read_bytes() == before


def test_resume_on_other_images_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(run, on_batch=interrupt_in(1, batch=1))
    other = replace(run.train, images=255 - run.train.images)
    with pytest.raises(InputError, match="made with another data"):
        train(replace(run, train=other), resume=True)


def test_existing_run_is_not_overwritten(straight: Run) -> None:
    before = (straight.folder / "last.pt").read_bytes()
    with pytest.raises(InputError, match="already holds a run; continue it with --resume"):
        train(straight)
    assert (straight.folder / "last.pt").read_bytes() == before


def test_a_folder_belongs_to_one_run_at_a_time(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path, epochs=1)
    with locked(tmp_path / LOCK_FILE, tmp_path), pytest.raises(InputError, match="another run is writing this"):
        train(run)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]
    train(run)
    assert not (tmp_path / LOCK_FILE).exists()


def test_nothing_to_resume(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint to resume; start without --resume"):
        train(make_run(tmp_path), resume=True)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None], ids=["empty", "text", "truncated"])
def test_damaged_checkpoint_is_refused(straight: Run, tmp_path: Path, content: bytes | None) -> None:
    whole = (straight.folder / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(InputError, match=r"last\.pt: not a readable checkpoint"):
        train(replace(straight, folder=tmp_path), resume=True)


def test_checkpoint_of_another_kind_is_refused(straight: Run, tmp_path: Path) -> None:
    torch.save({"format": 99}, tmp_path / "last.pt")
    with pytest.raises(InputError, match="not a checkpoint of this version"):
        train(replace(straight, folder=tmp_path), resume=True)


def test_a_full_disk_is_an_error(straight: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"weights\.safetensors: cannot be written .*No space left"):
        train(replace(straight, folder=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_crops_need_images_of_the_models_side(make_run: MakeRun, tmp_path: Path) -> None:
    run = replace(make_run(tmp_path, "edge-distilled"), network=find_network("inception-v4"))
    with pytest.raises(InputError, match="crops images of 48 pixels at their own scale, 'inception-v4' takes 75"):
        train(run)
    assert list(tmp_path.iterdir()) == []


def test_diverging_loss_is_an_error(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path, "paper")
    with pytest.raises(
        InputError, match=r"the loss became (nan|inf) in epoch 1; start anew in another folder with a larger --batch"
    ):
        train(replace(run, recipe=replace(run.recipe, learning_rate=1e30)))
    assert load_state(tmp_path / "last.pt")["history"] == []


def test_progress_counts_batches_and_images(make_run: MakeRun, tmp_path: Path) -> None:
    batches: list[BatchLog] = []
    epochs: list[EpochLog] = []
    history = train(make_run(tmp_path, epochs=1), on_batch=batches.append, on_epoch=epochs.append)
    assert [(log.epoch, log.batch, log.batches) for log in batches] == [(1, 1, 3), (1, 2, 3), (1, 3, 3)]
    assert all(log.images_per_s > 0 and 0 <= log.accuracy <= 1 for log in batches)
    assert [asdict(log) for log in epochs] == [asdict(log) for log in history]


def test_crops_for_the_first_share_of_the_epochs(make_run: MakeRun, tmp_path: Path) -> None:
    sides: list[int] = []

    def record(module: RARN, inputs: tuple[Tensor]) -> None:
        if module.training:
            sides.append(inputs[0].shape[-1])

    def watched(num_classes: int) -> RARN:
        model = build_model("rarn-n", num_classes)
        assert isinstance(model, RARN)
        model.register_forward_pre_hook(record)
        return model

    run = make_run(tmp_path, epochs=4)
    train(
        replace(
            run, network=replace(run.network, builder=watched), recipe=replace(run.recipe, crop_px=40, crop_share=0.75)
        )
    )
    assert sides == [40] * 9 + [48] * 3  # three batches an epoch


def split_as(faces: Faces, *splits: Split) -> Faces:
    """The same faces, their splits in turn."""
    return replace(faces, splits=np.array([splits[i // 7 % len(splits)].value for i in range(len(faces))]))


@pytest.mark.parametrize(
    ("splits", "trained", "tested"),
    [
        ((Split.TRAINING, Split.PUBLIC_TEST, Split.PRIVATE_TEST), {Split.TRAINING}, {Split.PUBLIC_TEST}),
        ((Split.TRAINING, Split.TEST), {Split.TRAINING}, {Split.TEST}),
        ((Split.TRAINING, Split.PRIVATE_TEST), {Split.TRAINING}, {Split.TEST}),
        ((Split.TRAINING,), {Split.TRAINING}, {Split.TEST}),
        ((Split.UNSPLIT,), {Split.TRAINING}, {Split.TEST}),
        ((Split.TRAINING, Split.TEST, Split.PRIVATE_TEST), {Split.TRAINING}, {Split.TEST}),
    ],
)
def test_private_test_is_never_used(splits: tuple[Split, ...], trained: set[Split], tested: set[Split]) -> None:
    faces = split_as(synthetic_faces(140, seed=1), *splits)
    train_part, test_part = split_for_training(faces)
    assert set(train_part.available_splits) == trained
    assert set(test_part.available_splits) == tested
    assert set(train_part.names).isdisjoint(test_part.names)
    assert set(test_part.labels.tolist()) == set(range(7))


def test_cut_off_test_part_is_the_one_that_other_commands_measure_on() -> None:
    faces = split_as(synthetic_faces(140, seed=1), Split.TRAINING)
    first = split_for_training(faces)[1]
    unsplit = split_as(synthetic_faces(140, seed=1), Split.UNSPLIT)
    assert first.names == unsplit.split(Split.TEST).names == faces.split(Split.TEST).names
    assert np.bincount(first.labels).tolist() == [2] * 7


def test_a_cut_off_test_part_has_labels_also_of_votes_without_a_majority() -> None:
    faces = split_as(synthetic_faces(140, seed=1), Split.TRAINING)
    votes = np.zeros((140, len(CHOICES)), dtype=np.uint8)
    votes[np.arange(140), faces.labels] = 5
    votes[::2, CHOICES.index("contempt")] = 5  # as many say so: no majority
    voted = replace(faces, votes=votes, labels=majority(votes), classes=FERPLUS_CLASSES)
    assert (voted.labels < 0).any()
    assert (split_for_training(voted)[1].labels >= 0).all()


@pytest.mark.parametrize("count", [1, 7])
def test_too_few_to_cut(count: int) -> None:
    faces = split_as(synthetic_faces(count, seed=1), Split.TRAINING)
    with pytest.raises(InputError, match=f"{count} faces are too few"):
        split_for_training(faces)


def test_unlabelled_faces_are_refused() -> None:
    faces = synthetic_faces(70, seed=1)
    with pytest.raises(InputError, match="have no label"):
        split_for_training(replace(faces, labels=np.full(70, -1, dtype=np.int64)))


def test_torchs_settings_are_given_back(make_run: MakeRun, tmp_path: Path) -> None:
    before = (torch.get_num_threads(), torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32)
    train(replace(make_run(tmp_path), threads=before[0] + 1))
    assert before == (torch.get_num_threads(), torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32)
