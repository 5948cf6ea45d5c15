"""The scripts that make teachers' answers: which faces each answer may have learnt from, and files that students can read."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from rarn_edge.contract.spec import CLASSES, FER2013, FERPLUS, FERPLUS_CLASSES
from rarn_edge.data import Faces
from rarn_edge.errors import InputError
from rarn_edge.models.build import build_model
from rarn_edge.train.checkpoint import load_weights
from rarn_edge.train.distill import read_answers, write_answers
from rarn_edge.train.label_sets import LabelSet, label_sets
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.recipe import find_recipe
from rarn_edge.train.run import joint_classes
from rarn_edge.train.workers import ALONE


@pytest.fixture(scope="module")
def cross_fit(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("export/cross_fit.py")


@pytest.fixture
def both(split_faces: Faces, voted_faces: Faces) -> tuple[LabelSet, ...]:
    return label_sets(split_faces, voted_faces)


def test_label_sets_are_the_same_faces(both: tuple[LabelSet, ...]) -> None:
    own, plus = both
    assert (own.source, plus.source) == (FER2013, FERPLUS)
    assert own.training.names == plus.training.names
    assert own.held_out.names == plus.held_out.names
    few = own.sample(7)
    assert (len(few.training), len(few.held_out)) == (7, 7)
    assert few.training.names[0] == own.training.names[0]
    assert few.training.names[-1] == own.training.names[-1]
    assert len(own.sample(None).training) == len(own.training)


def test_votes_need_the_split_that_both_label_sets_share(both: tuple[LabelSet, ...]) -> None:
    own, plus = (each.training for each in both)
    with pytest.raises(InputError, match="has no split PublicTest"):
        label_sets(own, plus)


def test_copies_of_a_picture_are_in_one_fold(cross_fit: ModuleType, split_faces: Faces) -> None:
    twice = split_faces.where(np.tile(np.arange(len(split_faces)), 2))
    folds = cross_fit.folds_of(twice, 4)
    assert set(folds.tolist()) == {0, 1, 2, 3}
    np.testing.assert_array_equal(folds[: len(split_faces)], folds[len(split_faces) :])


def test_an_answer_knows_nothing_of_its_own_label(cross_fit: ModuleType, split_faces: Faces) -> None:
    """With a feature for each face a classifier could learn every label by heart; of other folds it learns nothing."""
    noise = np.random.default_rng(0).normal(size=(len(split_faces), 3))
    features = np.concatenate([np.eye(len(split_faces)), noise], axis=1, dtype=np.float32)
    folds = np.arange(len(split_faces)) % 3
    answers = cross_fit.linear_answers(features, split_faces, folds, 1e-3)
    changed = replace(split_faces, labels=np.where(folds == 0, (split_faces.labels + 1) % 7, split_faces.labels))
    again = cross_fit.linear_answers(features, changed, folds, 1e-3)
    np.testing.assert_array_equal(answers[folds == 0], again[folds == 0])
    assert np.abs(answers[folds != 0] - again[folds != 0]).max() > 1e-3
    assert cross_fit.agreement(answers, split_faces.labels) < 0.4
    telling = np.eye(7, dtype=np.float32)[split_faces.labels]
    assert cross_fit.agreement(cross_fit.linear_answers(telling, split_faces, folds, 1e-3), split_faces.labels) == 1.0


def test_cross_fitted_answers_are_in_the_order_of_the_faces(
    cross_fit: ModuleType, both: tuple[LabelSet, ...], tmp_path: Path
) -> None:
    """Each row is what the network of the face's fold says; a second call trains nothing and says the same."""
    own, plus = both
    plan = cross_fit.Plan("rarn-n", 2, 1, 1, TrainingPrecision.FLOAT32, tmp_path, ALONE)
    answers, about = cross_fit.cross_fit(own, plus, plan)
    assert answers.shape == (len(own.training), 7)
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)
    assert about["folds"] == 2
    assert cross_fit.agreement(answers, own.training.labels) > 0.8  # the votes tell
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert len(files) == 2
    np.testing.assert_array_equal(cross_fit.cross_fit(own, plus, plan)[0], answers)
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_a_teacher_answers_for_both_label_sets_and_a_student_asks_it(
    script: Callable[[str], ModuleType],
    both: tuple[LabelSet, ...],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    teachers = script("export/train_teachers.py")
    own, plus = (each.sample(14) for each in both)
    sets = {each.source: each for each in (own, plus)}
    plan = teachers.Plan(teachers=1, epochs=1, batch=7, out=tmp_path)
    files = teachers.train_teachers(plan, sets, time.monotonic() + 300)
    assert [file.name for file in files] == ["rarn-l-1.safetensors"]
    answers = files[0].with_suffix(".npz")
    for source, classes in ((FER2013, 7), (FERPLUS, 8)):
        shares = read_answers(answers, sets[source].training, source)
        assert shares.shape == (len(sets[source].training), classes)
    born_again = teachers.Plan(teachers=1, epochs=1, batch=7, out=tmp_path / "next", answers=(answers,))
    born_again.out.mkdir()
    after = teachers.train_teachers(born_again, sets, time.monotonic() + 300)
    assert len(load_weights(after[0]).provenance["teachers"]) == 1

    student = script("export/train_both.py")
    monkeypatch.setattr(student, "both_label_sets", lambda _data, _votes: ((own, plus), "14 faces with votes"))
    monkeypatch.setattr(student, "find_recipe", lambda name: replace(find_recipe(name), batch=7))
    options = ["--recipe", "edge-settle-patient", "--teacher", files[0], "--epochs", 1, "--out", tmp_path / "run"]
    monkeypatch.setattr("sys.argv", ["train_both.py", "--data", "d", "--votes", "v", *map(str, options)])
    student.main()
    assert load_weights(tmp_path / "run" / "weights.safetensors").provenance["teachers"] == [
        load_weights(files[0]).sha256
    ]


def test_one_network_learns_both_label_sets_and_starts_a_run_for_one(
    script: Callable[[str], ModuleType],
    both: tuple[LabelSet, ...],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = script("export/train_both.py")
    own, plus = (each.sample(14) for each in both)
    monkeypatch.setattr(module, "both_label_sets", lambda _data, _votes: ((own, plus), "14 faces with votes"))
    monkeypatch.setattr(module, "find_recipe", lambda name: replace(find_recipe(name), batch=7))
    shares = {FER2013: np.full((14, 7), 1 / 7, np.float32), FERPLUS: np.full((14, 8), 1 / 8, np.float32)}
    write_answers(tmp_path / "t.npz", own.training, shares, {})
    options = ["--data", "d", "--votes", "v", "--out", tmp_path / "run", "--teacher", tmp_path / "t.npz", "--epochs", 1]
    for _ in range(2):  # a second call trains nothing
        monkeypatch.setattr("sys.argv", ["train_both.py", *map(str, options)])
        module.main()
    assert capsys.readouterr().out.count("epoch 1:") == 1
    weights = load_weights(tmp_path / "run" / "weights.safetensors")
    assert weights.spec.classes == joint_classes(FER2013, FERPLUS)
    rows = weights.tensors["classifier.weight"]
    for source, classes, part in ((FER2013, CLASSES, rows[:7]), (FERPLUS, FERPLUS_CLASSES, rows[7:])):
        begun = weights.begin(build_model("rarn-n", len(classes)), classes, source)
        np.testing.assert_array_equal(begun.state_dict()["classifier.weight"].numpy(), part.numpy())


def test_no_teacher_that_is_there_is_replaced(
    script: Callable[[str], ModuleType], both: tuple[LabelSet, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    teachers = script("export/train_teachers.py")
    (tmp_path / "rarn-l-3.npz").write_bytes(b"kept")
    monkeypatch.setattr(teachers, "both_label_sets", lambda _data, _votes: (both, "votes"))

    def call(*options: object) -> None:
        given = ["--data", "d", "--votes", "v", "--out", tmp_path, *options]
        monkeypatch.setattr("sys.argv", ["train_teachers.py", *map(str, given)])
        teachers.main()

    with pytest.raises(InputError, match=r"holds teachers up to rarn-l-3; go on after them with --seed 4"):
        call()
    with pytest.raises(InputError, match="--minutes is a number above 0, found nan"):
        call("--minutes", "nan")
    call("--seed", 4, "--teachers", 1, "--epochs", 1, "--batch", 7, "--limit", 14, "--minutes", 5, "--threads", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rarn-l-3.npz", "rarn-l-4.npz", "rarn-l-4.safetensors"]
    assert (tmp_path / "rarn-l-3.npz").read_bytes() == b"kept"
    assert load_weights(tmp_path / "rarn-l-4.safetensors").provenance["seed"] == 4


def test_answers_are_part_of_the_time(
    script: Callable[[str], ModuleType], both: tuple[LabelSet, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    teachers = script("export/train_teachers.py")
    sets = {each.source: each.sample(14) for each in both}
    monkeypatch.setattr(teachers.Net, "seconds_to_answer", lambda _net, _sets: 3600.0)
    with pytest.raises(InputError, match=r"and the answers 3600 s, \d+ s are left for them; give it more --minutes"):
        teachers.train_teachers(teachers.Plan(1, 1, 7, tmp_path), sets, time.monotonic() + 600)
    assert not list(tmp_path.iterdir())
