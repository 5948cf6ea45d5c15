"""Stamp foreign ONNX files: embed the contract that a TOML file describes.

name = "my-net"
classes = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]   # in the order of the outputs
output = "logits"                                                               # or "probabilities"
preprocess = { height_px = 64, width_px = 64, mean = [127.5], std = [127.5] }   # three values each for RGB
"""

from pathlib import Path

from rarn_edge.boundary.documents import read_toml
from rarn_edge.contract.artifact import Artifact, Contract, check_shapes, open_unoptimised
from rarn_edge.contract.spec import SCHEMA_VERSION, ModelSpec
from rarn_edge.errors import InputError
from rarn_edge.files import check_outputs, file_sha256
from rarn_edge.onnx_graph import LoadedModel, load_graph

_EXAMPLE = (
    'name = "my-net", classes = [...], output = "logits",'
    " preprocess = { height_px = 64, width_px = 64, mean = [127.5], std = [127.5] }"
)


def stamp(source: str | Path, spec_file: str | Path, out: str | Path) -> Artifact:
    """Copy `source` to `out` with the spec of `spec_file`; input and output names are read from the graph.

    Raises:
        InputError: an unreadable file, a graph with several inputs or outputs, or an incomplete spec.

    Example:
        >>> import rarn_edge
        >>> rarn_edge.stamp("theirs.onnx", "spec.toml", "stamped.onnx").spec.name  # doctest: +SKIP
        'my-net'
    """
    source, spec_file, out = Path(source), Path(spec_file), Path(out)
    check_outputs([out], [source, spec_file])
    session = open_unoptimised(source)
    names = ([v.name for v in session.get_inputs()], [v.name for v in session.get_outputs()])
    if len(names[0]) != 1 or len(names[1]) != 1:
        raise InputError(f"{source}: has inputs {names[0]} and outputs {names[1]}; one of each is needed")
    data = read_toml(spec_file)
    fields = {"schema_version": SCHEMA_VERSION, "input_name": names[0][0], "output_name": names[1][0], **data}
    try:
        spec = ModelSpec.from_dict(fields)
    except InputError as error:
        raise InputError(f"{spec_file}: {error}; needed: {_EXAMPLE}") from error
    check_shapes(str(source), session, spec)
    contract = Contract(spec, provenance={"source_sha256": file_sha256(source)})
    return LoadedModel(load_graph(source), contract).save(out)
