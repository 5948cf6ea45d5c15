"""What an INT8 file does on this machine, in the few facts that stand beside its speed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # it loads onnx
    from rarn_edge.audit.run import Audit


@dataclass(frozen=True)
class AuditFacts:
    """Of one file; `rarn-edge audit FILE` says more."""

    label: str
    convolutions: int
    int8_convolutions: int
    int8_share: float | None  # of the convolutions' multiply-adds; None: no convolution
    islands: tuple[str, ...]  # float islands: operators, where, why
    conversions: int  # QuantizeLinear and DequantizeLinear that remain
    conversion_time_share: float
    saturation_flips: int  # decisions
    saturation_images: int
    fused_db: float  # signal to noise of the logits against the float simulation

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "AuditFacts":
        """Read what `asdict` and JSON made."""
        return cls(**{**data, "islands": tuple(data["islands"])})


def audit_facts(audit: "Audit") -> dict[str, Any]:
    """JSON-ready; the label is the caller's."""
    facts = AuditFacts(
        label="",
        convolutions=audit.convolutions,
        int8_convolutions=audit.int8_convolutions,
        int8_share=audit.int8_share,
        islands=tuple(
            f"{', '.join(dict.fromkeys(each.operators))} at {each.nodes[0]}: {each.reason}" for each in audit.islands
        ),
        conversions=sum(audit.conversions.values()),
        conversion_time_share=audit.conversion_time_share,
        saturation_flips=audit.saturation.saturation_flips,
        saturation_images=audit.saturation.images,
        fused_db=audit.saturation.fused_db,
    )
    return asdict(facts)
