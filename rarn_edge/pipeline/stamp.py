"""Stamp foreign ONNX files: embed the contract that the graph tells and a user completes, by options or in a TOML file."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from rarn_edge.boundary.documents import read_toml
from rarn_edge.contract.artifact import METADATA_KEY, Artifact, Contract, check_shapes, open_unoptimised
from rarn_edge.contract.draft import Draft, Said, draft, merge
from rarn_edge.contract.interface import read_interface
from rarn_edge.contract.spec import SCHEMA_VERSION, Color, ModelSpec, Output
from rarn_edge.errors import InputError, first_line
from rarn_edge.files import check_outputs, file_sha256, write_text
from rarn_edge.onnx_graph import LoadedModel, load_graph

AnyPath = str | Path

_TRIED = 3  # pictures at once, to see that the batch is free


def _warn(text: str, label: str) -> None:
    if label == "warning":
        warnings.warn(text, stacklevel=3)


def stamp(
    source: AnyPath,
    out: AnyPath,
    *,
    spec: AnyPath | None = None,
    classes: Sequence[str] = (),
    name: str | None = None,
    color: Color | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    size: tuple[int, int] | None = None,
    output: Output | None = None,
    free_batch: bool = False,
    on_notice: Callable[[str, str], None] = _warn,
) -> Artifact:
    """Copy any ONNX classifier of pictures to `out` with its contract; what the graph tells need not be said.

    Names, sizes, channels, layout, type and number of classes are read from the graph, and a softmax at its end is recognised.

    Args:
        source: The file, with one input of pictures.
        out: The file to write.
        spec: A TOML file that says the rest, instead of the arguments below.
        classes: Names, in the order of the outputs.
        name: Of the model (default: the file's).
        color: What the channels are: `gray`, `rgb` or `bgr`; for one channel it is `gray`.
        mean: A value a channel, of pixels 0..255.
        std: Likewise.
        size: Height and width in pixels, where the graph leaves them free.
        output: `logits` or `probabilities` (default: by what the graph ends in).
        free_batch: Make a fixed batch free; the result is kept only if it answers alike.
        on_notice: Told what was recognised.

    Raises:
        InputError: an unreadable file, a graph that takes no pictures or answers no classes, or what is still missing.

    Example:
        >>> import rarn_edge, tempfile
        >>> from rarn_edge.assets import shipped_onnx
        >>> theirs, folder = shipped_onnx("rarn-n"), tempfile.mkdtemp()
        >>> names = ["a", "b", "c", "d", "e", "f", "g", "h"]
        >>> made = rarn_edge.stamp(theirs, f"{folder}/ours.onnx", classes=names, name="net", mean=[128], std=[64])
        >>> made.spec.name, made.spec.preprocess.height_px, made.spec.output
        ('net', 48, 'logits')
    """
    source, out = Path(source), Path(out)
    spec_file = None if spec is None else Path(spec)
    said = Said(tuple(classes), name, color, tuple(map(float, mean)), tuple(map(float, std)), size, output)
    check_outputs([out], [source, spec_file])
    if spec_file is not None and said != Said():
        raise InputError("--spec says it all; leave out the other options, or edit the TOML file")
    made, found = _put_together(source, said, spec_file)
    model = load_graph(source)
    if made.image.batch is not None:
        if not free_batch:
            raise InputError(
                f"{source}: its batch size is fixed at {made.image.batch}. Export it with a dynamic batch axis, or try"
                " --free-batch, which makes it free and checks the answers"
            )
        model = with_free_batch(model, made)
    _check_answers(model, found, made, source)
    if any(entry.key == METADATA_KEY for entry in model.metadata_props):
        on_notice(f"{source} has a contract already; the new one takes its place", "")
    for notice in made.notices:
        on_notice(f"{source} {notice.text}", notice.label)
    contract = Contract(found, provenance={"source_sha256": file_sha256(source)})
    return LoadedModel(model, contract).save(out)


def write_spec(source: AnyPath, spec: AnyPath, said: Said) -> Draft:
    """Write the TOML file that `stamp` reads, filled in from the graph and from what is said; the rest is marked.

    Raises:
        InputError: as `stamp`, or the file exists already or cannot be written.
    """
    source, spec = Path(source), Path(spec)
    check_outputs([spec], [source])
    if spec.exists():
        raise InputError(f"{spec}: exists already, and may hold your work; name another file, or remove it")
    interface = read_interface(source)
    first = interface.outputs[0].name if len(interface.outputs) > 1 else None
    made = draft(interface, said, first)
    write_text(spec, made.to_toml(source.name))
    return made


def _put_together(source: Path, said: Said, spec_file: Path | None) -> tuple[Draft, ModelSpec]:
    interface = read_interface(source)
    if spec_file is None:
        made = draft(interface, said)
        return made, made.spec(str(source))
    written = read_toml(spec_file)
    named = written.get("output_name")
    made = draft(interface, said, named if isinstance(named, str) else None)
    fields = {"schema_version": SCHEMA_VERSION, **merge(made, written, str(spec_file))}
    try:
        return made, ModelSpec.from_dict(fields)
    except InputError as error:
        raise InputError(f"{spec_file}: {error}") from error


def with_free_batch(model: onnx.ModelProto, made: Draft) -> onnx.ModelProto:
    """A copy whose first axis is free: of its input, its outputs, and of constants that reshape to the old batch."""
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    graph = freed.graph
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        shape = value.type.tensor_type.shape
        if shape.dim and shape.dim[0].dim_value == made.image.batch:
            shape.dim[0].dim_param = "N"
    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for tensor in graph.initializer:
        if tensor.name in shapes:
            target = numpy_helper.to_array(tensor).copy()
            if target.ndim == 1 and len(target) > 1 and target[0] == made.image.batch and target.min() >= -1:
                target[0] = 0  # as many as come in
                tensor.CopyFrom(numpy_helper.from_array(target, tensor.name))
    return freed


def _check_answers(model: onnx.ModelProto, spec: ModelSpec, made: Draft, source: Path) -> None:
    """The shapes that are declared, and those that come out for a few noisy pictures, one by one and together."""
    content = (
        model.SerializeToString() if made.image.batch is not None else source
    )  # the file as it is, weights beside it too
    session = open_unoptimised(content)
    check_shapes(str(source), session, spec)
    noise = np.random.default_rng(0).integers(
        0, 256, (_TRIED, *spec.input_shape), dtype=np.uint8
    )  # [N, C, H, W] or [N, H, W, C]
    pictures = noise if spec.input_dtype == "uint8" else ((noise - 128.0) / 64).astype(np.float32)
    how = "after --free-batch it " if made.image.batch is not None else "it "
    try:
        together = session.run([spec.output_name], {spec.input_name: pictures})[0]
        alone = [session.run([spec.output_name], {spec.input_name: each[None]})[0] for each in pictures]
    except Exception as error:  # onnxruntime has no common base class for its errors; the cause is kept and named
        raise InputError(
            f"{source}: {how}does not run on {_TRIED} pictures {list(pictures.shape)} at once ({first_line(error)});"
            " its batch may be fixed inside the graph: export it with a dynamic batch axis"
        ) from error
    if together.ndim != 2 or len(together) != _TRIED:
        raise InputError(
            f"{source}: {how}answers {list(together.shape)} for {_TRIED} pictures; [{_TRIED}, classes] is needed:"
            " end it in a Flatten, and export it again"
        )
    if together.shape[1] != len(spec.classes):
        raise InputError(f"{source}: the graph answers {together.shape[1]} classes, its spec names {len(spec.classes)}")
    if made.image.batch is not None and not np.allclose(together, np.concatenate(alone), rtol=1e-3, atol=1e-4):
        raise InputError(
            f"{source}: {how}answers otherwise for pictures together than one by one; export it anew instead"
        )
    if spec.output == "probabilities" and made.answer.ending != "softmax":
        sums = together.sum(axis=1)
        if (together < 0).any() or not np.allclose(sums, 1, atol=1e-2):
            raise InputError(
                f"{source}: output is said to be probabilities, and its answers sum to {sums[0]:.3g}, not 1;"
                " if they are scores before a softmax, say logits"
            )
