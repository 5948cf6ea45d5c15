"""`rarn-edge bundle`: what goes on the board, to a server, or into a browser."""

from rarn_edge.cli.app import USE, app, say
from rarn_edge.cli.options import BundledModel, BundleFolder, BundleFormat, BundleParity, Labels, OrtWeb
from rarn_edge.errors import require_extra


@app.command(rich_help_panel=USE)
def bundle(
    model: BundledModel,
    output: BundleFolder,
    form: BundleFormat = "board",
    parity: BundleParity = None,
    labels: Labels = None,
    ort_web: OrtWeb = None,
) -> None:
    """Pack a model for a board, a server or a browser, with checks, model card and licences."""
    require_extra("onnxruntime", "cpu")
    from typing import get_args

    from rarn_edge.board.make import Format
    from rarn_edge.boundary.names import one_of
    from rarn_edge.workflow.bundle import bundle as make_bundle

    chosen = one_of(form, get_args(Format), "format")
    names = make_bundle(model, output, form=chosen, parity=parity, labels=labels, ort_web=ort_web)
    if names == (output.name,):
        say(f"{output}: one file of {output.stat().st_size / 1e6:.1f} MB; open it in a browser")
    else:
        say(f"{output}: {', '.join(names)}")
