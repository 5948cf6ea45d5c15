"""Any ONNX file with one input is a case; what cannot be run is refused with the reason."""

import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from rarn_edge.bench.cases import load_case, load_cases
from rarn_edge.bench.worker.client import Worker
from rarn_edge.bench.worker.process import random_input
from rarn_edge.contract.artifact import Contract
from rarn_edge.contract.spec import ModelSpec, Preprocess
from rarn_edge.contract.targets import Target
from rarn_edge.errors import InputError


def test_foreign_file_has_no_facts(make_onnx) -> None:
    path = make_onnx("foreign")
    case = load_case(path)
    assert (case.label, case.input_name, case.input_shape) == ("foreign", "input", (None, 1, 4, 4))
    assert case.contract is None
    assert case.file_size_bytes == path.stat().st_size
    assert case.shape(3) == (3, 1, 4, 4)


def test_our_file_states_its_facts(make_onnx) -> None:
    contract = Contract(ModelSpec("rarn-s"), "int8", Target.ARM, parameters=12, multiply_adds=34)
    case = load_case(make_onnx("ours", contract=contract), label="mine")
    assert case.label == "mine"
    assert case.contract == contract


def test_external_data_counts_as_file_size(make_onnx) -> None:
    path = make_onnx("split")
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(250, np.float32), "unread"))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert load_case(path).file_size_bytes == path.stat().st_size + 1000


def test_input_is_seeded_and_of_the_declared_type(make_onnx) -> None:
    floats = load_case(make_onnx("floats"))
    assert (floats.input_dtype, random_input("float32", floats.shape(2), 0).dtype) == ("float32", np.float32)
    assert np.array_equal(random_input("float32", (2, 3), 5), random_input("float32", (2, 3), 5))
    assert not np.array_equal(random_input("float32", (2, 3), 5), random_input("float32", (2, 3), 6))
    raw = load_case(make_onnx("raw", element=TensorProto.UINT8))
    made = random_input(raw.input_dtype, raw.shape(64), 0)
    assert (made.dtype, made.min(), made.max()) == (np.uint8, 0, 255)


def test_a_file_that_crashes_the_runtime_is_broken_and_the_next_is_read(
    make_onnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [make_onnx("bad"), make_onnx("good")]
    ask = Worker.ask

    def crash_on_bad(self: Worker, command: str, **arguments: object) -> dict[str, object]:
        if "bad" in str(arguments.get("path")):
            self._process.kill()
        return ask(self, command, **arguments)

    monkeypatch.setattr(Worker, "ask", crash_on_bad)
    bad, good = load_cases(paths)
    assert bad.broken is not None
    assert "while it was read, its process was killed" in bad.broken
    assert good.broken is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": 2}, r"has 2 inputs \(input, extra1\)"),
        (
            {"shape": ("n", 1, "height", 4)},
            r"only the first axis \(batch\) may be free; .* rarn-edge stamp .*odd\.onnx --size HEIGHTxWIDTH",
        ),
        ({"element": TensorProto.INT64}, "tensor\\(int64\\)"),
        ({"shape": ()}, "no batch axis"),
    ],
)
def test_what_cannot_be_benchmarked_is_refused(make_onnx, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_case(make_onnx("odd", **options))


def test_free_sizes_are_those_of_the_contract(make_onnx) -> None:
    contract = Contract(ModelSpec("net", preprocess=Preprocess(8, 6)))
    case = load_case(make_onnx("sized", shape=("n", 1, "height", "width"), contract=contract))
    assert case.input_shape == (None, 1, 8, 6)


def test_fixed_batch_takes_only_itself(make_onnx) -> None:
    case = load_case(make_onnx("fixed", shape=(2, 1, 4, 4)))
    assert case.shape(2) == (2, 1, 4, 4)
    with pytest.raises(InputError, match="batch size is fixed at 2, asked for 8; use --batch 2"):
        case.shape(8)


@pytest.mark.parametrize("batch", [0, -1])
def test_batch_below_one(make_onnx, batch: int) -> None:
    with pytest.raises(InputError, match="batch is at least 1"):
        load_case(make_onnx("any")).shape(batch)


def test_not_onnx(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("hello")
    with pytest.raises(InputError, match="not a readable ONNX file"):
        load_case(path)


def test_labels_are_unique(make_onnx, tmp_path: Path) -> None:
    first = make_onnx("model")
    (tmp_path / "other").mkdir()
    second = Path(shutil.copy(first, tmp_path / "other"))
    assert [case.label for case in load_cases([first, first])] == ["model", "model #2"]
    assert [case.label for case in load_cases([first, second])] == [f"{first.parent.name}/model", "other/model"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_is_called_by_its_own_name(make_onnx, tmp_path: Path) -> None:
    """As in the cache of a hub, whose files are links to blobs."""
    links = [tmp_path / name for name in ("v1/model.onnx", "v2/model.onnx", "v2/other.onnx", "v3/other.onnx")]
    blobs = [make_onnx("0a1b"), make_onnx("2c3d"), make_onnx("4e5f")]
    for link, blob in zip(links, [*blobs, blobs[2]], strict=True):
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(blob)
    assert [case.label for case in load_cases(links)] == ["v1/model", "v2/model", "other", "other #2"]
