"""What an INT8 file really does on this machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rarn_edge.audit.run import Audit
from rarn_edge.audit.run import audit as audit_file
from rarn_edge.contract.artifact import Artifact
from rarn_edge.workflow.callbacks import AnyPath, OnNotice, warn
from rarn_edge.workflow.inputs import comparison_faces


@dataclass(frozen=True)
class AuditResult:
    """The audit, and the faces that saturation was measured on."""

    audit: Audit
    faces: str

    def to_dict(self) -> dict[str, Any]:
        return {"faces": self.faces, **self.audit.to_dict()}


def audit(
    file: AnyPath,
    *,
    data: AnyPath | None = None,
    split: str | None = None,
    threads: int | None = None,
    on_notice: OnNotice = warn,
) -> AuditResult:
    """What ONNX Runtime runs in INT8 on this CPU, each float island with its reason, and what saturation changes.

    Args:
        file: An ONNX file with its contract.
        data: Labelled faces (default: synthetic ones).
        split: Of `data` (default: the held-out one).
        threads: Default: the cores this process may use.
        on_notice: Told what a caller should know.

    Raises:
        InputError: the file cannot be run, or unusable faces.

    Example:
        >>> import rarn_edge
        >>> from rarn_edge.assets import shipped_onnx
        >>> found = rarn_edge.audit(shipped_onnx("rarn-n")).audit
        >>> found.int8_convolutions == found.convolutions
        True
    """
    artifact = Artifact.load(Path(file))
    shown = comparison_faces(data, split, artifact.spec, on_notice=on_notice)
    return AuditResult(audit_file(artifact, shown.faces.pixels, threads), shown.description)
