"""`rarn-edge verify`: hold a model against its evidence on the machine that will run it."""

from rarn_edge.cli import options as o
from rarn_edge.cli.app import CHECK, app, note, out, print_json, say, with_device
from rarn_edge.errors import GateError, require_extra

_ANSWERS = {True: "yes", False: "NO", None: "the bundle names no files"}


@app.command(rich_help_panel=CHECK)
def verify(
    bundle: o.BundleFile = None,
    file: o.CheckedFile = None,
    provider: o.Provider = "cpu",
    device: o.Device = None,
    threads: o.Threads = None,
    tolerances: o.BundleTolerances = None,
    rebuilt: o.Rebuilt = False,
    verbose: o.Verbose = False,
    as_json: o.Json = False,
) -> None:
    """Check a model on this device against a parity bundle; needs no torch. Without arguments: the shipped models."""
    provider = with_device(provider, device)
    require_extra("onnxruntime", "cpu")
    from dataclasses import replace

    from rarn_edge.cli.gate import gate
    from rarn_edge.contract.targets import detect_host
    from rarn_edge.report.parity import parity_tables
    from rarn_edge.workflow.verify import verify as verify_files

    results = verify_files(bundle, file, provider=provider, threads=threads, tolerances=tolerances)
    if as_json:
        print_json([each.to_dict() for each in results])
    else:
        for each in results:
            tables = parity_tables(replace(each.report, faces=f"{each.report.faces}: {each.file.name}"))
            for table in tables if verbose else tables[:1]:
                out.print(table.to_rich())
            say(f"{each.file.name} is byte for byte a file the bundle was written for: {_ANSWERS[each.known_file]}")
        if verbose:
            note(f"host {detect_host().explain()}")
        if all(each.passed(rebuilt) for each in results):
            named = results[0].file.name if len(results) == 1 else f"{len(results)} files"
            say(f"{named}: answers as where the bundle was made")
    gate(*(each.report for each in results))
    for each in results:
        if not each.passed(rebuilt):
            expected = ", ".join(f"{file.name} {file.sha256[:12]}" for file in each.bundle.files)
            raise GateError(
                f"{each.file}: sha256 {each.sha256[:12]} is none that the bundle was written for ({expected});\n"
                "it was damaged or changed. If it was made anew from the same weights: --rebuilt judges its answers alone"
            )
