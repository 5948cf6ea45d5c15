"""`rarn-edge stamp`: give a foreign file its contract."""

from shlex import quote

from rarn_edge.cli.app import MAKE, app, note, say
from rarn_edge.cli.options import (
    Answers,
    Bgr,
    ForeignFile,
    FreeBatch,
    Gray,
    InitSpec,
    Mean,
    ModelName,
    OutputClasses,
    Rgb,
    Size,
    Spec,
    StampedFile,
    Std,
)  # fmt: skip
from rarn_edge.errors import InputError, require_extra


@app.command(rich_help_panel=MAKE)
def stamp(
    source: ForeignFile,
    spec: Spec = None,
    classes: OutputClasses = None,
    rgb: Rgb = False,
    bgr: Bgr = False,
    gray: Gray = False,
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    name: ModelName = None,
    answers: Answers = None,
    free_batch: FreeBatch = False,
    init: InitSpec = None,
    output: StampedFile = None,
) -> None:
    """Give a foreign ONNX file its contract: what the graph does not tell, by options or in a TOML file."""
    require_extra("onnx", "export")
    from rarn_edge.cli.inputs import read_said
    from rarn_edge.pipeline.stamp import stamp as stamp_file
    from rarn_edge.pipeline.stamp import write_spec

    said = read_said(classes, name, {"gray": gray, "rgb": rgb, "bgr": bgr}, mean, std, size, answers)
    if (init is None) == (output is None):
        raise InputError("name the file to write: -o OUT.onnx, or --init spec.toml for a TOML file to edit first")
    if init is not None:
        made = write_spec(source, init, said)
        left = ", ".join(each.key for each in made.missing) or "nothing"
        then = f"rarn-edge stamp {quote(str(source))} --spec {quote(str(init))} -o OUT.onnx"
        say(f"{init}: left to fill in: {left}; then: {then}")
        return
    assert output is not None
    artifact = stamp_file(source, output, spec=spec, **vars(said), free_batch=free_batch, on_notice=note)
    found = artifact.spec
    pictures = f"{found.preprocess.color} {list(found.input_shape)} ({found.layout[1:]}) {found.input_dtype}"
    facts = f"{found.name}, {len(found.classes)} classes, {found.output}, {pictures}"
    say(f"{artifact.path}: {facts}, sha256 {artifact.sha256[:12]}")
