"""One ONNX file that carries its whole contract: what it expects, how it was made, what was measured.

The contract is JSON in the model's metadata, readable with onnxruntime alone on a device without torch or onnx. Other tools
keep it when they quantize such a file, and it then still says float32: so a contract that says float is held against the graph,
and a file that another tool made is called so.
"""

import hashlib
import re
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from shlex import quote
from typing import Any, Literal, get_args

import onnxruntime as ort

from rarn_edge.boundary.documents import parse_json, to_json
from rarn_edge.boundary.names import printable
from rarn_edge.boundary.paths import MODEL_HINT, require_file
from rarn_edge.contract.graph_scan import scan_graph
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.contract.targets import Target
from rarn_edge.errors import InputError, first_line
from rarn_edge.files import file_sha256

METADATA_KEY = "rarn_edge"

MADE_ELSEWHERE = "made_elsewhere"
"""In the provenance of a file that another tool made of one of ours: what it did, as far as the graph tells."""

Precision = Literal["float32", "int8", "int8-dynamic", "float16"]

INPUT_TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)"}


@dataclass(frozen=True)
class Contract:
    """Everything embedded in a file."""

    spec: ModelSpec
    precision: Precision = "float32"
    target: Target | None = None  # the kind of CPU an INT8 file is made for
    parameters: int | None = None
    multiply_adds: int | None = None  # of convolutions and matrix products, one image
    provenance: dict[str, Any] = field(default_factory=dict)  # recipe, weights sha256, tool versions, calibration
    quality: dict[str, Any] = field(default_factory=dict)  # measured figures with their data

    def to_json(self) -> str:
        return to_json({**asdict(self), "spec": self.spec.to_dict()})

    @classmethod
    def from_json(cls, text: str, source: str) -> "Contract":
        """Read what `to_json` wrote; `source` names the file in messages.

        Raises:
            InputError: not JSON, a wrong type, or an invalid spec.
        """
        data = parse_json(text, f"{source}: its rarn-edge metadata is damaged")
        if not isinstance(data, dict) or not {"spec", "target"} <= set(data) <= {each.name for each in fields(cls)}:
            raise InputError(f"{source}: its rarn-edge metadata is damaged (it has not the keys of a contract)")
        target = data.pop("target")
        try:
            spec = ModelSpec.from_dict(data.pop("spec"))
        except InputError as error:
            raise InputError(f"{source}: {error}") from error
        if target is not None and target not in list(Target):
            raise InputError(f"{source}: its rarn-edge metadata is damaged (target {printable(target)!r})")
        contract = cls(spec=spec, target=None if target is None else Target(target), **data)
        if contract.precision not in get_args(Precision):
            raise InputError(
                f"{source}: its rarn-edge metadata is damaged (precision {printable(contract.precision)!r})"
            )
        if not isinstance(contract.provenance, dict) or not isinstance(contract.quality, dict):
            raise InputError(f"{source}: its rarn-edge metadata is damaged (provenance and quality are objects)")
        if not isinstance(contract.provenance.get("weights_sha256"), str | None):
            raise InputError(f"{source}: its rarn-edge metadata is damaged (weights_sha256 is text or null)")
        for key in ("parameters", "multiply_adds"):
            count = getattr(contract, key)
            if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 0):
                raise InputError(f"{source}: its rarn-edge metadata is damaged ({key} is a whole number or null)")
        return contract

    @classmethod
    def of_file(cls, text: str, path: Path) -> "Contract":
        """`from_json` of the metadata in the file at `path`, with the precision that its graph has.

        Where metadata says float and the graph is quantized, another tool did that: the contract then says so in
        `made_elsewhere`, names no target, and drops the figures, which were measured on the file before.

        Raises:
            InputError: as `from_json`, or the file cannot be read.
        """
        contract = cls.from_json(text, str(path))
        if contract.precision not in ("float32", "float16"):
            return contract
        scan = scan_graph(path)
        if scan.quantization is not None:
            precision: Precision = scan.quantization.precision
            how = scan.quantization.describe()
        elif scan.is_float16 and contract.precision == "float32":
            precision, how = "float16", "float16 weights"
        else:
            return contract
        provenance = {
            **contract.provenance,
            MADE_ELSEWHERE: f"{how}; by {printable(scan.producer) or 'an unnamed tool'}",
        }
        return replace(contract, precision=precision, target=None, provenance=provenance, quality={})

    @property
    def batch(self) -> int | None:
        """How many pictures go through the graph at once; None: any number.

        Dynamic INT8 measures its ranges anew in each batch: alone, an answer depends on its picture only.
        """
        return 1 if self.precision == "int8-dynamic" else None

    @property
    def made_elsewhere(self) -> str | None:
        """`INT8 by another tool (QDQ, ...)`, for a notice; None: we made the file, or it says nothing else."""
        found = self.provenance.get(MADE_ELSEWHERE)
        return None if found is None else f"{self.precision}, made by another tool: {printable(str(found))}"


