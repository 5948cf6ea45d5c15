"""`rarn-edge score`: many images to one table."""

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rarn_edge.cli import options as o
from rarn_edge.cli.app import USE, app, err, note, print_json, say, with_device
from rarn_edge.errors import InputError, require_extra

if TYPE_CHECKING:
    from rarn_edge.score.run import Scored


@app.command(rich_help_panel=USE)
def score(
    inputs: o.ScoreInputs,
    output: o.Table,
    model: o.AnyModel = "rarn-s",
    labels: o.Labels = None,
    photos: o.Photos = False,
    detector: o.Detector = None,
    detect_side: o.DetectSide = None,
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
    from rarn_edge.boundary.names import one_of
    from rarn_edge.cli.progress import image_progress
    from rarn_edge.device.faces import DETECT_SIDE_PX
    from rarn_edge.device.model import find_model_file
    from rarn_edge.host.threads import default_threads
    from rarn_edge.score.run import Engine
    from rarn_edge.score.run import score as score_all

    chosen: Engine = one_of(engine, get_args(Engine), "engine")
    if (detector is not None or detect_side is not None) and not photos:
        raise InputError("--detector and --detect-side are about the faces of photographs: add --photos")
    with image_progress(err, "score") as on_progress:
        scored = score_all(
            inputs,
            output,
            find_model_file(model, labels),
            workers=workers or default_threads(),
            engine=chosen,
            column=column,
            provider=provider,
            rows_per_part=rows_per_part,
            max_pixels=pixels_of(max_megapixels),
            photos=photos,
            detector=detector,
            detect_side_px=detect_side or DETECT_SIDE_PX,
            on_images=lambda images: on_progress(images, None),
        )
    _tell(scored, output, photos, as_json)


def _tell(scored: "Scored", output: Path, photos: bool, as_json: bool) -> None:
    """What was done; images that could not be read are an error."""
    counts = scored.counts
    for name in scored.damaged:
        note(f"{output}.parts/{name} was damaged and is scored again", "notice")
    if scored.left:
        note(f"{output}.parts stays: it holds {', '.join(scored.left)}, which no run of score wrote", "notice")
    if counts.noticed:
        note(
            f"{counts.noticed:,} images with a notice: animated, damaged, or photos without --photos (column notice)",
            "notice",
        )
    if as_json:
        figures = {"images": counts.images, "rows": counts.rows, "failed": counts.failed, "noticed": counts.noticed}
        found = {"without_face": counts.without_face} if photos else {}
        print_json({"output": str(scored.out), **figures, **found, "resumed_rows": scored.resumed.rows})
    else:
        of = f" of {counts.images:,} photographs, {counts.without_face:,} of them without a face" if photos else ""
        resumed = f"; {scored.resumed.rows:,} rows by an earlier run" if scored.resumed.rows else ""
        say(f"{scored.out}: {counts.rows:,} rows{of}{resumed}")
    if counts.failed:
        raise InputError(
            f"{counts.failed:,} of {counts.images:,} images could not be read; their rows say why (column error)"
        )
