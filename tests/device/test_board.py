"""Bundles: unpacked elsewhere, with nothing of this package to be had, they run and find damage."""

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import pytest

from rarn_edge import Classifier
from rarn_edge.assets import shipped_bundle, shipped_onnx
from rarn_edge.board.card import board_card
from rarn_edge.board.make import FILES, make_bundle
from rarn_edge.board.triton import config, write_repository
from rarn_edge.contract.artifact import Artifact, Precision
from rarn_edge.contract.targets import Target
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.workflow.bundle import bundle

Cli = Callable[..., subprocess.CompletedProcess[str]]
TINY = Path(__file__).with_name("tiny.onnx")
SCRIPTS_LICENCE = "LICENSE.rarn-edge-scripts"

BARE = """
import sys
allowed = {"cv2", "numpy", "onnxruntime", "predict"}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("rarn_edge", "onnx", "torch", "typer", "rich"):
            raise ModuleNotFoundError(f"{name} is not on a board", name=name)
sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv[1])
import runpy
script = sys.argv[2]
sys.argv = sys.argv[2:]
runpy.run_path(f"{sys.path[0]}/{script}", run_name="__main__")
"""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    make_bundle(TINY, folder / "tiny.zip")
    with zipfile.ZipFile(folder / "tiny.zip") as archive:
        archive.extractall(folder / "here")
    return folder / "here" / "tiny"


def bare(board: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BARE, board, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60, check=False)


