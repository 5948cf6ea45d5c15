"""`rarn-edge export`: from PyTorch to one ONNX file."""

from typing import TYPE_CHECKING

from rarn_edge.cli.app import MAKE, app, note, say
from rarn_edge.cli.network import network_if_named, says_input
from rarn_edge.cli.options import Attention, AxisOrder, InputType, Labels, Output, Simplify, Weights, WeightsOrModel

if TYPE_CHECKING:
    from rarn_edge.models.find import NetworkInput


@app.command(rich_help_panel=MAKE)
@says_input
def export(
    takes: "NetworkInput",
    output: Output,
    model: WeightsOrModel = None,
    weights: Weights = None,
    labels: Labels = None,
    input_dtype: InputType = "float32",
    layout: AxisOrder = "nchw",
    simplify: Simplify = True,
    attention: Attention = False,
) -> None:
    """Export a model to one ONNX file that carries its whole contract."""
    from rarn_edge.cli.inputs import read_input_dtype, read_layout
    from rarn_edge.workflow.model_files import export as export_model

    network, dtype = network_if_named(model, takes), read_input_dtype(input_dtype)
    done = export_model(
        output, network, weights=weights, labels=labels, input_dtype=dtype, layout=read_layout(layout), simplify=simplify,
        attention=attention,
    )  # fmt: skip
    if done.kept_because:
        note(done.kept_because, "not simplified")
    made = done.artifact
    if untrained := made.contract.provenance.get("weights"):
        note(f"weights {untrained}")
    if unnamed := made.contract.provenance.get("classes"):
        classes = made.spec.classes
        note(
            f"classes are {unnamed}, so they are called {classes[0]} to {classes[-1]}; a TOML beside the code names them:"
            ' classes = ["a", "b"]'
        )
    say(f"{made.path}: {made.spec.name}, {made.size_bytes / 1e6:.2f} MB, sha256 {made.sha256[:12]}")
