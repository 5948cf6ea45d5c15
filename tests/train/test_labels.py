"""Training on votes, on two label sets at once, from weights of other classes, and from answers that were kept as a file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rarn_edge.contract.spec import CLASSES, FER2013, FERPLUS, FERPLUS_CLASSES
from rarn_edge.data import Faces, synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.models.build import build_model, untrained_model
from rarn_edge.models.catalog import find_model
from rarn_edge.models.find import find_network
from rarn_edge.train.checkpoint import Weights, load_weights, save_weights
from rarn_edge.train.distill import mean_answers, read_answers, soft_targets, write_answers
from rarn_edge.train.loop import train
from rarn_edge.train.loss import loss_of, targets_of
from rarn_edge.train.recipe import EDGE, EDGE_SETTLE
from rarn_edge.train.run import Run, joint_classes, source_of, split_for_training


@pytest.fixture
def answers(tmp_path: Path, split_faces: Faces) -> Path:
    rng = np.random.default_rng(0)
    shares = {
        FER2013: rng.dirichlet(np.ones(7), len(split_faces)),
        FERPLUS: rng.dirichlet(np.ones(8), len(split_faces)),
    }
    path = tmp_path / "t.npz"
    write_answers(path, split_faces, {name: value.astype(np.float32) for name, value in shares.items()}, {"seed": 1})
    return path


def test_a_run_on_votes_writes_their_contract(voted_faces: Faces, answers: Path, tmp_path: Path) -> None:
    train_faces, test_faces = split_for_training(voted_faces)
    targets = mean_answers(train_faces, train_faces.sha256(), [answers, answers], [FERPLUS])
    run = Run(
        find_network("rarn-n"),
        replace(EDGE_SETTLE, epochs=1, batch=14),
        0,
        train_faces,
        test_faces,
        tmp_path / "run",
        1,
        targets,
    )
    train(run)
    weights = load_weights(tmp_path / "run" / "weights.safetensors")
    assert (weights.spec.classes, weights.spec.label_source) == (FERPLUS_CLASSES, FERPLUS)
    assert weights.model()(torch.zeros(1, 1, 48, 48)).shape == (1, 8)
    assert len(weights.provenance["teachers"]) == 2


def test_votes_are_not_smoothed_and_labels_are(split_faces: Faces, voted_faces: Faces, tmp_path: Path) -> None:
    run = Run(find_network("rarn-n"), EDGE, 0, split_faces, split_faces, tmp_path, 1, also=(voted_faces,))
    labels = targets_of(run).labels
    assert run.heads == (7, 8)
    assert run.classes == joint_classes(FER2013, FERPLUS)
    assert labels[:, :7].max() < 1
    assert labels[:, 7:].max().item() == pytest.approx(0.7)
    assert torch.allclose(labels[:, 7:].sum(1), torch.ones(len(voted_faces)))
    logits = torch.randn(len(voted_faces), 15)
    target = labels.clone()
    expected = sum(
        -(target[:, part] * torch.log_softmax(logits[:, part], 1)).sum(1).mean() for part in (slice(0, 7), slice(7, 15))
    )
    assert loss_of(logits, targets_of(run), run).item() == pytest.approx(float(expected), abs=1e-5)


def test_a_teacher_of_one_label_set_counts_for_that_one(split_faces: Faces, answers: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    one = tmp_path / "one.npz"
    write_answers(one, split_faces, {FER2013: rng.dirichlet(np.ones(7), len(split_faces)).astype(np.float32)}, {})
    both = mean_answers(split_faces, "", [answers, one], [FER2013, FERPLUS]).log_probabilities
    shares = [read_answers(path, split_faces, FER2013) for path in (answers, one)]
    np.testing.assert_allclose(np.exp(both[:, :7]), np.mean(shares, axis=0), atol=1e-5)
    np.testing.assert_allclose(np.exp(both[:, 7:]), read_answers(answers, split_faces, FERPLUS), atol=1e-5)
    with pytest.raises(InputError, match="has no answers for the labels 'ferplus'"):
        mean_answers(split_faces, "", [one], [FERPLUS])
    (tmp_path / "damaged.npz").write_bytes(one.read_bytes()[:100])
    for name, message in (("damaged.npz", "does not hold a teacher's answers"), ("none.npz", "no such file")):
        with pytest.raises(InputError, match=message):  # not left out without a word
            mean_answers(split_faces, "", [answers, tmp_path / name], [FER2013])


def test_answers_for_fer2013_are_none_for_other_classes(split_faces: Faces, answers: Path) -> None:
    """Not even for the same in another order, of a data set of that name."""
    named = replace(split_faces, source="fer2013.zip")
    assert source_of(named) == FER2013
    for classes in (split_faces.classes[::-1], split_faces.classes[:2]):
        others = named.only(classes)
        assert source_of(others) == "own"
        with pytest.raises(InputError, match="has no answers for the labels 'own'; it has: ferplus, fer2013"):
            read_answers(answers, others, source_of(others))


def test_a_runs_own_file_of_answers_is_named_as_such(split_faces: Faces, seven: Weights, tmp_path: Path) -> None:
    kept = tmp_path / "teachers.npz"
    soft_targets([seven], split_faces, "these", kept, views=1)
    with pytest.raises(InputError, match="weights as --teacher and this file as --teacher-answers"):
        read_answers(kept, split_faces, FER2013)


@pytest.fixture
def seven(tmp_path: Path) -> Weights:
    path = tmp_path / "seven.safetensors"
    save_weights(path, find_model("rarn-n").spec, dict(untrained_model("rarn-n", 1).state_dict()), {})
    return load_weights(path)


def test_weights_of_other_classes_begin_with_the_known_ones(seven: Weights) -> None:
    model = build_model("rarn-n", 15)
    fresh = model.state_dict()["classifier.weight"].clone()
    begun = seven.begin(model, joint_classes(FER2013, FERPLUS)).state_dict()["classifier.weight"]
    known = seven.tensors["classifier.weight"]
    assert torch.equal(begun[:7], known)
    assert torch.equal(begun[7:14], known)
    assert torch.equal(begun[14], fresh[14])  # contempt


def test_layers_with_as_many_channels_as_classes_are_no_classifier() -> None:
    """rarn-n has 16 channels in its stem: of weights for 16 classes, those are the start of 16 others."""
    names = tuple(f"class {index}" for index in range(16))
    torch.manual_seed(0)
    weights = Weights(
        replace(find_model("rarn-n").spec, classes=names), dict(build_model("rarn-n", 16).state_dict()), {}, "of 16"
    )
    begun = weights.begin(build_model("rarn-n", 16), names[::-1]).state_dict()
    stem = [name for name, tensor in weights.tensors.items() if len(tensor.shape) and "classifier" not in name]
    assert any(weights.tensors[name].shape[0] == 16 for name in stem)
    assert all(torch.equal(begun[name], weights.tensors[name]) for name in stem)
    assert torch.equal(begun["classifier.weight"], weights.tensors["classifier.weight"].flip(0))


def test_a_head_of_a_joint_network_answers_as_its_part(tmp_path: Path) -> None:
    spec = replace(find_model("rarn-n").spec, classes=joint_classes(FER2013, FERPLUS), label_source="fer2013+ferplus")
    torch.manual_seed(0)
    model = build_model("rarn-n", 15).eval()
    save_weights(tmp_path / "joint", spec, dict(model.state_dict()), {})
    joint = load_weights(tmp_path / "joint")
    head = joint.head(FERPLUS)
    assert (head.spec.classes, head.spec.label_source) == (FERPLUS_CLASSES, FERPLUS)
    x = torch.randn(2, 1, 48, 48)
    with torch.no_grad():
        assert torch.equal(head.model()(x), model(x)[:, 7:])
    with pytest.raises(InputError, match="no outputs for the labels 'other'"):
        joint.head("other")


def test_answers_are_found_by_name(split_faces: Faces, answers: Path) -> None:
    backwards = split_faces.where(np.arange(len(split_faces))[::-1])
    there, back = (read_answers(answers, faces, FERPLUS) for faces in (split_faces, backwards))
    assert np.array_equal(there, back[::-1])
    assert there.sum(axis=1) == pytest.approx(1, abs=1e-5)


def stranger(path: Path) -> None:
    faces = synthetic_faces(3, 0)
    other = replace(faces, names=("a.jpg", "b.jpg", "c.jpg"))
    write_answers(path, other, {FERPLUS: np.full((3, 8), 0.125, dtype=np.float32)}, {})


@pytest.mark.parametrize(
    ("make", "labels", "message"),
    [
        (stranger, FERPLUS, "has no answers for .* it was made for other faces"),
        (stranger, FER2013, "has no answers for the labels 'fer2013'; it has: ferplus"),
        (lambda path: path.write_bytes(b"no zip"), FERPLUS, "does not hold a teacher's answers"),
        (lambda _path: None, FERPLUS, "no such file of teachers' answers"),
    ],
)
def test_answers_of_other_faces_are_refused(
    split_faces: Faces, tmp_path: Path, make: Callable[[Path], object], labels: str, message: str
) -> None:
    make(tmp_path / "x.npz")
    with pytest.raises(InputError, match=message):
        read_answers(tmp_path / "x.npz", split_faces, labels)


def test_classes_are_the_first_seven() -> None:
    assert FERPLUS_CLASSES[:7] == CLASSES