def test_it_answers_as_the_classifier(board: Path, tmp_path: Path) -> None:
    faces = synthetic_faces(2, seed=5).images
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    cv2.imwrite(str(paths[0]), faces[0])
    cv2.imwrite(str(paths[1]), cv2.resize(faces[1], (96, 120)))  # a size to be reduced
    done = bare(board, "predict.py", *paths)
    assert done.returncode == 0, done.stderr
    expected = Classifier(TINY, threads=1).predict(paths)
    lines = [f"{path}: {answer.label} {answer.confidence:.1%}" for path, answer in zip(paths, expected, strict=True)]
    assert done.stdout.splitlines() == lines


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_picture_that_cannot_be_read_is_named(board: Path, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "face.png"
    if content is not None:
        path.write_bytes(content)
    done = bare(board, "predict.py", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{path}: cannot be read as an image\n"


def test_the_script_is_short() -> None:
    assert len((FILES / "predict.py").read_text(encoding="utf-8").splitlines()) <= 50


def test_verify_passes_here_and_fails_on_a_changed_model(board: Path, tmp_path: Path) -> None:
    done = bare(board, "verify.py")
    assert (done.returncode, "pass" in done.stdout) == (0, True), done.stderr
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in board.iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    content = (board / "model.onnx").read_bytes()
    bias = np.float32(0.3).tobytes()
    assert content.count(bias) == 1
    (changed / "model.onnx").write_bytes(content.replace(bias, np.float32(0.35).tobytes()))
    done = bare(changed, "verify.py")
    assert (done.returncode, "FAIL" in done.stdout) == (1, True)


@pytest.mark.skipif(sys.platform != "linux", reason="sha256sum")
def test_the_checksums_find_damage(board: Path, tmp_path: Path) -> None:
    for path in board.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    check = ["sha256sum", "-c", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=tmp_path, check=False).returncode == 0
    listed = {line.split()[1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines()}
    assert listed == {path.name for path in tmp_path.iterdir()} - {"SHA256SUMS"}
    (tmp_path / SCRIPTS_LICENCE).write_text("public domain")
    assert subprocess.run(check, cwd=tmp_path, check=False, capture_output=True).returncode == 1


def test_the_ort_file_answers_alike_and_its_operators_are_listed(board: Path) -> None:
    faces = np.zeros((3, 1, 48, 48), dtype=np.float32)
    answers = [
        ort.InferenceSession(str(board / name), providers=["CPUExecutionProvider"]).run(None, {"input": faces})[0]
        for name in ("model.onnx", "model.ort")
    ]
    np.testing.assert_allclose(*answers, atol=1e-5)
    operators = (board / "required_operators.config").read_text()
    assert "AveragePool" in operators
    assert "Gemm" in operators
    assert ".part" not in operators


def test_requirements_are_pinned_and_the_licence_is_there(board: Path) -> None:
    lines = (board / "requirements.txt").read_text().splitlines()
    assert [re.match(r"[a-z-]+==\d", line) is not None for line in lines] == [True] * 3
    assert "Apache License" in (board / SCRIPTS_LICENCE).read_text()


def test_the_licence_is_of_the_model_where_the_model_is_of_the_package(tmp_path: Path) -> None:
    assert "LICENSE" in bundle("rarn-n", tmp_path / "board")
    shutil.copy(shipped_onnx("rarn-n"), tmp_path / "copy.onnx")
    assert "LICENSE" in bundle(tmp_path / "copy.onnx", tmp_path / "of_copy", form="triton")
    assert SCRIPTS_LICENCE in bundle(TINY, tmp_path / "other", form="triton")


def test_evidence_of_another_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnx_ir", reason="making another file needs onnx and onnx_ir")
    from rarn_edge.onnx_graph import LoadedModel

    other = LoadedModel.read(Artifact.load(shipped_onnx("rarn-n")))
    other.changed(other.graph, note="another file of the same weights").save(tmp_path / "other.onnx")
    with pytest.raises(InputError, match=r"was made for other files than .*other\.onnx .*rarn-edge parity MODEL\.onnx"):
        make_bundle(tmp_path / "other.onnx", tmp_path / "board", parity=shipped_bundle("rarn-n"))


def test_a_check_is_relative_to_the_logits(board: Path, tmp_path: Path) -> None:
    """Logits of a tenth the size may be a tenth as far apart."""
    shutil.copytree(board, tmp_path / "copy")
    arrays = dict(np.load(board / "check.npz"))
    for scale, passes in ((0.0, True), (0.001, True), (0.2, False)):
        noise = (
            scale
            * np.abs(arrays["logits"]).mean()
            * np.sign(np.random.default_rng(0).normal(size=arrays["logits"].shape))
        )
        np.savez(tmp_path / "copy" / "check.npz", **(arrays | {"logits": arrays["logits"] + noise.astype(np.float32)}))
        done = subprocess.run(
            [sys.executable, "verify.py"], cwd=tmp_path / "copy", check=False, capture_output=True, text=True
        )
        assert done.returncode == (not passes), done.stdout


def test_an_answer_that_is_no_number_fails(board: Path, tmp_path: Path) -> None:
    """However many decisions may differ."""
    shutil.copytree(board, tmp_path / "copy")
    model = tmp_path / "copy" / "model.onnx"
    model.write_bytes(model.read_bytes().replace(np.float32(0.3).tobytes(), np.float32(np.nan).tobytes()))
    arrays = dict(np.load(board / "check.npz"))
    np.savez(tmp_path / "copy" / "check.npz", **(arrays | {"same_decision": np.float64(0)}))
    done = bare(tmp_path / "copy", "verify.py")
    assert (done.returncode, "FAIL" in done.stdout) == (1, True), done.stderr


def test_two_bundles_hold_the_same_bytes(board: Path, tmp_path: Path) -> None:
    """All but `model.ort`, whose order of entries ONNX Runtime leaves to chance, and so its checksum."""
    make_bundle(TINY, tmp_path / "again.zip")
    with zipfile.ZipFile(tmp_path / "again.zip") as archive:
        again = {Path(name).name: archive.read(name) for name in archive.namelist()}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert set(again) == {path.name for path in board.iterdir()}
    for name in set(again) - {"model.ort", "SHA256SUMS"}:
        assert again[name] == (board / name).read_bytes(), name
    assert [path.name for path in tmp_path.iterdir()] == ["again.zip"]


def test_a_card_cannot_be_broken_by_metadata() -> None:
    artifact = Artifact.load(TINY)
    artifact.contract.provenance["notes"] = "a\n# heading | cell" + "x" * 10_000
    card = board_card(artifact)
    assert "\n# heading" not in card
    assert max(map(len, card.splitlines())) < 600


def test_triton_repository(tmp_path: Path) -> None:
    names = make_bundle(TINY, tmp_path / "repository", "triton")
    assert names == (
        SCRIPTS_LICENCE,
        "MODEL_CARD.md",
        "README.md",
        "client.py",
        "spec.json",
        "tiny/1/model.onnx",
        "tiny/config.pbtxt",
        "tiny/labels.txt",
    )
    assert (tmp_path / "repository" / "tiny" / "labels.txt").read_text().split()[0] == "angry"


@pytest.mark.parametrize(
    ("precision", "target", "place", "tensorrt"),
    [
        ("float32", None, "KIND_CPU", False),
        ("int8", Target.X86_VNNI, "KIND_CPU", False),
        ("float16", None, "KIND_GPU", False),
        ("int8", Target.TENSORRT, "KIND_GPU", True),
    ],
)
def test_triton_places_a_model_where_it_is_for(
    precision: Precision, target: Target | None, place: str, tensorrt: bool, tmp_path: Path
) -> None:
    known = Artifact.load(TINY)
    artifact = replace(known, contract=replace(known.contract, precision=precision, target=target))
    write_repository(artifact, tmp_path, {})
    config = (tmp_path / "tiny" / "config.pbtxt").read_text()
    assert f"kind: {place}" in config
    assert ('name: "tensorrt"' in config) is tensorrt
    assert config.count("{") == config.count("}")
    assert ("--gpus all" in (tmp_path / "README.md").read_text()) is (place == "KIND_GPU")


def test_triton_configuration_fits_the_graph(tmp_path: Path) -> None:
    """`dims` are without the batch axis where max_batch_size is above 0, so the graph's batch must be free."""
    make_bundle(TINY, tmp_path / "repository", "triton")
    model = tmp_path / "repository" / "tiny"
    text = (model / "config.pbtxt").read_text(encoding="utf-8")
    session = ort.InferenceSession(model / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    types = {"tensor(float)": "TYPE_FP32", "tensor(uint8)": "TYPE_UINT8"}
    for kind, values in (("input", session.get_inputs()), ("output", session.get_outputs())):
        block = re.search(rf"^{kind} \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)
        assert block is not None
        declared = re.findall(r'name: "(.*)"\n\s+data_type: (\w+)\n\s+dims: \[ (.*) \]', block[1])
        assert declared == [(v.name, types[v.type], ", ".join(map(str, v.shape[1:]))) for v in values]
        assert all(not isinstance(value.shape[0], int) for value in values)
    largest = re.search(r"^max_batch_size: (\d+)$", text, re.MULTILINE)
    assert largest is not None
    assert int(largest[1]) > 0
    batch = np.zeros((int(largest[1]), *session.get_inputs()[0].shape[1:]), dtype=np.float32)
    assert session.run(None, {session.get_inputs()[0].name: batch})[0].shape[0] == int(largest[1])
    assert len((model / "labels.txt").read_text(encoding="utf-8").split()) == session.get_outputs()[0].shape[1]


@pytest.mark.parametrize("target", [Target.X86_VNNI, Target.TENSORRT])
def test_triton_reads_the_configuration(target: Target) -> None:
    """By Triton's own schema, where its client is installed."""
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    text_format = pytest.importorskip("google.protobuf.text_format")
    known = Artifact.load(TINY)
    artifact = replace(known, contract=replace(known.contract, precision="int8", target=target))
    parsed = text_format.Parse(config(artifact), schema.ModelConfig())
    accelerators = parsed.optimization.execution_accelerators.gpu_execution_accelerator
    assert [each.name for each in accelerators] == (["tensorrt"] if target is Target.TENSORRT else [])
    assert (parsed.name, parsed.platform, parsed.max_batch_size) == ("tiny", "onnxruntime_onnx", 64)
    assert list(parsed.input[0].dims) == [1, 48, 48]
    assert parsed.output[0].label_filename == "labels.txt"
    assert parsed.HasField("dynamic_batching")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nonesuch.onnx", "-o", "TMP/x"), "no such file"),
        (("TINY", "-o", "TMP/no/x.zip"), "does not exist"),
        (("TINY", "-o", "TMP"), "is there already and not empty"),
        (("TINY", "-o", "TMP/x", "--format", "docker"), "no format 'docker'; one of: board, triton"),
        (("TINY", "-o", "TMP/x", "--parity", "none.rarn-parity"), "none.rarn-parity: no such file"),
    ],
    ids=str,
)
def test_what_users_get_wrong(cli: Cli, arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    words = [word.replace("TMP", str(tmp_path)).replace("TINY", str(TINY)) for word in arguments]
    done = cli("bundle", *words)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_model_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_text("hello")
    with pytest.raises(InputError, match="not a readable ONNX file"):
        make_bundle(tmp_path / "x.onnx", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]


def test_a_shipped_model_by_name(cli: Cli, tmp_path: Path) -> None:
    """Its own parity bundle and its measured accuracy go with it."""
    done = cli("bundle", "rarn-s", "-o", tmp_path / "board")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "board" / "model.rarn-parity").stat().st_size > 10_000
    assert "PublicTest" in (tmp_path / "board" / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_a_model_that_takes_pixels_runs_on_the_board(tmp_path: Path) -> None:
    """The graph of `tiny.onnx` with its normalisation inside: the script must not normalise again."""
    onnx = pytest.importorskip("onnx")
    from dataclasses import replace

    from rarn_edge.onnx_graph import save_artifact

    model = onnx.load(TINY)
    (image,) = model.graph.input
    image.type.tensor_type.elem_type = onnx.TensorProto.UINT8
    constants = {"shift": 128.0, "scale": 64.0}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()
    )
    first = model.graph.node[0]
    first.input[0] = "normalised"
    steps = [
        onnx.helper.make_node("Cast", ["input"], ["float"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Sub", ["float", "shift"], ["centred"]),
        onnx.helper.make_node("Div", ["centred", "scale"], ["normalised"]),
    ]
    for step in reversed(steps):
        model.graph.node.insert(0, step)
    contract = Artifact.load(TINY).contract
    spec = replace(contract.spec, input_dtype="uint8")
    save_artifact(model, replace(contract, spec=spec), tmp_path / "pixels.onnx")
    make_bundle(tmp_path / "pixels.onnx", tmp_path / "board")
    face = tmp_path / "face.png"
    cv2.imwrite(str(face), synthetic_faces(1, seed=5).images[0])
    done = bare(tmp_path / "board", "predict.py", face)
    (expected,) = Classifier(TINY, threads=1).predict(face)
    assert done.stdout == f"{face}: {expected.label} {expected.confidence:.1%}\n", done.stderr
    assert bare(tmp_path / "board", "verify.py").returncode == 0
    assert "TYPE_UINT8" in config(Artifact.load(tmp_path / "pixels.onnx"))
