"""`rarn-edge verify`: hold a model against its evidence on the machine that will run it."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import CHECK, Device, Json, Provider, Threads, app, note, out, print_json, say, with_device
from rarn_edge.errors import GateError, InputError, require_extra

_ANSWERS = {True: "yes", False: "NO", None: "the bundle names no files"}


@app.command(rich_help_panel=CHECK)
def verify(
    bundle: Annotated[
        Path | None,
        typer.Argument(help="From `parity --bundle` (default: the shipped ones)", metavar="FILE.rarn-parity"),
    ] = None,
    file: Annotated[Path | None, typer.Argument(help="The ONNX file to check", metavar="MODEL.onnx")] = None,
    provider: Provider = "cpu",
    device: Device = None,
    threads: Threads = None,
    tolerances: Annotated[Path | None, typer.Option(help="TOML with other limits than the bundle's")] = None,
    rebuilt: Annotated[
        bool, typer.Option("--rebuilt", help="Accept a file made anew: judge its answers, not its bytes")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check a model on this device against a parity bundle; needs no torch. Without arguments: the shipped models."""
    provider = with_device(provider, device)
    require_extra("onnxruntime", "cpu")
    from dataclasses import replace

    from rarn_edge.assets import shipped_bundle, shipped_onnx, shipped_onnx_models
    from rarn_edge.cli.gate import gate
    from rarn_edge.contract.targets import detect_host
    from rarn_edge.files import file_sha256
    from rarn_edge.parity.bundle import load_bundle
    from rarn_edge.parity.tolerances import read_tolerances
    from rarn_edge.parity.verify import verify as verify_file
    from rarn_edge.report.ledger import ledger_table, limits_table

    if bundle is not None and file is None:
        raise InputError(f"which model? rarn-edge verify {bundle} MODEL.onnx")
    pairs = (
        [(bundle, file)] if bundle and file else [(shipped_bundle(m), shipped_onnx(m)) for m in shipped_onnx_models()]
    )
    other = None if tolerances is None else read_tolerances(tolerances)
    results = []
    for evidence, model in pairs:
        loaded = load_bundle(evidence)
        loaded = loaded if other is None else replace(loaded, tolerances=other)
        results.append((loaded, model, verify_file(loaded, model, provider, threads)))
    hops = [hop for _, _, checked in results for hop in checked]
    known = {model: loaded.speaks_for(file_sha256(model)) for loaded, model, _ in results}
    if as_json:
        reports = [
            {"file": str(model), "known_file": known[model], "faces": loaded.shown.description,
             "classes": loaded.spec.classes, "versions": loaded.versions,
             "hops": [hop.to_dict() for hop in checked]}
            for loaded, model, checked in results
        ]  # fmt: skip
        print_json(reports)
    else:
        for loaded, model, checked in results:
            out.print(ledger_table(checked, f"{loaded.shown.description}: {model.name}"))
            out.print(limits_table(checked))
            say(f"{model.name} is byte for byte a file the bundle was written for: {_ANSWERS[known[model]]}")
        note(f"host {detect_host().explain()}")
        if all(hop.passed for hop in hops) and (rebuilt or False not in known.values()):
            names = ", ".join(model.name for _, model, _ in results)
            say(f"{names}: answers as where the bundle was made")
    gate(hops)
    for loaded, model, _ in results:
        if known[model] is False and not rebuilt:
            expected = ", ".join(f"{file.name} {file.sha256[:12]}" for file in loaded.files)
            raise GateError(
                f"{model}: sha256 {file_sha256(model)[:12]} is none that the bundle was written for ({expected});\n"
                "it was damaged or changed. If it was made anew from the same weights: --rebuilt judges its answers alone"
            )
