"""`rarn-edge audit`: what an INT8 file really does here."""

from rarn_edge.cli.app import CHECK, app, note, out, print_json
from rarn_edge.cli.options import Json, MaxFlips, MinInt8, OnnxFile, OptionalData, Split, Threads
from rarn_edge.errors import GateError, require_extra


@app.command(rich_help_panel=CHECK)
def audit(
    file: OnnxFile,
    data: OptionalData = None,
    split: Split = None,
    min_int8: MinInt8 = None,
    max_saturation_flips: MaxFlips = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Show what ONNX Runtime really runs in INT8 on this CPU, each float island with its reason, and saturation."""
    require_extra("onnx", "export")
    from rarn_edge.report.audit import audit_table
    from rarn_edge.workflow.audit import audit as audit_file

    done = audit_file(file, data=data, split=split, threads=threads, on_notice=note)
    if as_json:
        print_json(done.to_dict())
    else:
        out.print(audit_table(done.audit).to_rich())
    for warning in done.audit.warnings:
        note(warning, "warning")
    failures = done.audit.failures(min_int8, max_saturation_flips)
    if failures:
        raise GateError("the audit failed\n" + "\n".join(failures))
