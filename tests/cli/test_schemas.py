"""The tables of docs/reference/schemas.md have the keys that the commands print."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import pytest

from rarn_edge.contract.artifact import Artifact, Contract
from rarn_edge.contract.targets import Target
from rarn_edge.data.synthetic import synthetic_faces
from tests.conftest import Cli


@pytest.fixture
def generate(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("docs/generate.py")


def differences(generate: ModuleType, kind: type, data: dict[str, Any], place: str = "") -> list[str]:
    """Keys that are printed and not in the table, or always there by the table and not printed."""
    keys = {key.name: key for key in generate.keys_of(kind)}
    found = [f"{place}.{name} is not in the table" for name in data if name not in keys]
    found += [f"{place}.{name} is not printed" for name, key in keys.items() if key.always and name not in data]
    for name in keys.keys() & data.keys():
        for inner in generate.dataclasses_in(keys[name].hint):
            each = data[name] if isinstance(data[name], list) else [data[name]]
            if inner is not Contract:  # read by its own strict reader
                for value in each:
                    found += [] if value is None else differences(generate, inner, value, f"{place}.{name}")
    return found


@pytest.mark.parametrize(
    ("document", "command"),
    [
        ("Parity report", "parity {float32} {int8} --json"),
        ("Evaluation", "evaluate {int8} --data {faces} --split PublicTest --against {float32} --json"),
        ("Verdict", "verdict {float32} {int8} --rounds 20 --json"),
        ("Audit", "audit {int8} --json"),
        ("Prediction", "predict {face} --model {int8} --json"),
        ("Scoring", "score {face} --model {int8} -o {out} --json"),
        ("Inspection", "inspect {float32} --json"),
    ],
)
def test_tables_have_the_keys_that_are_printed(
    document: str,
    command: str,
    generate: ModuleType,
    cli: Cli,
    simplified: Artifact,
    int8: Any,
    faces_folder: Path,
    tmp_path: Path,
) -> None:
    face = tmp_path / "face.png"
    cv2.imwrite(str(face), synthetic_faces(1, seed=1).images[0])
    names = {
        "float32": simplified.path, "int8": int8[Target.X86_AVX2].artifact.path, "faces": faces_folder, "face": face,
        "out": tmp_path / "out.csv",
    }  # fmt: skip
    done = cli(*command.format(**names).split())
    assert done.stdout.startswith("{"), done.stderr
    _, kind = generate.DOCUMENTS[document]
    assert differences(generate, kind, json.loads(done.stdout)) == []


def test_a_key_without_a_row_is_found(generate: ModuleType) -> None:
    _, kind = generate.DOCUMENTS["Scoring"]
    assert differences(generate, kind, {"images": 1, "speed": 2})[0] == ".speed is not in the table"
