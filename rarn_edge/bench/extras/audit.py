"""What an INT8 file does on this machine, in the few facts that stand beside its speed; `rarn-edge audit FILE` says more."""

from dataclasses import dataclass
from pathlib import Path

from rarn_edge.contract.artifact import Artifact
from rarn_edge.errors import require_extra

AUDIT_FACES = 512  # drawn ones: decisions that saturation flips


@dataclass(frozen=True)
class AuditFacts:
    """Of one file."""

    label: str
    convolutions: int
    int8_convolutions: int
    int8_share: float | None  # of the multiply-adds of convolutions and matrix products; None: there are none
    islands: tuple[str, ...]  # float islands: operators, where, why
    conversions: int  # QuantizeLinear and DequantizeLinear that remain
    conversion_time_share: float
    saturation_flips: int | None  # decisions; None: not known
    saturation_images: int
    fused_db: float  # signal to noise of the logits against the float simulation


def audit_facts(label: str, path: Path, threads: int) -> AuditFacts:
    """Audit a file; runs in a worker, for it loads onnx.

    Raises:
        InputError: onnx is not installed, or the file cannot be run.
    """
    require_extra("onnx", "export")
    from rarn_edge.audit.run import audit
    from rarn_edge.data.synthetic import drawn_for

    artifact = Artifact.load(path)
    found = audit(artifact, drawn_for(artifact.spec.preprocess, AUDIT_FACES, 0).pixels, threads)
    islands = (
        f"{', '.join(dict.fromkeys(each.operators))} at {each.nodes[0]}: {each.reason}" for each in found.islands
    )
    return AuditFacts(
        label=label,
        convolutions=found.convolutions,
        int8_convolutions=found.int8_convolutions,
        int8_share=found.int8_share,
        islands=tuple(islands),
        conversions=sum(found.conversions.values()),
        conversion_time_share=found.conversion_time_share,
        saturation_flips=found.saturation.saturation_flips,
        saturation_images=found.saturation.images,
        fused_db=found.saturation.fused_db,
    )
