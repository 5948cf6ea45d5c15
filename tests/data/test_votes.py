"""FER+ votes: read in both forms, paired with images or refused, turned into labels and distributions by the paper's rules."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rarn_edge.contract.spec import CLASSES, FERPLUS_CLASSES
from rarn_edge.data import Faces, Split, load_faces, synthetic_faces
from rarn_edge.data.faces import UNLABELLED
from rarn_edge.data.votes import CHOICES, label_shares, majority, read_votes, vote_shares, with_votes
from rarn_edge.errors import InputError

HEADER = "file,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
OFFICIAL = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def counts(**votes: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """[1, 10] votes of one face by choice."""
    return np.array([[votes.get(choice, 0) for choice in CHOICES]], dtype=np.uint8)


@pytest.mark.parametrize(
    ("votes", "label"),
    [
        ({"happy": 10}, "happy"),
        ({"happy": 6, "neutral": 4}, "happy"),
        ({"happy": 5, "neutral": 5}, None),  # exactly half is no majority
        (
            {"happy": 5, "neutral": 1, "sad": 1, "angry": 1, "fear": 1, "surprise": 1},
            "happy",
        ),  # single votes do not count
        ({"contempt": 7, "neutral": 3}, "contempt"),
        ({"unknown": 8, "sad": 2}, None),
        ({"nf": 10}, None),
        ({"sad": 4, "unknown": 4}, None),
        ({}, None),
    ],
)
def test_majority(votes: dict[str, int], label: str | None) -> None:
    wanted = UNLABELLED if label is None else FERPLUS_CLASSES.index(label)
    assert majority(counts(**votes)).tolist() == [wanted]


def test_shares_drop_single_votes_and_what_is_no_expression() -> None:
    shares = vote_shares(counts(happy=6, neutral=2, sad=1, unknown=1))[0]
    assert shares[FERPLUS_CLASSES.index("happy")] == pytest.approx(0.75)
    assert shares.sum() == pytest.approx(1)
    assert not vote_shares(counts(unknown=6, happy=4)).any()  # led by it: left out
    assert not vote_shares(counts(happy=1, sad=1)).any()


@pytest.fixture
def faces() -> Faces:
    return replace(
        synthetic_faces(14, seed=0), splits=np.array([Split.TRAINING.value] * 7 + [Split.PUBLIC_TEST.value] * 7)
    )


def table(faces: Faces, skip: int = 0) -> str:
    names = dict(zip(CLASSES, ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"), strict=True))
    columns = HEADER.split(",")[1:]
    rows = [
        f"{name}," + ",".join("9" if column == names[CLASSES[label]] else "0" for column in columns)
        for name, label in zip(faces.names, faces.labels.tolist(), strict=True)
    ]
    return "\n".join([HEADER, *rows[skip:]]) + "\n"


def test_votes_by_file(faces: Faces, tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_text(table(faces, skip=2) + "elsewhere.jpg,9,0,0,0,0,0,0,0,0,0\n")
    voted, pairing = with_votes(faces, read_votes(path))
    assert (voted.classes, voted.votes is not None) == (FERPLUS_CLASSES, True)
    assert voted.labels[2:].tolist() == faces.labels[2:].tolist()
    assert voted.labels[:2].tolist() == [UNLABELLED] * 2
    assert str(pairing) == "votes for 12 of 14 faces (2 without); 1 rows match no image"
    assert len(voted.labelled()) == 12
    assert label_shares(voted)[3].argmax() == faces.labels[3]


def test_votes_row_by_row(faces: Faces, tmp_path: Path) -> None:
    path = tmp_path / "fer2013new.csv"
    rows = table(faces).splitlines()[1:]
    official = [f"{split},fer0.png,{row.split(',', 1)[1]}" for split, row in zip(faces.splits, rows, strict=True)]
    path.write_text("\n".join([OFFICIAL, *official]) + "\n")
    voted, pairing = with_votes(faces, read_votes(path))
    assert voted.labels.tolist() == faces.labels.tolist()
    assert pairing.without_votes == 0
    path.write_text("\n".join([OFFICIAL, *official[:-1]]) + "\n")
    with pytest.raises(InputError, match="13 rows for 14 images"):
        with_votes(faces, read_votes(path))
    path.write_text("\n".join([OFFICIAL, *reversed(official)]) + "\n")
    with pytest.raises(InputError, match=r"row 2 says PublicTest, .* says Training \(14 such rows\)"):
        with_votes(faces, read_votes(path))


def test_votes_of_another_data_set_are_refused(faces: Faces, tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_text(table(replace(faces, names=tuple(f"other/{i}.jpg" for i in range(14)))))
    with pytest.raises(InputError, match=r"names only 0 of the 14 images .* belong to another data set"):
        with_votes(faces, read_votes(path))


def test_votes_in_another_order_are_refused(tmp_path: Path) -> None:
    faces = synthetic_faces(210, seed=0)
    path = tmp_path / "v.csv"
    path.write_text(table(replace(faces, names=faces.names[1:] + faces.names[:1])))
    with pytest.raises(
        InputError, match=r"the leading vote is the label .* on only 0% of 210 faces \(65 %"
    ):  # of no split
        with_votes(faces, read_votes(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column for"),
        (HEADER.replace(",NF", "") + "\nx,1,1,1,1,1,1,1,1,1\n", "no column for nf"),
        (HEADER.replace("file", "name") + "\n", "no column for file or Usage"),
        (HEADER + "\n", "a header but no rows"),
        (HEADER + "\nx.jpg,1,2\n", "line 2: 3 columns, but the header has 11"),
        (HEADER + "\nx.jpg,-1,0,0,0,0,0,0,0,0,0\n", "line 2: '-1' is not a count of votes"),
        (HEADER + "\nx.jpg,0.5,0,0,0,0,0,0,0,0,0\n", "line 2: '0.5' is not a count of votes"),
        (HEADER + "\nx.jpg,101,0,0,0,0,0,0,0,0,0\n", "'101' is not a count of votes"),
        (HEADER + 2 * "\nx.jpg,9,0,0,0,0,0,0,0,0,0" + "\n", "1 files have more than one row, 'x.jpg' among them"),
    ],
)
def test_a_table_that_is_none(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_votes(tmp_path / "v.csv")


def test_no_such_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; --votes takes"):
        read_votes(tmp_path / "v.csv")


def test_a_model_of_seven_classes_gets_the_shared_faces(faces: Faces) -> None:
    votes = np.concatenate([counts(happy=9), counts(contempt=9)])
    voted = replace(faces.where(np.arange(2)), labels=majority(votes), votes=votes, classes=FERPLUS_CLASSES)
    assert len(voted.known_to(CLASSES)) == 1
    with pytest.raises(InputError, match="has faces of contempt, which the model does not know"):
        voted.labels_in(CLASSES)
    with pytest.raises(InputError, match="no face of a class that the model knows"):
        voted.where(np.array([1])).known_to(CLASSES)


def test_the_counts_of_the_paper(fer2013: Path, ferplus: Path) -> None:
    """3,199 PublicTest faces have a majority; 28,385 Training faces a usable distribution."""
    faces = load_faces(fer2013, votes=ferplus)
    public = faces.split(Split.PUBLIC_TEST).labelled()
    assert dict(zip(FERPLUS_CLASSES, np.bincount(public.labels, minlength=8).tolist(), strict=True)) == {
        "angry": 287, "disgust": 24, "fear": 62, "happy": 865, "neutral": 1182, "sad": 351, "surprise": 415, "contempt": 13,
    }  # fmt: skip
    assert int(label_shares(faces.split(Split.TRAINING)).any(axis=1).sum()) == 28_385


def test_rows_of_zeros_are_no_votes(faces: Faces, tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    header, first, *others = table(faces).splitlines()
    path.write_text("\n".join([header, first.replace("9", "0"), *others]) + "\n")
    assert str(with_votes(faces, read_votes(path))[1]) == "votes for 13 of 14 faces (1 without); 0 rows match no image"


def test_votes_for_a_part_of_the_images_are_taken(faces: Faces, tmp_path: Path) -> None:
    """Each row is of an image here: the table is of this data set."""
    path = tmp_path / "v.csv"
    path.write_text(table(faces, skip=10))
    assert with_votes(faces, read_votes(path))[1].without_votes == 10


def test_one_split_in_another_order_is_refused(tmp_path: Path) -> None:
    """However many faces of the others are right."""
    faces = synthetic_faces(1050, seed=0)
    few = np.arange(1050) < 210
    faces = replace(faces, splits=np.where(few, Split.PUBLIC_TEST.value, Split.TRAINING.value))
    turned = (*faces.names[1:210], faces.names[0], *faces.names[210:])
    path = tmp_path / "v.csv"
    path.write_text(table(replace(faces, names=turned)))
    with pytest.raises(InputError, match=r"on only 0% of 210 faces of PublicTest"):
        with_votes(faces, read_votes(path))
