"""From hops to an exit code; apart from `inputs`, whose reading of images a check of a bundle does not need."""

from rarn_edge.errors import GateError
from rarn_edge.parity.hops import Hop
from rarn_edge.report.parity import allowed, figure_text


def gate(hops: list[Hop]) -> None:
    """Raise when a hop failed, naming the hop, what was measured and what was allowed."""
    failures = [
        f"{hop.before} -> {hop.after}: {check.figure} {figure_text(check.measured, check)}, allowed {allowed(check)}"
        for hop in hops
        for check in hop.checks
        if not check.passed
    ]
    if failures:
        raise GateError(f"parity failed in {len(failures)} of its checks\n" + "\n".join(failures))
