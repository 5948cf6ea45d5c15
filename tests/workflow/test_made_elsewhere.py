"""Files that other tools quantize from ours: they keep our metadata, which still says float32; the graph tells what they are."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

import rarn_edge
from rarn_edge.bench.cases import load_case
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.graph_scan import scan_graph
from rarn_edge.contract.preprocess import to_input
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.onnx_graph import load_graph

Cli = Callable[..., subprocess.CompletedProcess[str]]

S8, U8 = QuantType.QInt8, QuantType.QUInt8
OPTIONS: dict[str, dict[str, object]] = {
    "defaults": {},
    "s8s8": {"per_channel": True, "activation_type": S8, "weight_type": S8},
    "u8s8": {"per_channel": True, "activation_type": U8, "weight_type": S8, "reduce_range": True},
    "operators": {"quant_format": QuantFormat.QOperator, "activation_type": U8, "weight_type": S8},
}
FOUND = {
    "defaults": "QDQ, int8 activations, int8 weights per tensor",
    "s8s8": "QDQ, int8 activations, int8 weights per channel",
    "u8s8": "QDQ, uint8 activations, int8 weights per channel",
    "operators": "QOperator, uint8 activations, int8 weights per tensor",
}


class Reader(CalibrationDataReader):
    """16 drawn faces, one at a time."""

    def __init__(self, artifact: Artifact) -> None:
        images = to_input(synthetic_faces(16, seed=3).images, artifact.spec.preprocess)
        self.rest: Iterator[dict[str, object]] = iter([{artifact.spec.input_name: image[None]} for image in images])

    def get_next(self) -> dict[str, object] | None:
        return next(self.rest, None)


@pytest.fixture(scope="module")
def shipped(shipped_float32: Callable[..., Artifact]) -> Artifact:
    """The export of the shipped rarn-n."""
    return shipped_float32("rarn-n")


@pytest.fixture(scope="module")
def theirs(shipped: Artifact, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("theirs")
    made = {name: folder / f"{name}.onnx" for name in OPTIONS}
    for name, path in made.items():
        quantize_static(shipped.path, path, Reader(shipped), **OPTIONS[name])
    return made


@pytest.mark.parametrize("name", OPTIONS)
def test_precision_and_types_come_from_the_graph(shipped: Artifact, theirs: dict[str, Path], name: str) -> None:
    metadata = {each.key: each.value for each in load_graph(theirs[name]).metadata_props}
    assert json.loads(metadata["rarn_edge"])["precision"] == "float32"  # what the tool left in it
    contract = Artifact.load(theirs[name]).contract
    assert (contract.precision, contract.target, contract.quality) == ("int8", None, {})
    assert contract.provenance["made_elsewhere"] == f"{FOUND[name]}; by onnx.quantize 0.1.0"
    assert contract.spec == shipped.spec
    assert contract.provenance["weights_sha256"] == shipped.contract.provenance["weights_sha256"]
    convolutions = sum(node.operator in ("Conv", "Gemm") for node in scan_graph(shipped.path).nodes)
    quantization = scan_graph(theirs[name]).quantization
    assert quantization is not None
    assert len(quantization.nodes) == convolutions


def test_ranges_found_at_run_time(shipped: Artifact, tmp_path: Path) -> None:
    quantize_dynamic(shipped.path, tmp_path / "dynamic.onnx", weight_type=U8)
    contract = Artifact.load(tmp_path / "dynamic.onnx").contract
    assert contract.precision == "int8-dynamic"
    assert contract.provenance["made_elsewhere"].startswith("dynamic, uint8 activations, uint8 weights per tensor")


def test_our_own_files_are_ours(shipped: Artifact) -> None:
    from rarn_edge.assets import shipped_onnx

    for path in (shipped.path, shipped_onnx("rarn-n")):
        assert Artifact.load(path).contract.made_elsewhere is None


def test_parity_judges_it_as_int8(cli: Cli, shipped: Artifact, theirs: dict[str, Path]) -> None:
    """As float32 it would need logits that differ by 1e-4 at most; as INT8, the limits of INT8."""
    done = cli("parity", shipped.path, theirs["u8s8"], "--threads", 1, "--json")
    assert f"{theirs['u8s8']} is int8, made by another tool: {FOUND['u8s8']}" in done.stderr
    kinds = {hop["kind"] for hop in json.loads(done.stdout)["hops"] if "u8s8" in str(hop["after"])}
    assert {"quantize", "fuse", "int8"} <= kinds


def test_explain_names_a_node_of_it(cli: Cli, shipped: Artifact, theirs: dict[str, Path], tmp_path: Path) -> None:
    strict = tmp_path / "strict.toml"
    strict.write_text("[faces.quantize]\nmin_snr_db = 90\n")
    done = cli("parity", shipped.path, theirs["defaults"], "--threads", 1, "--explain", "--tolerances", strict)
    assert done.returncode == 1, done.stderr
    assert f"{shipped.path.name} -> defaults.onnx" in done.stdout + done.stderr


def test_audit_says_who_made_it(cli: Cli, theirs: dict[str, Path]) -> None:
    done = cli("audit", theirs["u8s8"], "--threads", 1, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["precision"], found["target"]) == ("int8", None)
    assert FOUND["u8s8"] in found["made_elsewhere"]
    assert found["int8_share"] > 0


def test_evaluate_and_verdict_say_so(cli: Cli, shipped: Artifact, theirs: dict[str, Path], faces_folder: Path) -> None:
    done = cli("evaluate", theirs["s8s8"], "--data", faces_folder, "--json")
    assert done.returncode == 0, done.stderr
    assert FOUND["s8s8"] in done.stderr
    done = cli("verdict", shipped.path, theirs["s8s8"], "--rounds", 20, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["candidate"] == "int8"
    assert FOUND["s8s8"] in done.stderr


def test_bench_says_so(theirs: dict[str, Path]) -> None:
    contract = load_case(theirs["u8s8"]).contract
    assert contract is not None
    assert contract.precision == "int8"
    assert contract.made_elsewhere is not None


def test_it_is_not_quantized_again(cli: Cli, theirs: dict[str, Path], tmp_path: Path) -> None:
    done = cli("quantize", theirs["u8s8"], "-o", tmp_path / "again.onnx", "--target", "x86-avx2")
    assert done.returncode == 2
    assert "is already int8; quantize the float32 file it came from" in done.stderr


def test_half_precision_made_elsewhere(shipped: Artifact, tmp_path: Path) -> None:
    half = rarn_edge.quantize(shipped.path, tmp_path / "half.onnx", precision="fp16", verdict=False).artifact
    model = load_graph(half.path)
    (prop,) = [each for each in model.metadata_props if each.key == "rarn_edge"]
    prop.value = json.dumps({**json.loads(prop.value), "precision": "float32"})
    onnx.save(model, tmp_path / "theirs.onnx")
    contract = Artifact.load(tmp_path / "theirs.onnx").contract
    assert (contract.precision, contract.provenance["made_elsewhere"][:15]) == ("float16", "float16 weights")


@pytest.mark.parametrize(
    "content", [b"", b"\x3a\xff", b"\x08\x09\x3a\x7f\x0a", b"\x3b\x01", b"\xff" * 20, b"\x12\x02\xff\xfe"]
)
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.onnx: (is empty|not a readable ONNX file)"):
        scan_graph(tmp_path / "x.onnx")


def test_the_scan_is_the_graph(theirs: dict[str, Path]) -> None:
    """Read without the package onnx, and the same as with it."""
    scan, model = scan_graph(theirs["defaults"]), load_graph(theirs["defaults"])
    assert scan.opsets == {entry.domain: entry.version for entry in model.opset_import}
    assert [(n.operator, n.name, n.inputs, n.outputs) for n in scan.nodes] == [
        (n.op_type, n.name, tuple(n.input), tuple(n.output)) for n in model.graph.node
    ]
    kept = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    assert {name: scan.constants[name].shape for name in kept} == kept
