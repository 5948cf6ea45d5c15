"""Write the pages that follow from the code, or check that they do: python docs/generate.py [--check]

docs/reference/cli.md is made of the commands and their options, docs/reference/schemas.md of the dataclasses that JSON is read
into or written from. Where `to_dict` writes other keys than the fields, `SHOWN` says so; tests/cli/test_schemas.py holds it
against what the commands print.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import typer.main

from rarn_edge.bench.result import SCHEMA_VERSION as BENCH_SCHEMA
from rarn_edge.bench.result import BenchReport
from rarn_edge.cli import app
from rarn_edge.contract.artifact import Contract
from rarn_edge.contract.spec import SCHEMA_VERSION as SPEC_SCHEMA
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.device.boxes import Box
from rarn_edge.device.classifier import Prediction
from rarn_edge.device.predict import FaceAnswer, Origin
from rarn_edge.evaluation.judge import Judgement
from rarn_edge.parity.report import SCHEMA_VERSION as PARITY_SCHEMA
from rarn_edge.parity.report import ParityReport
from rarn_edge.parity.steps import Check, Step
from rarn_edge.parity.tolerances import Tolerance
from rarn_edge.pipeline.inspect import Inspection
from rarn_edge.score.parts import Counts
from rarn_edge.stats.paired import Paired
from rarn_edge.workflow.audit import AuditResult
from rarn_edge.workflow.evaluate import Calibrated, EvaluateResult
from rarn_edge.workflow.verdict import Verdict, VerdictResult

REFERENCE = Path(__file__).parent / "reference"

CLI_TOP = """# Commands

Which commands and options are there? This page is written by `python docs/generate.py`; `rarn-edge COMMAND --help`
shows the same. `rarn-edge --debug COMMAND ...` shows the full traceback of an error.
"""

SCHEMAS_TOP = """# JSON documents

