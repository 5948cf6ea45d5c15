"""The answers of a file on the faces of a comparison, and whether files may be compared at all."""

from itertools import pairwise

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.data import Faces
from rarn_edge.errors import InputError
from rarn_edge.parity.inputs import Shown
from rarn_edge.parity.steps import Execution, Form, Origin
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import open_session


def file_form(artifact: Artifact, faces: Faces | Shown, provider: str = "cpu", threads: int | None = None) -> Form:
    """The answers of an ONNX file as its provider really runs it (fused and optimised)."""
    session = open_session(artifact.path, provider, threads)
    logits = run_logits(session, artifact.spec, faces.images, artifact.contract.batch, finite=False)
    return Form(artifact.path.name, artifact.contract.precision, logits, Origin(Execution.RUN, artifact.path))


def check_same_model(
    artifacts: list[Artifact], spec: ModelSpec | None = None, weights_sha256: str | None = None
) -> None:
    """Refuse to compare files of different models or different weights; `spec` and the hash are of weights in torch.

    Raises:
        InputError: which two differ, and in what.
    """
    names = [(str(a.path), a.spec.name, a.spec.classes) for a in artifacts]
    hashes = [(str(a.path), a.contract.provenance.get("weights_sha256")) for a in artifacts]
    if spec is not None:
        names.insert(0, ("the weights", spec.name, spec.classes))
        hashes.insert(0, ("the weights", weights_sha256))
    for (first, *before), (second, *after) in pairwise(names):
        if before[0] != after[0]:
            raise InputError(f"{first} is '{before[0]}' and {second} is '{after[0]}': name forms of one model")
        if before != after:
            classes, others = (", ".join(listed) for listed in (before[1], after[1]))
            raise InputError(f"{first} and {second} tell other classes or in another order ({classes}; {others})")
    known = [(name, sha) for name, sha in hashes if sha]
    for (first, sha), (second, other) in pairwise(known):
        if sha != other:
            raise InputError(f"{first} and {second} were made from different weights ({sha[:12]}, {other[:12]})")
