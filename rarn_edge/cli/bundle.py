"""`rarn-edge bundle`: what goes on the board, or to a server."""

from rarn_edge.cli.app import USE, app, say
from rarn_edge.cli.options import BundledModel, BundleFolder, BundleFormat, BundleParity, Labels
from rarn_edge.errors import require_extra


@app.command(rich_help_panel=USE)
def bundle(
    model: BundledModel,
    output: BundleFolder,
    form: BundleFormat = "board",
    parity: BundleParity = None,
    labels: Labels = None,
) -> None:
    """Pack a model with a 40-line script, pinned requirements, checks, model card and licence."""
    require_extra("onnxruntime", "cpu")
    from typing import get_args

    from rarn_edge.board.make import Format
    from rarn_edge.cli.inputs import one_of
    from rarn_edge.workflow.bundle import bundle as make_bundle

    names = make_bundle(model, output, form=one_of(form, get_args(Format), "format"), parity=parity, labels=labels)
    say(f"{output}: {', '.join(names)}")
