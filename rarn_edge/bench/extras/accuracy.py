"""The accuracy of what was timed, each file evaluated in a process of its own."""

from dataclasses import dataclass
from pathlib import Path

from rarn_edge.bench.cases import BenchCase
from rarn_edge.contract.artifact import Artifact
from rarn_edge.stats.interval import Interval


@dataclass(frozen=True)
class Accuracy(Interval):
    """Share of right decisions on labelled faces, by the same file that was timed."""

    images: int
    faces: str  # which


def is_trained(case: BenchCase) -> bool:
    """Any file with a contract, unless that says that its weights are random: they have no accuracy worth stating."""
    return case.contract is not None and not str(case.contract.provenance.get("weights", "")).startswith("random")


def accuracy_of(
    path: Path, data: Path, split: str | None, votes: Path | None, provider: str, allow_fallback: bool = False
) -> Accuracy:
    """Evaluate a file on labelled faces; runs in a worker.

    With people's `votes` their majority is the label, and faces of a class that the model lacks are left out.

    Raises:
        InputError: unusable data, or a file without a valid contract.
        ProviderError: the provider cannot take the file.
    """
    from rarn_edge.data.load import load_faces
    from rarn_edge.data.select import describe, to_measure_on
    from rarn_edge.runtime.logits import run_logits
    from rarn_edge.runtime.providers import open_session
    from rarn_edge.stats.classification import evaluate_logits

    artifact = Artifact.load(path)
    spec = artifact.spec
    faces = load_faces(data, lambda found: to_measure_on(found, split), votes, preprocess=spec.preprocess)
    faces = faces if votes is None else faces.known_to(spec.classes)
    session = open_session(path, provider, allow_fallback=allow_fallback)
    logits = run_logits(session, spec, faces.images, artifact.contract.batch)
    found = evaluate_logits(logits, faces.labels_in(spec.classes), spec.classes)
    return Accuracy(found.accuracy, found.accuracy_low, found.accuracy_high, found.images, describe(faces))
