"""Write the pages that follow from the code, or check that they do: python docs/generate.py [--check]

docs/reference/cli.md is made of the commands and their options, docs/reference/schemas.md of the dataclasses that JSON
is read into.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import typer.main

from rarn_edge.bench.result import SCHEMA_VERSION as BENCH_SCHEMA
from rarn_edge.bench.result import BenchReport
from rarn_edge.cli import app
from rarn_edge.contract.artifact import Contract

REFERENCE = Path(__file__).parent / "reference"

CLI_TOP = """# Commands

Which commands and options are there? This page is written by `python docs/generate.py`; `rarn-edge COMMAND --help`
shows the same. `rarn-edge --debug COMMAND ...` shows the full traceback of an error.
"""

SCHEMAS_TOP = """# JSON documents

Which keys do the JSON documents have that rarn-edge writes and reads? This page is written from the dataclasses by
`python docs/generate.py`. Readers are strict: a key that is missing, unknown or of a wrong type is an error that names its place.
Times are in seconds and sizes in bytes; null is *not known*, never zero. Other `--json` outputs have the fields of the value that
the [same call in Python](python.md) returns.
"""

CONTRACT = """The JSON text under the key `rarn_edge` in the metadata of an ONNX file:
`json.loads(session.get_modelmeta().custom_metadata_map["rarn_edge"])`."""

BENCH = f"""What `rarn-edge bench -o result.json` writes, beside `"kind": "bench"` and
`"schema_version": {BENCH_SCHEMA}`. A reader refuses other versions by name. A ratio is an object with
`value`, `low` and `high`."""


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
    given = [_shown(each) for each in command.params if not _is_option(each)]
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
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|").replace("<", "&lt;").replace("[default", "\\[default")


def schemas() -> str:
    """The reference of the JSON documents: a table for each dataclass, the outermost first."""
    text = SCHEMAS_TOP
    for title, about, root in (("Contract", CONTRACT, Contract), ("Benchmark result", BENCH, BenchReport)):
        text += f"\n## {title}\n\n{about}\n"
        for place, kind in _nested(root):
            text += (
                f"\n### {title}: {place or 'the document'}\n\n| key | type | needed | |\n|---|---|---|---|\n"
                + "".join(_keys(kind))
            )
    return text


def _nested(root: type) -> Iterator[tuple[str, type]]:
    """Each dataclass inside `root` once, with the place where it stands first."""
    seen: set[type] = set()
    queue: list[tuple[str, type]] = [("", root)]
    while queue:
        place, kind = queue.pop(0)
        if kind in seen or kind.__name__ == "Interval":
            continue
        seen.add(kind)
        yield place, kind
        for key, hint, _ in _hints(kind):
            inner = f"{place}.{key}".lstrip(".")
            queue += [(inner, each) for each in _dataclasses(hint)]


def _hints(kind: type) -> Iterator[tuple[str, Any, bool]]:
    """JSON key, type, and whether it must be there, of each field."""
    hints = get_type_hints(kind)
    for each in fields(kind):  # type: ignore[arg-type]  # only dataclasses come here
        needed = each.default is MISSING and each.default_factory is MISSING
        yield each.metadata.get("key", each.name), hints[each.name], needed


def _dataclasses(hint: Any) -> list[type]:
    if isinstance(hint, type) and is_dataclass(hint):
        return [hint]
    return [found for inner in get_args(hint) for found in _dataclasses(inner)]


def _keys(kind: type) -> Iterator[str]:
    comments = dict(re.findall(r"(?m)^    (\w+):[^#\n]*?#\s*(.+)$", inspect.getsource(kind)))
    names = {each.metadata.get("key", each.name): each.name for each in fields(kind)}  # type: ignore[arg-type]
    for key, hint, needed in _hints(kind):
        said = comments.get(names[key], "").replace("|", "\\|")
        yield f"| `{key}` | {_spelled(hint)} | {'yes' if needed else ''} | {said} |\n"


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
    return {"str": "text", "float": "number", "int": "whole number", "bool": "true or false"}.get(name, name)


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