Which keys do the JSON documents have that rarn-edge writes and reads? This page is written from the dataclasses by
`python docs/generate.py`. Readers are strict: a key that is missing, unknown or of a wrong type is an error that names its place.
Times are in seconds and sizes in bytes; null is *not known*, never zero. Of what `--json` prints, keys that are not *always*
there come with the option that asks for them. `quantize` prints no JSON: what it did is in the contract of its file, and in the
value of the [call in Python](python.md).
"""

CONTRACT = """The JSON text under the key `rarn_edge` in the metadata of an ONNX file:
`json.loads(session.get_modelmeta().custom_metadata_map["rarn_edge"])`."""

BENCH = f"""What `rarn-edge bench -o result.json` writes, beside `"kind": "bench"` and
`"schema_version": {BENCH_SCHEMA}`. A reader refuses other versions by name. A ratio is an object with
`value`, `low` and `high`."""


@dataclass(frozen=True)
class Key:
    """One row of a table."""

    name: str
    hint: Any
    always: bool = True
    said: str = ""


@dataclass(frozen=True)
class Shown:
    """How `to_dict` of a dataclass departs from its fields."""

    joined: tuple[str, ...] = ()  # fields whose own keys stand in their place
    without: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()  # further ones, and fields that look otherwise
    sometimes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Compared(Paired):
    """`other` of a `Paired` by its name."""

    model: str


ASKED = {"judgement": "with `--report`", "votes": "with `--votes`", "calibrated": "with `--calibrated`"}
SHOWN = {
    ModelSpec: Shown(keys=(Key("schema_version", int, said=f"{SPEC_SCHEMA}"),)),
    ParityReport: Shown(
        without=("steps",),
        keys=(Key("schema_version", int, said=f"{PARITY_SCHEMA}"), Key("hops", tuple[Step, ...], said="all steps")),
    ),
    Step: Shown(
        joined=("measured",),
        without=("before", "after"),
        keys=(
            Key("flipped", tuple[int, ...], said="positions of the faces whose decision changed"),
            Key("passed", bool),
            Key("would_pass", Tolerance, said="the tightest limits that this step passes"),
        ),
    ),
    Check: Shown(keys=(Key("passed", bool),)),
    EvaluateResult: Shown(
        joined=("evaluation",),
        without=("written", "report"),
        keys=(
            Key("against", tuple[Compared, ...], said="one for each `--against`"),
            Key("judgement", Judgement, False, ASKED["judgement"]),
            Key("calibrated", Calibrated, False, ASKED["calibrated"]),
        ),
        sometimes=("votes",),
    ),
    Judgement: Shown(keys=(Key("pixel_warning", str | None),)),
    VerdictResult: Shown(joined=("verdict",), without=("model",)),
    Verdict: Shown(keys=(Key("line", str, said="the verdict in words"),)),
    AuditResult: Shown(joined=("audit",)),
    FaceAnswer: Shown(
        joined=("prediction",),
        without=("face", "origin", "attention"),
        keys=(
            Key("source", str, said="the file, or the camera"),
            Key("frame", int | None, said="of a video"),
            Key("time_s", float | None),
            Key("error", str | None, said="why there are no pixels"),
            Key("face", int | None, said="its number in the picture; null: no face, and `label` is null"),
            Key("box", Box),
            Key("box_from", Origin),
            Key("box_score", float | None, said="of the detector"),
        ),
    ),
    Prediction: Shown(
        without=("classes",),
        keys=(
            Key("probabilities", dict[str, float], said="of each class by its name"),
            Key("logits", dict[str, float], said="of each class by its name"),
        ),
    ),
    Counts: Shown(
        keys=(Key("output", str), Key("resumed_rows", int, said="rows by an earlier run")), sometimes=("without_face",)
    ),
}
READ_BACK = (Contract, BenchReport)
DOCUMENTS: dict[str, tuple[str, type]] = {
    "Contract": (CONTRACT, Contract),
    "Benchmark result": (BENCH, BenchReport),
    "Parity report": (
        "What `rarn-edge parity --json` prints and `--from` reads. A step is a *hop*: two forms of a model on the same inputs.",
        ParityReport,
    ),
    "Evaluation": ("What `rarn-edge evaluate --json` prints.", EvaluateResult),
    "Verdict": ("What `rarn-edge verdict --json` prints.", VerdictResult),
    "Audit": ("What `rarn-edge audit --json` prints.", AuditResult),
    "Prediction": (
        "What `rarn-edge predict --json` prints: one object a line and face. A picture that cannot be read, or in which no face"
        " is found, has one\nline with `source`, `frame`, `time_s`, `error`, `face` and `label` alone.",
        FaceAnswer,
    ),
    "Scoring": (
        "What `rarn-edge score --json` prints; the table itself is described in [its guide](../guides/score.md).",
        Counts,
    ),
    "Inspection": ("What `rarn-edge inspect --json` prints. `contract` is [the contract](#contract).", Inspection),
}


def command_line() -> str:
    """The reference of all commands, in the order and under the panels of `--help`."""
    group: Any = typer.main.get_command(app)  # of click's or of typer's own copy of it
    functions = {
        each.name or each.callback.__name__: each.callback for each in app.registered_commands if each.callback
    }
    panels: dict[str, list[str]] = {}
    for name, command in group.commands.items():
        panels.setdefault(command.rich_help_panel, []).append(_command(name, command, get_type_hints(functions[name])))
    return CLI_TOP + "".join(f"\n## {panel}\n{''.join(parts)}" for panel, parts in panels.items())


def _command(name: str, command: Any, hints: dict[str, Any]) -> str:
    arguments = [each for each in command.params if not _is_option(each)]
    given = [_shown(each) if each.required else f"[{_shown(each)}]" for each in arguments]
    usage = " ".join(["rarn-edge", name, "[OPTIONS]", *given])
    lines = [f"\n### {name}\n", _one_line(command.help or ""), "", f"```text\n{usage}\n```", ""]
    rows = [_row(each, hints[each.name]) for each in command.params]
    if rows:
        lines += ["| | value | default | |", "|---|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _is_option(each: Any) -> bool:
    return bool(each.opts[0].startswith("-"))


def _shown(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return f"{name}..." if argument.nargs == -1 and "..." not in name else name


def _row(each: Any, hint: Any) -> str:
    names = (
        ", ".join(f"`{name}`" for name in (*each.opts, *each.secondary_opts))
        if _is_option(each)
        else f"`{_shown(each)}`"
    )
    value = _value(hint)
    default = "required" if each.required else _default(each.default)
    return f"| {names} | {value} | {default} | {_one_line(each.help or '')} |"


def _value(hint: Any) -> str:
    """What an option takes: the words of `--help`."""
    inner = [part for part in get_args(hint) if part is not type(None)]
    if inner:
        return _value(inner[0]) + (", repeated" if getattr(hint, "__origin__", None) is list else "")
    return {"bool": "", "Path": "path", "str": "text", "int": "whole number", "float": "number"}[hint.__name__]


def _default(value: Any) -> str:
    if value is None or value is False or value == () or callable(value) or "UNSET" in repr(value).upper():
        return ""
    return "on" if value is True else f"`{value}`"


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|").replace("<", "&lt;")


def schemas() -> str:
    """The reference of the JSON documents: a table for each dataclass, the outermost first."""
    text = SCHEMAS_TOP
    for title, (about, root) in DOCUMENTS.items():
        text += f"\n## {title}\n\n{about}\n"
        for place, kind in _nested(root):
            text += (
                f"\n### {title}: {place or 'the document'}\n\n"
                f"| key | type | {'needed' if root in READ_BACK else 'always'} | |\n|---|---|---|---|\n"
            )
            for key in keys_of(kind, read_back=root in READ_BACK):
                kinds, said = (each.replace("|", "\\|") for each in (_spelled(key.hint), key.said))
                text += (
                    f"| `{key.name}` | {kinds} | {'yes' if key.always else ''} | {said.replace('None:', 'null:')} |\n"
                )
    return text


def _nested(root: type) -> Iterator[tuple[str, type]]:
    """Each dataclass inside `root` once, with the place where it stands first."""
    seen: set[type] = set()
    queue: list[tuple[str, type]] = [("", root)]
    while queue:
        place, kind = queue.pop(0)
        if kind in seen or kind.__name__ == "Interval" or (kind is Contract and root is not Contract):
            continue
        seen.add(kind)
        yield place, kind
        for key in keys_of(kind):
            queue += [(f"{place}.{key.name}".lstrip("."), each) for each in dataclasses_in(key.hint)]


def keys_of(kind: type, read_back: bool = False) -> list[Key]:
    """The keys of a dataclass in JSON, in the order of its fields; what a reader fills in may be missing."""
    shown = SHOWN.get(kind, Shown())
    hints, other = get_type_hints(kind), {key.name: key for key in shown.keys}
    sources = "".join(inspect.getsource(each) for each in reversed(kind.__mro__) if is_dataclass(each))
    comments = dict(re.findall(r"(?m)^    (\w+):[^#\n]*?#\s*(.+)$", sources))
    found: list[Key] = []
    for each in fields(kind):  # type: ignore[arg-type]  # only dataclasses come here
        name = each.metadata.get("key", each.name)
        if each.name in shown.joined:
            found += keys_of(hints[each.name], read_back)
        elif name in other:
            found.append(other.pop(name))
        elif each.name not in shown.without:
            defaulted = each.default is not MISSING or each.default_factory is not MISSING
            always = each.name not in shown.sometimes and not (read_back and defaulted)
            said = comments.get(each.name, "")
            if read_back and isinstance(each.default, str | float) and each.default != "":
                said = "; ".join(filter(None, (said, f"default: `{each.default}`")))
            found.append(Key(name, hints[each.name], always, said))
    return [*found, *other.values()]


def dataclasses_in(hint: Any) -> list[type]:
    """The dataclasses that a type hint names."""
    if isinstance(hint, type) and is_dataclass(hint):
        return [hint]
    return [found for inner in get_args(hint) for found in dataclasses_in(inner)]


def _spelled(hint: Any) -> str:
    """A type hint as JSON sees it: `tuple[float, ...]` is "list of float"."""
    parts = get_args(hint)
    name = getattr(hint, "__name__", str(hint))
    if hint is type(None):
        return "null"
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_spelled(part) for part in parts)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " or ".join(f"`{each.value}`" for each in hint)
    if get_origin(hint) is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if name in ("tuple", "list"):
        return f"list of {_spelled(parts[0])}" if parts else "list"
    if name == "dict" or hint is Any:
        return "object" if name == "dict" else "anything"
    if isinstance(hint, type) and is_dataclass(hint):
        return f"object ({name})"
    return {"str": "text", "float": "number", "int": "whole number", "bool": "true or false", "Path": "text"}.get(
        name, name
    )


PAGES = {"cli.md": command_line, "schemas.md": schemas}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 when a page is out of date")
    check = parser.parse_args().check
    for name, make in PAGES.items():
        path, text = REFERENCE / name, make()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            sys.exit(f"docs/reference/{name} does not follow from the code; run: python docs/generate.py")
        path.write_text(text, encoding="utf-8")
        print(f"{path}: updated")


if __name__ == "__main__":
    main()
