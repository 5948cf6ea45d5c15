"""The model card of a bundle: what it is, what was measured, how it was made, what it is not for; from the contract alone."""

import re

from rarn_edge.boundary.names import markdown
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import are_expressions
from rarn_edge.contract.targets import RECIPES
from rarn_edge.report.model_card import LABELS, LIMITS, MISUSE

_UNKNOWN = """\
- Where its pictures came from and whom or what they show is not recorded here: measure it on your own before relying on it.
- It knows the classes above alone, and answers one of them for any picture.
"""
_SHA256 = re.compile("[0-9a-f]{64}")


def board_card(artifact: Artifact, measured: str | None = None) -> str:
    """Markdown; `measured` is what is known of the model beyond its file."""
    contract, spec = artifact.contract, artifact.spec
    size = spec.preprocess
    facts = [
        ("precision", contract.precision),
        ("made for", f"{contract.target} ({RECIPES[contract.target].reason})" if contract.target else "any CPU"),
        ("file", f"{artifact.size_bytes:,} bytes, sha256 `{artifact.sha256}`"),
        ("parameters", f"{contract.parameters:,}" if contract.parameters is not None else "not recorded"),
        ("multiply-adds", f"{contract.multiply_adds:,}" if contract.multiply_adds is not None else "not recorded"),
        (
            "input",
            f"`{_code(spec.input_name)}` [N, {', '.join(map(str, spec.input_shape))}] {spec.input_dtype}, {spec.layout}",
        ),
        ("pictures", size.describe()),
        ("preprocessing", f"(pixel - {list(size.mean)}) / {list(size.std)}, pixels 0..255"),
        ("output", f"`{_code(spec.output_name)}` [N, {len(spec.classes)}]: {spec.output}"),
        ("classes, in order", ", ".join(map(markdown, spec.classes))),
        ("labels", LABELS.get(spec.label_source) or markdown(spec.label_source)),
        ("temperature", f"{spec.temperature:g} (logits are divided by it before the softmax)"),
    ]
    quality = [
        *([measured] if measured else []),
        *(_fact(key, value) for key, value in contract.quality.items()),
    ]
    # what a training measured on the way is of other weights and perhaps other labels
    kept = {
        key: value for key, value in contract.provenance.items() if value is not None and not key.startswith("test_")
    }
    made = [f"- {_fact(key, value)}" for key, value in kept.items()]
    of_faces = are_expressions(spec.classes)
    what = "A facial-expression classifier for face crops." if of_faces else "An image classifier."
    lines = [f"# {markdown(spec.name)}", "", what, "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_one_line(value)} |" for name, value in facts]
    lines += [
        "",
        "## Measured",
        "",
        *(f"- {_one_line(text)}" for text in quality or ["nothing is recorded in the file"]),
    ]
    lines += [
        "",
        "## How it was made",
        "",
        *map(_one_line, made or ["- not recorded"]),
        "",
        *(("## Misuse", "", MISUSE, "## Limits", "", LIMITS) if of_faces else ("## Limits", "", _UNKNOWN)),
    ]
    return "\n".join(lines)


def _fact(key: str, value: object) -> str:
    """Metadata may hold anything: here it is one line of text, of at most 500 characters before it is escaped."""
    text = f"{key}: {_plain(value)}"
    return markdown(text if len(text) <= 500 else text[:500].rpartition(" ")[0] + " ...")


def _plain(value: object) -> str:
    """Without brackets; a recipe by its name and epochs, a phase by its recipe, a sha256 by its first twelve digits."""
    if isinstance(value, dict):
        if "recipe" in value:
            return _plain(value["recipe"])
        if {"name", "epochs"} <= value.keys():
            return f"{value['name']}, {value['epochs']} epochs"
        return ", ".join(f"{key} {_plain(part)}" for key, part in value.items())
    if isinstance(value, list):
        return "; ".join(map(_plain, value))
    text = str(value)
    return text[:12] if _SHA256.fullmatch(text) else text


def _code(name: str) -> str:
    return name.replace("`", "'").replace("|", "\\|")


def _one_line(text: object) -> str:
    """One line of at most 500 characters, whose names are escaped already."""
    return " ".join(str(text).split())[:500]
