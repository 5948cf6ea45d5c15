"""What a model answers, as pictures for the page of a benchmark or of a whole run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rarn_edge.bench.cases import BenchCase
from rarn_edge.bench.extras.accuracy import Accuracy, is_trained
from rarn_edge.bench.result import BenchReport
from rarn_edge.evaluation.roll import roll_curve
from rarn_edge.report.drawing import Plot
from rarn_edge.report.evaluation_plots import confusion_plot, face_plot, roll_plot
from rarn_edge.stats.classification import evaluate_logits
from rarn_edge.workflow.inputs import ComparisonFaces, read_subject

ROLL_FACES = 512  # for a curve in a report; `evaluate --report` turns them all
_SEED = 0  # of the sample


@dataclass(frozen=True)
class Answers:
    """Pictures of what the last of some files says, and the accuracy of each by its label, where there are labels."""

    plots: tuple[Plot, ...]
    accuracy: dict[str, Accuracy]

    def beside(self, report: BenchReport) -> BenchReport:
        """The benchmark with the accuracies in its rows."""
        return replace(report, rows=tuple(replace(r, accuracy=self.accuracy.get(r.label)) for r in report.rows))


def answers_of(files: Sequence[Path], faces: ComparisonFaces, threads: int | None) -> Answers:
    """Ask the files about the faces; without labels only a drawn face is shown."""
    subjects = {file.stem: read_subject(file, "cpu", threads, lambda *_: None) for file in files}
    label, last = list(subjects.items())[-1]
    plots, accuracy = [face_plot(label, last.spec, last.predict)], {}
    labels = faces.labels
    if labels is not None:
        for name, subject in subjects.items():
            found = evaluate_logits(subject.predict(faces.faces.images), labels, subject.classes)
            bounds = (found.accuracy, found.accuracy_low, found.accuracy_high)
            accuracy[name] = Accuracy(*bounds, found.images, faces.description)
        count = min(len(labels), ROLL_FACES)
        some = np.sort(np.random.default_rng(_SEED).choice(len(labels), count, replace=False))
        curve = roll_curve(last.predict, faces.faces.pixels[some], labels[some])
        of = faces.description if count == len(labels) else f"{count} of {faces.description}"
        plots += [confusion_plot(label, found), roll_plot([(label, curve)], of)]
    return Answers(tuple(plots), accuracy)


def shown_face(cases: Sequence[BenchCase], report: BenchReport, provider: str) -> tuple[Plot, ...]:
    """What the first trained model of a benchmark says of a drawn face."""
    measured = {row.label for row in report.rows}
    for case in cases:
        if case.label in measured and is_trained(case):
            subject = read_subject(case.path, provider, None, lambda *_: None)
            return (face_plot(case.label, subject.spec, subject.predict),)
    return ()
