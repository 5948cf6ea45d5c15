"""`rarn-edge predict`: expressions in face crops, photographs, videos and from a camera."""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rarn_edge.boundary.documents import to_json
from rarn_edge.boundary.limits import pixels_of
from rarn_edge.boundary.names import csv_row
from rarn_edge.cli import options as o
from rarn_edge.cli.app import USE, app, err, note, say, with_device
from rarn_edge.errors import InputError, require_extra

if TYPE_CHECKING:
    from rarn_edge.device.predict import Answered


@app.command(rich_help_panel=USE)
def predict(
    sources: o.Sources,
    model: o.AnyModel = "rarn-s",
    labels: o.Labels = None,
    provider: o.Provider = "cpu",
    device: o.Device = None,
    threads: o.Threads = None,
    min_confidence: o.MinConfidence = 0.0,
    as_json: o.JsonLines = False,
    as_csv: o.Csv = False,
    annotate: o.Annotate = None,
    show: o.Show = False,
    explain: o.ExplainMask = False,
    detector: o.Detector = None,
    detect_side: o.DetectSide = None,
    boxes: o.Boxes = None,
    crop: o.Crop = False,
    every: o.Every = 1,
    max_fps: o.MaxFps = None,
    smooth: o.Smooth = 0.5,
    max_megapixels: o.RefuseMegapixels = 50,
) -> None:
    """Expressions in face crops, photographs, folders, videos, or from a camera."""
    provider = with_device(provider, device)
    require_extra("onnxruntime", "cpu")
    from rarn_edge.cli.progress import image_progress
    from rarn_edge.device.classifier import Classifier
    from rarn_edge.device.faces import DETECT_SIDE_PX, open_detector, read_boxes
    from rarn_edge.device.predict import Finding, answer_pictures
    from rarn_edge.device.sources import Reading, ahead, find_sources, is_camera, is_video, read_pictures

    _check(as_json, as_csv, explain and annotate is None and not show, (boxes, detector, crop))
    found = find_sources(sources)
    counted = len(found) > 1 and not any(is_video(source) for source in found)
    given = None if boxes is None else read_boxes(boxes)
    classifier = Classifier(model, labels=labels, provider=provider, threads=threads, min_confidence=min_confidence)
    if classifier.host_warning:
        note(classifier.host_warning, "warning")
    network = None if crop or given else open_detector(detector, detect_side or DETECT_SIDE_PX)
    _tell_detector(detector)
    drawn, as_crops = annotate is not None or show, True if crop else False if given else None
    colour, pixels = drawn or classifier.in_colour, pixels_of(max_megapixels)
    reading = Reading(as_crops, colour, every=every, max_fps=max_fps, pass_skipped=drawn, max_pixels=pixels)
    live = any(is_camera(source) for source in found)
    form = "json" if as_json else "csv" if as_csv else "table"
    failures = 0
    with ExitStack() as held:
        sinks = _sinks(held, annotate, show, found, explain, sources)
        pictures = ahead(lambda: read_pictures(found, reading), places=1 if live else 8)
        finding = Finding(network, given, crop)
        answers = answer_pictures(classifier, pictures, finding, smoothing_s=smooth, live=live, explain=explain)
        on_progress = held.enter_context(image_progress(err, "predict")) if counted else None
        for done, answered in enumerate(_printed(answers, form, classifier.classes, live), start=1):
            failures += answered.picture.error is not None
            if not all(sink(answered) for sink in sinks):
                break
            if on_progress:
                on_progress(done, len(found))
    if failures:
        raise InputError(f"{failures:,} of {len(found):,} sources could not be read or ended early")


def _sinks(
    held: ExitStack, annotate: Path | None, show: bool, sources: Sequence[str], explain: bool, walked: Sequence[str]
) -> list[Callable[["Answered"], bool]]:
    """Where drawn pictures go; each says whether more are wanted."""
    from rarn_edge.device.annotate import drawing
    from rarn_edge.device.window import window

    sinks: list[Callable[[Answered], bool]] = []
    if annotate is not None:
        drawn = held.enter_context(drawing(annotate, sources, explain, walked))

        def add(answered: "Answered") -> bool:
            drawn.add(answered)
            return True

        sinks.append(add)
    if show:
        sinks.append(held.enter_context(window(explain)).show)
    return sinks


def _tell_detector(detector: Path | None) -> None:
    """Which detector was asked for by name."""
    from rarn_edge.device.faces import describe_detector

    if detector is not None:
        note(f"faces by {describe_detector(detector)}")


def _check(as_json: bool, as_csv: bool, undrawn: bool, places: tuple[str | None, Path | None, bool]) -> None:
    """Refuse what cannot go together, and say what is wrong with the installation."""
    from rarn_edge.runtime.providers import installed_runtimes

    if as_json and as_csv:
        raise InputError("--json and --csv exclude each other")
    if undrawn:
        raise InputError("--explain draws, so it needs --annotate OUT or --show")
    said = [name for name, place in zip(("--boxes", "--detector", "--crop"), places, strict=True) if place]
    if len(said) > 1:
        raise InputError(f"{', '.join(said)}: each says where the faces are; give one")
    if len(rivals := installed_runtimes()) > 1:
        note(f"{' and '.join(rivals)} are installed together and overwrite each other; keep one", "warning")


def _printed(answers: "Iterable[Answered]", form: str, classes: Sequence[str], live: bool) -> "Iterator[Answered]":
    """Each answer, once it is printed as JSON lines, CSV or a table."""
    from rarn_edge.contract.spec import are_expressions
    from rarn_edge.report.predictions import TABLE_HEADER, csv_header, csv_rows, json_objects, table_lines

    table, faces = csv.writer(sys.stdout, lineterminator="\n"), 0
    if form == "csv":
        table.writerow(csv_row(csv_header(tuple(classes))))
    elif form == "table":
        say(TABLE_HEADER)
    for answered in answers:
        if answered.picture.error is not None:
            note(answered.picture.error, "skipped")
        if answered.picture.notice is not None:
            note(answered.picture.notice, "notice")
        if form == "json":
            for row in json_objects(answered):
                sys.stdout.write(to_json(row) + "\n")
        elif form == "csv":
            table.writerows(map(csv_row, csv_rows(answered, tuple(classes))))
        else:
            for line in table_lines(answered):
                say(line)
        if live:
            sys.stdout.flush()
        faces += len(answered.faces)
        yield answered
    if not faces and not are_expressions(classes):
        note("no face was found; for a model of other pictures than faces take each whole: --crop", "notice")
