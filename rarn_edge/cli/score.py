"""`rarn-edge score`: many images to one table."""

from rarn_edge.cli import options as o
from rarn_edge.cli.app import USE, app, err, note, print_json, say, with_device
from rarn_edge.errors import InputError, require_extra


@app.command(rich_help_panel=USE)
def score(
    inputs: o.ScoreInputs,
    output: o.Table,
    model: o.AnyModel = "rarn-s",
    labels: o.Labels = None,
    workers: o.Workers = None,
    engine: o.Engine = "local",
    column: o.Column = "image",
    rows_per_part: o.RowsPerPart = 1024,
    max_megapixels: o.ErrorMegapixels = 50,
    provider: o.Provider = "cpu",
    device: o.Device = None,
    as_json: o.Json = False,
) -> None:
    """Score folders and archives of any size into one table; after a kill, the same command goes on."""
    provider = with_device(provider, device)
    require_extra("onnxruntime", "cpu")
    from rarn_edge.boundary.limits import pixels_of
    from rarn_edge.cli.progress import image_progress
    from rarn_edge.device.model import find_model_file
    from rarn_edge.host.threads import default_threads
    from rarn_edge.score.run import Engine
    from rarn_edge.score.run import score as score_all

    engines: dict[str, Engine] = {"local": "local", "ray": "ray"}
    if engine not in engines:
        raise InputError(f"no engine '{engine}'; one of: local, ray")
    with image_progress(err, "score") as on_progress:
        scored = score_all(
            inputs,
            output,
            find_model_file(model, labels),
            workers=workers or default_threads(),
            engine=engines[engine],
            column=column,
            provider=provider,
            rows_per_part=rows_per_part,
            max_pixels=pixels_of(max_megapixels),
            on_rows=lambda rows: on_progress(rows, None),
        )
    for name in scored.damaged:
        note(f"{output}.parts/{name} was damaged and is scored again", "notice")
    if scored.left:
        note(f"{output}.parts stays: it holds {', '.join(scored.left)}, which no run of score wrote", "notice")
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
