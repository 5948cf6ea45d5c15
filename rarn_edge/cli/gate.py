"""From a parity report to an exit code."""

from rarn_edge.errors import GateError
from rarn_edge.parity.report import ParityReport
from rarn_edge.report.parity import check_texts


def gate(*reports: ParityReport) -> None:
    """Raise when a step failed, naming the step, what was measured and what was allowed."""
    failures = [
        "{} -> {}: {} {}, allowed {}".format(
            step.measured.before, step.measured.after, check.figure, *check_texts(check)
        )
        for report in reports
        for step in report.steps
        for check in step.checks
        if not check.passed
    ]
    if failures:
        raise GateError(f"parity failed in {len(failures)} of its checks\n" + "\n".join(failures))
