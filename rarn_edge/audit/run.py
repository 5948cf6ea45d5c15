"""The audit: one value that says what an INT8 file does on this machine, and the gates over it."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rarn_edge.audit.executed import executed_graph
from rarn_edge.audit.islands import Island, find_islands
from rarn_edge.audit.saturation import Saturation, check_saturation
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import detect_host


@dataclass(frozen=True)
class Audit:
    """Of one file on one host; shares are of multiply-adds or of profiled time."""

    file: str
    precision: str
    target: str | None
    host: str
    quantized: bool  # whether anything runs in integers or converts
    convolutions: int
    int8_convolutions: int
    int8_share: float | None  # of the multiply-adds of convolutions and matrix products; None: there are none
    islands: tuple[Island, ...]
    conversions: dict[str, int]  # Q and DQ nodes that remain
    conversion_time_share: float
    operators: dict[str, int]  # everything that ran
    saturation: Saturation
    warnings: tuple[str, ...]
    made_elsewhere: str | None = None  # what another tool did, where one made the file

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def failures(self, min_int8: float | None, max_flips: int | None) -> list[str]:
        """What misses the gates, one line each."""
        found = []
        if min_int8 is not None and (self.int8_share is None or not self.int8_share >= min_int8):
            share = "nothing" if self.int8_share is None else f"{self.int8_share:.1%}"
            found.append(f"{share} of the multiply-adds run in INT8, at least {min_int8:.1%} asked for")
        flips = self.saturation.saturation_flips
        if max_flips is not None and flips is None:
            found.append(
                "what saturation changes is not known: ONNX Runtime cannot open this file with 32-bit sums; a file of"
                " rarn-edge quantize it can"
            )
        if max_flips is not None and flips is not None and flips > max_flips:
            found.append(
                f"saturation flips {flips} of {self.saturation.images} decisions, at most"
                f" {max_flips} allowed; quantize for this host: --target {detect_host().target.value}"
            )
        return found


def audit(artifact: Artifact, images: NDArray[np.uint8], threads: int | None = None) -> Audit:
    """Audit a file on gray faces [N, H, W] uint8.

    Raises:
        InputError: ONNX Runtime cannot run it.
    """
    graph = executed_graph(artifact)
    convolutions = [node for node in graph.nodes if node.is_convolution]
    in_int8 = [node for node in convolutions if node.kind == "integer"]
    total = sum(node.multiply_adds for node in graph.nodes)
    conversions = [node for node in graph.nodes if node.kind == "convert"]
    time_s = sum(node.time_s for node in graph.nodes)
    host = detect_host()
    mismatch = host.mismatch(artifact.contract.target)
    quantized = any(node.kind in ("integer", "convert") for node in graph.nodes)
    plain = f"nothing in {artifact.path.name} is quantized; an INT8 file is made by: rarn-edge quantize {artifact.path.name}"
    return Audit(
        file=str(artifact.path),
        precision=artifact.contract.precision,
        target=None if artifact.contract.target is None else artifact.contract.target.value,
        host=host.explain(),
        quantized=quantized,
        convolutions=len(convolutions),
        int8_convolutions=len(in_int8),
        int8_share=sum(node.multiply_adds for node in graph.nodes if node.kind == "integer") / total if total else None,
        islands=tuple(find_islands(graph)) if quantized else (),  # a float file is none of them
        conversions=dict(Counter(node.operator for node in conversions)),
        conversion_time_share=sum(node.time_s for node in conversions) / time_s if time_s else 0.0,
        operators=dict(Counter(node.operator for node in graph.nodes).most_common()),
        saturation=check_saturation(artifact, images, threads),
        warnings=tuple(warning for warning in (mismatch, None if quantized else plain) if warning is not None),
        made_elsewhere=artifact.contract.made_elsewhere,
    )