@dataclass(frozen=True)
class Artifact:
    """An ONNX file with a valid contract."""

    path: Path
    contract: Contract
    sha256: str  # of the file, and of the files beside it that hold weights, if any
    size_bytes: int  # of all of them

    @property
    def spec(self) -> ModelSpec:
        return self.contract.spec

    @classmethod
    def load(cls, path: Path) -> "Artifact":
        """Read and check the contract of an ONNX file.

        Raises:
            InputError: no such file, not ONNX, no contract, or a contract that contradicts the graph.
        """
        return cls.of_session(path, open_unoptimised(path))

    @classmethod
    def of_session(cls, path: Path, session: ort.InferenceSession) -> "Artifact":
        """The same from a session that is open on `path` already: a cold start pays for one session, not two.

        Raises:
            InputError: no contract, or one that contradicts the graph.
        """
        text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if text is None:
            file = quote(str(path))
            raise InputError(
                f"{path}: an ONNX file without rarn-edge metadata, so its preprocessing and classes are unknown.\n"
                f"rarn-edge inspect {file} shows what of them is missing; rarn-edge stamp {file} ... -o OUT.onnx adds them"
            )
        contract = Contract.of_file(text, path)
        inputs = [value.name for value in session.get_inputs()]
        outputs = [value.name for value in session.get_outputs()]
        if inputs != [contract.spec.input_name] or contract.spec.output_name not in outputs:
            raise InputError(
                f"{path}: the graph has {inputs} -> {outputs}, its metadata says otherwise; export it again"
            )
        check_shapes(str(path), session, contract.spec)
        found, expected = session.get_inputs()[0].type, INPUT_TYPES[contract.spec.input_dtype]
        if found != expected:
            raise InputError(f"{path}: the graph takes {found}, its metadata says {expected}; make it again")
        files = files_of(path)
        return cls(path, contract, _sha256(files), _size_bytes(files))


def check_shapes(name: str, session: ort.InferenceSession, spec: ModelSpec) -> None:
    """Compare the graph's declared shapes with the spec; free axes fit anything, but the batch axis must be free.

    Raises:
        InputError: a fixed batch, another image size or number of channels, or another number of classes.
    """
    batch, *image = session.get_inputs()[0].shape or [None]
    expected = list(spec.input_shape)
    if isinstance(batch, int):
        raise InputError(f"{name}: its batch size is fixed at {batch}; export it with a dynamic batch axis")
    if len(image) != 3 or any(isinstance(a, int) and a != b for a, b in zip(image, expected, strict=True)):
        raise InputError(f"{name}: the graph takes images {image}, its spec says {expected} ({spec.layout[1:]})")
    output = next(value for value in session.get_outputs() if value.name == spec.output_name)
    classes = output.shape[-1] if output.shape else None
    if isinstance(classes, int) and classes != len(spec.classes):
        raise InputError(f"{name}: the graph answers {classes} classes, its spec names {len(spec.classes)}")


def open_unoptimised(model: Path | bytes, threads: int = 1) -> ort.InferenceSession:
    """A CPU session that runs a file's (or a serialised model's) graph as written, without fusion: the reference answer.

    Raises:
        InputError: no such file, or ONNX Runtime cannot read it.
    """
    name = str(model) if isinstance(model, Path) else "the model"
    if isinstance(model, Path):
        require_file(model, MODEL_HINT)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # its errors reach us as exceptions; the duplicate on stderr would be noise
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common base class for its errors; the cause is kept and named
        raise InputError(f"{name}: not a readable ONNX file ({first_line(error)}){_made_by(name)}") from error


def _made_by(name: str) -> str:
    """The next step for weights, which are no ONNX file yet."""
    return (
        f"; of weights make one: rarn-edge export --weights {quote(name)} -o OUT.onnx"
        if name.endswith(".safetensors")
        else ""
    )


# a protobuf entry ("location", name) of a tensor's external data, up to the length of the name
_EXTERNAL = re.compile(rb"\x0a\x08location\x12([\x80-\xff]?[\x01-\x7f])")


def is_one_file(model: Path) -> bool:
    """Whether all weights are in the ONNX file itself, and none in a file beside it."""
    return _EXTERNAL.search(model.read_bytes()) is None


def files_of(model: Path) -> tuple[Path, ...]:
    """An ONNX file, and the files beside it that hold weights in its place (external data), each once."""
    data = model.read_bytes()
    names = []
    for found in _EXTERNAL.finditer(data):
        *low, high = found[1]
        length = high * 128 + low[0] % 128 if low else high
        names.append(data[found.end() : found.end() + length].decode("utf-8", "replace"))
    beside = (model.parent / name for name in dict.fromkeys(names))
    return (model, *(path for path in beside if path.is_file()))


def size_bytes(model: Path) -> int:
    """Of an ONNX file and of the files beside it that hold its weights."""
    return _size_bytes(files_of(model))


def model_sha256(model: Path) -> str:
    """The file's sha256; with weights in files beside it, that of its own and of theirs."""
    return _sha256(files_of(model))


def _size_bytes(files: tuple[Path, ...]) -> int:
    return sum(path.stat().st_size for path in files)


def _sha256(files: tuple[Path, ...]) -> str:
    first, *beside = map(file_sha256, files)
    return hashlib.sha256("".join((first, *beside)).encode()).hexdigest() if beside else first
