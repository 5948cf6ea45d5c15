"""Hold models against their evidence on the machine that will run them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rarn_edge.assets import shipped_files
from rarn_edge.boundary.paths import shown
from rarn_edge.contract.artifact import model_sha256
from rarn_edge.errors import InputError
from rarn_edge.parity.bundle import Bundle, load_bundle
from rarn_edge.parity.report import ParityReport
from rarn_edge.parity.tolerances import read_tolerances
from rarn_edge.parity.verify import verify as verify_file
from rarn_edge.workflow.callbacks import AnyPath


@dataclass(frozen=True)
class VerifyResult:
    """One file beside the evidence for it."""

    file: Path
    bundle: Bundle
    report: ParityReport
    sha256: str  # of the file

    @property
    def known_file(self) -> bool | None:
        """Whether the bundle was written for exactly this file; None where it names none."""
        return self.bundle.speaks_for(self.sha256)

    def passed(self, rebuilt: bool = False) -> bool:
        """Whether it answers as it must and, unless it was `rebuilt`, is byte for byte a file of the bundle."""
        return self.report.passed and (rebuilt or self.known_file is not False)

    def to_dict(self) -> dict[str, Any]:
        return {
            "file": str(self.file),
            "known_file": self.known_file,
            "faces": self.report.faces,
            "classes": self.report.classes,
            "versions": self.bundle.versions,
            "hops": [step.to_dict() for step in self.report.steps],
        }


def verify(
    bundle: AnyPath | None = None,
    file: AnyPath | None = None,
    *,
    provider: str = "cpu",
    threads: int | None = None,
    tolerances: AnyPath | None = None,
) -> tuple[VerifyResult, ...]:
    """Check a model against a parity bundle; needs numpy and onnxruntime alone. Without arguments: the shipped models.

    Args:
        bundle: From `parity`.
        file: The ONNX file to check.
        provider: That runs it; never falls back to another.
        threads: Default: the cores this process may use.
        tolerances: A TOML file with other limits than the bundle's.

    Raises:
        InputError: a bundle without a file, a damaged one, or one of another model.
        ProviderError: the provider cannot be had or does not take the whole graph.

    Example:
        >>> import rarn_edge
        >>> all(result.passed() for result in rarn_edge.verify(threads=1))
        True
    """
    if bundle is not None and file is None:
        load_bundle(Path(bundle))  # says what is wrong with it first
        raise InputError(f"which model? rarn-edge verify {shown(Path(bundle))} MODEL.onnx")
    if bundle is None and file is not None:
        raise InputError(f"which parity bundle? rarn-edge verify BUNDLE {shown(Path(file))}")
    pairs = shipped_files() if bundle is None or file is None else ((Path(bundle), Path(file)),)
    other = None if tolerances is None else read_tolerances(Path(tolerances))
    results = []
    for evidence, model in pairs:
        loaded = load_bundle(evidence)
        loaded = loaded if other is None else replace(loaded, tolerances=other)
        report = verify_file(loaded, model, provider, threads)
        results.append(VerifyResult(model, loaded, report, model_sha256(model)))
    return tuple(results)
