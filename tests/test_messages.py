"""What a user reads besides results: each warning is one line of 100 columns, and a table fits a terminal of 80.

The warnings are found in the source: every text that is given to `note` or `on_notice` as a warning, a problem or a notice,
and every text inside the functions that make them. What a text fills in is given typical values.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from rarn_edge.host.noise import unsteady

PACKAGE = Path(__file__).parents[1] / "rarn_edge"
COLUMNS = 100
LABELS = ("warning", "problem", "notice", "skipped")
MAKERS = ("warning", "warnings", "row_warnings", "few_samples", "mismatch", "check_sample", "colour_notice")
MAKERS += ("_problems", "doubts", "unsteady")
ROW = "rarn-s.ferplus.int8 and 12 more: "  # what stands before the warning of a benchmark's row
OF_ROWS = ("row_warnings", "few_samples", "mismatch")

TYPICAL = {
    "target.value": "x86-avx2",
    "self.target.value": "x86-vnni",
    "runs_on.value": "x86-vnni",
    "harm": "wrong",
    "plan.provider": "openvino",
    "MIN_SAMPLES[90]": "64",
    "each.name": "tensorrt-rtx",
    "environment.governor": "schedutil",
    "' and '.join(runtimes)": "onnxruntime and onnxruntime-gpu",
    "' and '.join(rivals)": "onnxruntime and onnxruntime-gpu",
    "listed(left, 2)": "contempt, neutral and 4 more",
    "listed(int8.float_operators, 2)": "HardSwish, LayerNormalization and 3 more",
    "samples": "63",
    "cores": "64",
    "group.threads": "128",
    "opened.nodes": "290",
    "opened.nodes_elsewhere": "147",
    "slower_line(row)": "rarn-s.ferplus.int8 at batch 32: 1.12 times (1.08 to 1.16)",
    "counted": "4,096 of 4,096 images looked at",
    "', '.join(signs)": "load 13.2 on 16 cores, spread 113%, drift +14%",
    "pixels": "pixels 128 ± 64, in training 130 ± 65",
    "recipe.name": "edge-distilled",
    "first_line(error)": "Expecting value",
    "name": "rarn-s.fer2013.onnx",
    "self.state": "rarn-s.int8.onnx.search.json",
    "self.reason": "",
}
"""By the expression in the source; anything else takes ten columns, and a number as many as it has with its format."""


def texts() -> Iterator[tuple[str, int, str, str]]:
    """(file, line, the function it is made in or its label, the text with typical values)."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and len(node.args) == 2:
                text, label = node.args
                if isinstance(label, ast.Constant) and label.value in LABELS and is_text(text):
                    yield path.name, text.lineno, str(label.value), filled(text)
            elif isinstance(node, ast.FunctionDef) and node.name in MAKERS:
                for text in said_in(node):
                    yield path.name, text.lineno, node.name, filled(text)


def said_in(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """Texts of several words that the function appends or returns, but not its docstring, errors and parts of other texts."""
    skipped: set[int] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Raise | ast.JoinedStr):
            skipped |= {id(inner) for inner in ast.walk(node)} - {id(node)}
    docstring = function.body[0].value if isinstance(function.body[0], ast.Expr) else None
    for node in ast.walk(function):
        wanted = isinstance(node, ast.expr) and is_text(node) and id(node) not in skipped and node is not docstring
        if wanted and len(filled(node).split()) >= 6:
            yield node


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def filled(text: ast.expr) -> str:
    """The text of an f-string or a constant, with typical values in it."""
    if isinstance(text, ast.Constant):
        return str(text.value)
    assert isinstance(text, ast.JoinedStr)
    parts = []
    for part in text.values:
        if isinstance(part, ast.FormattedValue):
            code = ast.unparse(part.value)
            form = ast.unparse(part.format_spec).strip("f'\"") if part.format_spec else ""
            parts.append(TYPICAL.get(code, {",": "28,709", "": "x" * 10}.get(form, "100.0%"[: 4 + ("1" in form)])))
        else:
            assert isinstance(part, ast.Constant)
            parts.append(str(part.value))
    return "".join(parts)


FOUND = list(texts())


def test_the_warnings_are_found() -> None:
    """One of each kind: a call with a label, a constant, a property, and a text of a benchmark's row."""
    together = "\n".join(text for *_, text in FOUND)
    assert len(FOUND) > 30
    for part in (
        "--precision float32 is faster",
        "no INT8 kernel for",
        "in training",
        "trust CPU ms",
        "quantize here",
    ):
        assert part in together


@pytest.mark.parametrize(("file", "line", "made_by", "text"), FOUND)
def test_a_warning_is_one_line_of_100_columns(file: str, line: int, made_by: str, text: str) -> None:
    label = made_by if made_by in LABELS else "problem" if made_by == "_problems" else "warning"
    whole = f"{label}: {ROW if made_by in OF_ROWS else ''}{text}"
    assert "\n" not in whole, f"{file}:{line}"
    assert len(whole) <= COLUMNS, f"{file}:{line}: {len(whole)} columns: {whole}"


def test_an_unsteady_machine_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """All three signs at their longest."""
    monkeypatch.setattr("rarn_edge.host.noise.default_threads", lambda: 128)
    (text,) = unsteady(187.4, [1e-3] * 60 + [2.4e-3] * 30)
    assert len(f"warning: {text}") <= COLUMNS
