"""Soft targets: averaged over teachers and views, made once, never mixed up with others; the losses they enter."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rarn_edge.data import Faces
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.models.build import untrained_model
from rarn_edge.models.catalog import find_model
from rarn_edge.models.find import find_network
from rarn_edge.train import distill
from rarn_edge.train.checkpoint import Weights, load_weights, save_weights
from rarn_edge.train.distill import VIEWS, SoftTargets, soft_targets, view_of
from rarn_edge.train.evaluate import torch_logits
from rarn_edge.train.loop import train
from rarn_edge.train.loss import Targets, loss_of, mix, targets_of
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.recipe import EDGE, EDGE_NANO, Recipe
from rarn_edge.train.run import Run, split_for_training


@pytest.fixture(scope="module")
def faces() -> Faces:
    return synthetic_faces(8, seed=5)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> list[Weights]:
    folder = tmp_path_factory.mktemp("teachers")
    spec = find_model("rarn-n").spec
    for seed in (1, 2):
        save_weights(folder / f"{seed}.safetensors", spec, dict(untrained_model("rarn-n", seed).state_dict()), {})
    return [load_weights(folder / f"{seed}.safetensors") for seed in (1, 2)]


def test_views_are_mirrors_and_shifts() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8)
    assert np.array_equal(view_of(images, 0), images)
    assert np.array_equal(view_of(images, 1), images[:, :, ::-1])
    assert np.array_equal(view_of(images, 2)[:, :, 2:], images[:, :, :-2])  # two pixels to the right
    assert np.array_equal(view_of(images, 2)[:, :, 0], images[:, :, 0])  # the border's pixels fill the gap
    assert np.array_equal(view_of(images, 6)[:, 2:], images[:, :-2])  # two pixels down
    assert len({view_of(images, view).tobytes() for view in range(VIEWS)}) == VIEWS


def test_targets_are_the_mean_over_teachers_and_views(teachers: list[Weights], faces: Faces, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = soft_targets(
        teachers, faces, "faces", tmp_path / "t.npz", 2, lambda done, total: seen.append((done, total))
    )
    answers = [
        torch.softmax(torch.from_numpy(torch_logits(t.model(), t.spec.preprocess, view_of(faces.images, view))), 1)
        for t in teachers
        for view in (0, 1)
    ]
    expected = torch.stack(answers).mean(0).numpy()
    assert np.exp(found.log_probabilities) == pytest.approx(expected, abs=1e-6)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_answers_have_the_precision_of_the_run(teachers: list[Weights], faces: Faces, tmp_path: Path) -> None:
    exact, short = (
        soft_targets(teachers, faces, "faces", tmp_path / precision, 1, precision=precision).log_probabilities
        for precision in TrainingPrecision
    )
    assert short.dtype == np.float32
    assert 0 < np.abs(np.exp(exact) - np.exp(short)).max() < 0.05


def test_a_second_call_reads_the_cache(
    teachers: list[Weights], faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = soft_targets(teachers, faces, "faces", tmp_path / "t.npz", 1)
    monkeypatch.setattr(distill, "torch_logits", None)  # a pass would fail
    again = soft_targets(teachers, faces, "faces", tmp_path / "t.npz", 1)
    assert np.array_equal(again.log_probabilities, made.log_probabilities)
    for sha256, views, found in (("others", 1, "other faces"), ("faces", 2, "1 views instead of 2")):
        with pytest.raises(InputError, match=found):
            soft_targets(teachers, faces, sha256, tmp_path / "t.npz", views)


def test_only_new_teachers_are_asked(teachers: list[Weights], faces: Faces, tmp_path: Path) -> None:
    """Also after an interruption: what a teacher answered is kept as soon as it is through."""
    seen: list[tuple[int, int]] = []

    def interrupt_at_the_second_teacher(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        soft_targets(teachers, faces, "faces", tmp_path / "t.npz", 2, interrupt_at_the_second_teacher)
    both = soft_targets(teachers, faces, "faces", tmp_path / "t.npz", 2, lambda *passes: seen.append(passes))
    assert seen == [(1, 2), (2, 2)]
    first, second = (soft_targets([t], faces, "faces", tmp_path / "t.npz", 2) for t in teachers)
    assert (first.teachers, second.teachers) == ((teachers[0].sha256,), (teachers[1].sha256,))
    mean = (np.exp(first.log_probabilities) + np.exp(second.log_probabilities)) / 2
    assert np.exp(both.log_probabilities) == pytest.approx(mean, abs=1e-6)
    assert np.abs(first.log_probabilities - second.log_probabilities).max() > 1e-3


@pytest.mark.parametrize("content", [b"no zip", b"", b"\x93NUMPY\x01\x00"], ids=["text", "empty", "array"])
def test_an_unreadable_cache_is_named(teachers: list[Weights], faces: Faces, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"t\.npz: does not hold teachers' answers .*; name another file"):
        soft_targets(teachers, faces, "faces", tmp_path / "t.npz")
    assert (tmp_path / "t.npz").read_bytes() == content


def test_a_cache_that_cannot_be_written_is_refused_before_the_passes(
    teachers: list[Weights], faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distill, "torch_logits", None)  # a pass would fail
    with pytest.raises(InputError, match="does not exist"):
        soft_targets(teachers, faces, "faces", tmp_path / "nowhere" / "t.npz")


def test_two_runs_add_to_one_file(teachers: list[Weights], faces: Faces, tmp_path: Path) -> None:
    path = tmp_path / "t.npz"

    def other_run(_done: int, _total: int) -> None:
        soft_targets(teachers[1:], faces, "faces", path, 1)

    soft_targets(teachers[:1], faces, "faces", path, 1, other_run)
    asked: list[int] = []
    soft_targets(teachers, faces, "faces", path, 1, lambda done, _total: asked.append(done))
    assert asked == []


def test_a_teacher_of_other_classes_is_refused(teachers: list[Weights], faces: Faces, tmp_path: Path) -> None:
    other = replace(teachers[0], spec=replace(teachers[0].spec, classes=("yes", "no")))
    with pytest.raises(InputError, match="other classes: yes, no"):
        soft_targets([other], faces, "faces", tmp_path / "t.npz")


def labelled(split_faces: Faces, recipe: Recipe, soft: SoftTargets | None = None) -> Run:
    faces = split_faces.where(np.arange(5))
    return Run(find_network("rarn-n"), recipe, 0, faces, faces, Path(), 1, soft)


def test_label_loss_is_smoothed_cross_entropy(split_faces: Faces) -> None:
    run = labelled(split_faces, EDGE)
    logits, labels = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)), torch.from_numpy(run.train.labels)
    expected = F.cross_entropy(logits, labels, label_smoothing=EDGE.label_smoothing)
    assert loss_of(logits, targets_of(run), run).item() == pytest.approx(expected.item(), abs=1e-6)


def test_the_teachers_part_is_smallest_at_their_answer(split_faces: Faces) -> None:
    log_probabilities = torch.log_softmax(torch.randn(5, 7, generator=torch.Generator().manual_seed(0)), 1)
    soft = SoftTargets(log_probabilities.numpy(), (), 1, "")
    run = labelled(split_faces, replace(EDGE_NANO, teacher_share=1.0), soft)
    logits = log_probabilities.clone().requires_grad_()
    loss_of(logits, targets_of(run), run).backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-6


def test_mixup_mixes_faces_and_targets_alike() -> None:
    pixels = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    targets = Targets(torch.eye(7)[:4], torch.eye(7)[:4])
    mixed, after = mix(pixels, targets, torch.tensor(0.4), torch.tensor([1, 0, 3, 2]))
    assert after.teacher is not None
    assert torch.equal(after.labels, after.teacher)
    value = after.labels[:, :4] @ torch.arange(4.0)
    assert torch.allclose(mixed[:, 0, 0, 0], value)
    assert not torch.allclose(mixed, pixels)


def test_a_run_with_teachers_starts_from_given_weights(
    teachers: list[Weights], split_faces: Faces, tmp_path: Path
) -> None:
    train_faces, test_faces = split_for_training(split_faces)
    soft = soft_targets(teachers, train_faces, train_faces.sha256(), tmp_path / "t.npz", 1)
    recipe = replace(EDGE_NANO, epochs=1, batch=14, mixup=0.2)
    run = Run(find_network("rarn-n"), recipe, 0, train_faces, test_faces, tmp_path / "a", 1, soft, teachers[0])
    train(run)
    written = load_weights(tmp_path / "a" / "weights.safetensors")
    assert written.provenance["teachers"] == [teacher.sha256 for teacher in teachers]
    assert written.provenance["started_from"] == teachers[0].sha256
    train(replace(run, folder=tmp_path / "b", targets=None))
    other = load_weights(tmp_path / "b" / "weights.safetensors")
    assert not torch.equal(written.tensors["classifier.weight"], other.tensors["classifier.weight"])
    with pytest.raises(InputError, match="another teachers"):
        train(replace(run, targets=None), resume=True)
