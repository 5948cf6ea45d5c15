"""What an ONNX file is, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rarn_edge.report.table import Table, facts

if TYPE_CHECKING:
    from rarn_edge.contract.artifact import Contract
    from rarn_edge.pipeline.inspect import Inspection


def inspection_table(found: Inspection) -> Table:
    """The file, its graph, and its contract or what one would need."""
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in found.opsets.items())
    rows = [
        ("file", f"{found.file}: {found.size_bytes:,} bytes, written by {found.producer or 'an unnamed tool'}"),
        *(("input", port.describe()) for port in found.inputs),
        *(("output", port.describe()) for port in found.outputs),
        ("ends in", _ending(found)),
        ("opset", opsets),
        ("operators", _listed(found.operators)),
        ("no INT8 kernel", _listed(found.without_int8_kernel) or "none"),
        ("parameters", f"{found.parameters:,}"),
        ("multiply-adds", _multiply_adds(found)),
        ("quantized", _quantized(found)),
    ]
    if found.contract is not None:
        rows += _contract(found.contract)
    else:
        rows.append(("contract", found.contract_problem or "none"))
        rows += [("missing" if not index else "", text) for index, text in enumerate(found.missing)]
    return facts("", rows)


def _ending(found: Inspection) -> str:
    if found.contract is None and len(found.outputs) > 1:
        return "not known: several outputs, and no contract that names the one with the classes"
    return found.ends_in or "neither softmax nor sigmoid: logits"


def _listed(operators: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in operators.items())


def _multiply_adds(found: Inspection) -> str:
    if found.multiply_adds is None:
        return f"not known: {found.multiply_adds_missing}"
    return f"{found.multiply_adds.total:,} for one picture"


def _quantized(found: Inspection) -> str:
    if found.quantization is None:
        return "no"
    text = f"{found.quantization}: {found.quantized_layers} of {found.layers} convolutions and matrix products"
    share = None if found.multiply_adds is None else found.multiply_adds.in_int8
    asked = "" if share is None else f", {share:.1%} of the multiply-adds by the graph"
    return f"{text}{asked}; what really runs in INT8: rarn-edge audit"


def _contract(contract: Contract) -> list[tuple[str, str]]:
    spec, size = contract.spec, contract.spec.preprocess
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (size.mean, size.std))
    return [
        ("contract", f"{spec.name}: {contract.precision}" + (f" for {contract.target}" if contract.target else "")),
        ("classes", f"{len(spec.classes)}: {', '.join(spec.classes)}; labels: {spec.label_source}"),
        ("answers", f"{spec.output}, temperature {spec.temperature:g}"),
        (
            "pictures",
            f"{size.color}, {list(spec.input_shape)} ({spec.layout[1:]}) {spec.input_dtype}, mean {mean}, deviation {std}",
        ),
        *([("made elsewhere", contract.made_elsewhere)] if contract.made_elsewhere else []),
    ]
