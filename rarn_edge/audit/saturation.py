"""What saturation changes: the same file run three ways on the same faces.

Without VNNI, x86 adds pairs of u8 x s8 products in 16 bits. `session.x64quantprecision=1` adds them in 32, slower; with
optimisation off the graph runs as a float simulation. What differs between the first two is saturation and nothing else.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.errors import InputError, ProviderError
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import open_session
from rarn_edge.stats.sqnr import sqnr_db


@dataclass(frozen=True)
class Saturation:
    """Signal-to-noise in dB against the float simulation (`MAX_SQNR_DB`: equal), and decisions flipped.

    Without unsaturated sums (ONNX Runtime has no such kernels for signed activations) nothing is known of saturation: None.
    """

    images: int
    fused_db: float
    unsaturated_db: float | None
    saturation_flips: int | None  # decisions, fused against unsaturated
    simulation_flips: int  # decisions, fused against the float simulation


def check_saturation(artifact: Artifact, images: NDArray[np.uint8], threads: int | None = None) -> Saturation:
    """Run gray faces [N, H, W] uint8 three ways."""
    fused = run_logits(open_session(artifact.path, threads=threads), artifact.spec, images)
    simulated = run_logits(open_unoptimised(artifact.path, threads=threads or 1), artifact.spec, images)
    unsaturated = _unsaturated(artifact, images, threads)
    return Saturation(
        len(images),
        sqnr_db(simulated, fused),
        None if unsaturated is None else sqnr_db(simulated, unsaturated),
        None if unsaturated is None else int((fused.argmax(1) != unsaturated.argmax(1)).sum()),
        int((fused.argmax(1) != simulated.argmax(1)).sum()),
    )


def _unsaturated(artifact: Artifact, images: NDArray[np.uint8], threads: int | None) -> NDArray[np.float32] | None:
    """Logits [N, classes] with sums in 32 bits; None where ONNX Runtime cannot open the file so, which opened otherwise."""
    try:
        session = open_session(artifact.path, threads=threads, config={"session.x64quantprecision": "1"})
    except (InputError, ProviderError):
        return None
    return run_logits(session, artifact.spec, images)
