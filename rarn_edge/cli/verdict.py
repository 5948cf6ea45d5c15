"""`rarn-edge verdict`: is the quantized file worth shipping?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rarn_edge.cli.app import CHECK, Json, OptionalData, Split, Threads, app, print_json, say

if TYPE_CHECKING:
    from rarn_edge.artifact import Artifact


@app.command(rich_help_panel=CHECK)
def verdict(
    reference: Annotated[Path, typer.Argument(help="The float32 file", metavar="FLOAT.onnx")],
    candidate: Annotated[Path, typer.Argument(help="The quantized file", metavar="INT8.onnx")],
    data: OptionalData = None,
    split: Split = None,
    threads: Threads = 1,
    rounds: Annotated[int, typer.Option(min=20, help="Timed calls of each file, in turns")] = 200,
    as_json: Json = False,
) -> None:
    """One line: how much faster on this CPU, what it costs in accuracy (paired interval), and whether to ship it."""
    from rarn_edge.artifact import Artifact
    from rarn_edge.cli.inputs import comparison_faces, warn_host
    from rarn_edge.parity.chain import check_same_model
    from rarn_edge.verdict import measure

    before, after = Artifact.load(reference), Artifact.load(candidate)
    check_same_model([before, after], None)
    warn_host(after.contract.target)
    faces, labels, description = comparison_faces(data, split, before.spec.classes)
    result = measure(before, after, faces, labels, threads or 1, rounds, median_channels(after))
    if as_json:
        print_json({"faces": description, "threads": threads, **result.to_dict()})
    else:
        say(f"{after.spec.name} on {description}: {result.line()}")


def median_channels(artifact: "Artifact") -> int | None:
    """Output channels of the median convolution, where onnx is at hand to look: it explains a missing speed-up."""
    import statistics
    from importlib.util import find_spec

    if find_spec("onnx") is None:
        return None
    from rarn_edge.audit.executed import executed_graph

    widths = [
        node.weight_shape[0] for node in executed_graph(artifact).nodes if node.is_convolution and node.weight_shape
    ]
    return int(statistics.median(widths)) if widths else None
