"""Run the forms of one model - torch, then files in pipeline order - on the same faces."""

from itertools import pairwise
from typing import TYPE_CHECKING

from rarn_edge.contract.artifact import Artifact
from rarn_edge.data import Faces
from rarn_edge.errors import InputError
from rarn_edge.parity.hops import Form
from rarn_edge.parity.inputs import Shown
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import open_session

if TYPE_CHECKING:
    from rarn_edge.train.checkpoint import Weights


def torch_form(weights: "Weights", faces: Faces | Shown) -> Form:
    """The answers of the torch model, the head of the chain."""
    from rarn_edge.train.evaluate import torch_logits

    return Form("torch", "float32", torch_logits(weights.model(), weights.spec.preprocess, faces.images))


def file_form(artifact: Artifact, faces: Faces | Shown, provider: str = "cpu", threads: int | None = None) -> Form:
    """The answers of an ONNX file as its provider really runs it (fused and optimised)."""
    session = open_session(artifact.path, provider, threads)
    return Form(
        artifact.path.name, artifact.contract.precision, run_logits(session, artifact.spec, faces.images, finite=False)
    )


def check_same_model(artifacts: list[Artifact], weights: "Weights | None") -> None:
    """Refuse to compare files of different models or different weights.

    Raises:
        InputError: which two differ, and in what.
    """
    names = [(str(a.path), a.spec.name, a.spec.classes) for a in artifacts]
    hashes = [(str(a.path), a.contract.provenance.get("weights_sha256")) for a in artifacts]
    if weights is not None:
        names.insert(0, ("the weights", weights.spec.name, weights.spec.classes))
        hashes.insert(0, ("the weights", weights.sha256))
    for (first, *before), (second, *after) in pairwise(names):
        if before != after:
            raise InputError(
                f"{first} is '{before[0]}' and {second} is '{after[0]}': parity compares forms of one model"
            )
    known = [(name, sha) for name, sha in hashes if sha]
    for (first, sha), (second, other) in pairwise(known):
        if sha != other:
            raise InputError(f"{first} and {second} were made from different weights ({sha[:12]}, {other[:12]})")
