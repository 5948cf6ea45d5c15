"""`rarn-edge score`: many images to one table."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import USE, Device, Json, Provider, app, err, print_json, say, with_device
from rarn_edge.errors import InputError, require_extra


@app.command(rich_help_panel=USE)
def score(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Folders, .zip, .tar, .parquet, or folders of these")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .parquet or .csv file to write")],
    model: Annotated[str, typer.Option(help="A shipped model's name, or an ONNX file")] = "rarn-s",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes (default: the cores this one may use)")] = None,
    engine: Annotated[str, typer.Option(help="local, or ray: a cluster (RAY_ADDRESS)")] = "local",
    column: Annotated[str, typer.Option(help="The Parquet column with image files as bytes")] = "image",
    rows_per_part: Annotated[int, typer.Option(min=1, help="Images in a part; a kill costs a worker one part")] = 1024,
    max_megapixels: Annotated[float, typer.Option(min=0.001, help="Larger images become rows with an error")] = 50,
    provider: Provider = "cpu",
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Score folders and archives of any size into one table; after a kill, the same command goes on."""
    provider = with_device(provider, device)
    require_extra("onnxruntime", "cpu")
    from rarn_edge.device.model import find_model_file
    from rarn_edge.host.threads import default_threads
    from rarn_edge.report.progress import image_progress
    from rarn_edge.score.run import Engine
    from rarn_edge.score.run import score as score_all

    engines: dict[str, Engine] = {"local": "local", "ray": "ray"}
    if engine not in engines:
        raise InputError(f"no engine '{engine}'; one of: local, ray")
    with image_progress(err, "score") as on_progress:
        scored = score_all(
            inputs,
            output,
            find_model_file(model),
            workers=workers or default_threads(),
            engine=engines[engine],
            column=column,
            provider=provider,
            rows_per_part=rows_per_part,
            max_pixels=round(max_megapixels * 1e6),
            on_rows=lambda rows: on_progress(rows, None),
        )
    if as_json:
        figures = {"rows": scored.rows, "failed": scored.failed, "resumed_rows": scored.resumed_rows}
        print_json({"output": str(scored.out), **figures})
    else:
        resumed = f", {scored.resumed_rows:,} of them by an earlier run" if scored.resumed_rows else ""
        say(f"{scored.out}: {scored.rows:,} rows{resumed}")
    if scored.failed:
        raise InputError(
            f"{scored.failed:,} of {scored.rows:,} images could not be read; their rows say why (column error)"
        )
