"""Names are data: whatever a file, a class or a label is called, it reaches each destination escaped for that place.

One function a destination. JSON needs none: `json` escapes by itself; nor does HTML made by Jinja2, beyond `printable`.
"""

import html
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rarn_edge.errors import InputError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

# Control characters (C0, C1), line and paragraph separators, marks that reverse the order of text, halves of characters (which
# is how Python shows bytes that are not UTF-8).
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# What Markdown would read as markup, and nothing else: `<= 1` and `[1.8, 1.9]` stay readable in the source.
_MARKDOWN = re.compile(r"[\\`*$|]|\](?=[(\[:])|<(?=[A-Za-z/!?])|&(?=#?\w+;)|~(?=~)|(?<![^\W_])_|_(?![^\W_])|^[#>]")
_FORMULA = ("=", "+", "-", "@")
_NOT_IN_FILE_NAMES = re.compile(r'[/\\:*?"<>|]')
MAX_FILE_NAME_BYTES = 200


def printable(text: object) -> str:
    """One line in which every unprintable character is written out: `\\x1b`, `\\n`, and `\\xff` for a byte that is not UTF-8."""
    return _UNPRINTABLE.sub(_written_out, str(text))


def one_of(text: object, choices: tuple[Any, ...], what: str) -> Any:
    """`text` as the choice it is, whose literal type `get_args` loses.

    Raises:
        InputError: it is none of them.
    """
    if text not in choices:
        raise InputError(f"no {what} '{printable(text)}'; one of: {', '.join(map(str, choices))}")
    return text


def printable_lines(text: object) -> str:
    """As `printable`, line by line."""
    return "\n".join(printable(line) for line in str(text).split("\n"))


def _written_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(match.group())
    return named or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def markdown(text: object) -> str:
    """Text inside a Markdown paragraph or table cell: one line, no markup, no HTML, no mathematics."""
    return _MARKDOWN.sub(_markdown_escape, printable(text))


def _markdown_escape(match: re.Match[str]) -> str:
    return {"<": "&lt;", "&": "&amp;", "|": "&#124;"}.get(match.group(), f"\\{match.group()}")


def html_text(text: object) -> str:
    """Text inside an HTML element or a quoted attribute."""
    return html.escape(printable(text))


def csv_cell(value: object) -> object:
    """A cell that a spreadsheet takes as text: `'` before what it would run as a formula; figures stay as they are."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def csv_row(values: Iterable[object]) -> list[object]:
    """A row for `csv.writer`."""
    return [csv_cell(value) for value in values]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def file_name(text: str) -> str:
    """One component of a path on every system, never hidden and never `..`."""
    name = re.sub(r"\.{2,}", ".", _NOT_IN_FILE_NAMES.sub("-", printable(text))).strip(". ") or "unnamed"
    while len(name.encode()) > MAX_FILE_NAME_BYTES:
        name = name[:-1]
    return name


def plain_plot_text() -> "AbstractContextManager[Any]":
    """While it lasts, matplotlib takes `$` as a character of a name, not as the begin of a formula."""
    from matplotlib import rc_context

    return rc_context({"text.parse_math": False})


def unfit_name(text: object) -> str | None:
    """Why `text` cannot be the name of a model or a class, as a rule to show; None if it can."""
    if not isinstance(text, str) or not 0 < len(text) <= 200 or len(text.encode("utf-8", "replace")) > 200:
        return "a text of 1 to 200 bytes"
    if _UNPRINTABLE.search(text):
        return "without control characters"
    if "/" in text or "\\" in text or ".." in text:
        return "without '/', '\\' and '..'"
    return None


def names_apart(paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """A name for each file: the one given, `folder/name` where different files share it, and for a repeat with `#2`.

    A link has its own folder, not that of the file it leads to.
    """
    files = Counter(name for name, _ in {(name, path.resolve()) for path, name in zip(paths, names, strict=True)})
    seen: Counter[str] = Counter()
    found = []
    for path, name in zip(paths, names, strict=True):
        folder = Path(os.path.abspath(path)).parent.name  # noqa: PTH100 (`resolve` would follow links)
        whole = printable(name if files[name] == 1 else f"{folder}/{name}")
        seen[whole] += 1
        found.append(whole if seen[whole] == 1 else f"{whole} #{seen[whole]}")
    return found
