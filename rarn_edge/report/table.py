"""A table as data, and its three renderers: terminal, Markdown, HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from rarn_edge.boundary.names import html_text as escape
from rarn_edge.boundary.names import markdown

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

UNKNOWN = "-"
_LEAST_NAME = 12  # columns of a name, below which rich shares the room out

_STYLES = {
    "pass": "green",
    "FAIL": "bold red",
    "faster": "green",
    "slower": "red",
    "same": "dim",
    "starts": "green",
    "does not start": "bold red",
    "not in this build": "dim",
}
"""Of cells that are a verdict, on a terminal."""

_HTML_CLASSES = {"pass": "good", "FAIL": "bad"}


@dataclass(frozen=True)
class Column:
    """A column; its name may have two lines."""

    name: str
    is_text: bool = False  # left-aligned and broken where it is long; else a number
    is_wide: bool = False  # left out on a terminal


@dataclass(frozen=True)
class Row:
    """One cell a column. A cell may have two lines; Markdown and HTML put the second in parentheses."""

    cells: tuple[str, ...]
    detail: str = ""  # what a terminal shows under the first cell in place of the wide columns
    ends_section: bool = False


@dataclass(frozen=True)
class Table:
    """A title, columns, rows, and what to know about them."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""
    folded: bool = False  # long: Markdown and a page show its title until asked for more

    @property
    def has_header(self) -> bool:
        return any(column.name for column in self.columns)

    def to_rich(self) -> RenderableType:
        """For a terminal of 80 columns or more: where it is narrow, headings and names break between their parts."""
        return _Terminal(self)

    def shown_cells(self, width: int) -> tuple[list[str], list[list[str]]]:
        """The headings and cells that a terminal of `width` columns shows, broken where a line would be too long."""
        shown = [index for index, column in enumerate(self.columns) if not column.is_wide]
        heads = [self.columns[index].name for index in shown]
        rows = [[row.cells[index] for index in shown] for row in self.rows]
        for row, cells in zip(self.rows, rows, strict=True):
            cells[0] = "\n".join(filter(None, (cells[0], row.detail)))
        room = width - len(shown) - 1  # a space beside each column
        widths = [max(map(_width, column)) for column in zip(heads, *rows, strict=True)]
        for place, index in enumerate(shown):
            if sum(widths) > room and not self.columns[index].is_text:
                widest = max([_width(cells[place]) for cells in rows], default=0)
                heads[place] = _broken_at_spaces(heads[place], widest)
                widths[place] = max(widest, _width(heads[place]))
        first = room - sum(widths[1:])
        if _LEAST_NAME <= first < widths[0]:
            for cells in rows:
                cells[0] = _broken_name(cells[0], first)
        return heads, rows

    def to_markdown(self) -> str:
        """As GitHub shows it, title and note included."""
        lines = [f"**{markdown(self.title)}**", ""] if self.title and not self.folded else []
        lines.append(f"| {' | '.join(_markdown_cell(_one_line(column.name, ' ')) for column in self.columns)} |")
        lines.append("|" + "|".join("---" if column.is_text else "--:" for column in self.columns) + "|")
        lines += [f"| {' | '.join(map(_markdown_cell, row.cells))} |" for row in self.rows]
        lines += ["", markdown(self.note)] if self.note else []
        text = "\n".join(lines)
        return f"<details><summary>{escape(self.title)}</summary>\n\n{text}\n\n</details>" if self.folded else text

    def to_html(self) -> str:
        """For the page, whose style sheet names its classes; everything is escaped."""
        title = escape(self.title)
        head = "".join(_html_cell("th", _one_line(c.name, " "), c, ' scope="col"') for c in self.columns)
        rows = "\n".join(f"<tr>{self._html_row(row)}</tr>" for row in self.rows)
        text = (
            f'<div class="scroll" tabindex="0" role="region" aria-label="{title or "Table"}">\n<table>\n'
            + (f"<caption>{title}</caption>\n" if title else "")
            + (f"<thead><tr>{head}</tr></thead>\n" if self.has_header else "")
            + f"<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n"
            + (f'<p class="note">{escape(self.note)}</p>\n' if self.note else "")
        )
        return f"<details><summary>{title}</summary>\n{text}</details>\n" if self.folded else text

    def _html_row(self, row: Row) -> str:
        first, *others = zip(row.cells, self.columns, strict=True)
        cells = [_html_cell("th", _parenthesised(first[0]), first[1], ' scope="row"')]
        return "".join(cells + [_html_cell("td", _parenthesised(cell), column) for cell, column in others])


class _Terminal:
    """A table that learns the width of its terminal when it is printed."""

    def __init__(self, shown: Table) -> None:
        self._shown = shown

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        shown = self._shown
        heads, rows = shown.shown_cells(options.max_width)
        made = RichTable(
            box=box.SIMPLE_HEAD if shown.has_header else None,
            padding=0 if shown.has_header else (0, 2, 0, 0),  # the box itself leaves one space between columns
            show_header=shown.has_header,
        )
        for head, column in zip(heads, (column for column in shown.columns if not column.is_wide), strict=True):
            if column.is_text:
                made.add_column(head, overflow="fold")
            else:
                made.add_column(head, justify="right", no_wrap=True)
        for row, cells in zip(shown.rows, rows, strict=True):
            made.add_row(*(Text(cell, _STYLES.get(cell, "")) for cell in cells), end_section=row.ends_section)
        if shown.title:
            yield Text(shown.title, "bold")
        yield made
        if shown.note:
            yield Text(shown.note, "dim")


def table(
    title: str,
    columns: Sequence[str | Column],
    rows: Iterable[Sequence[str] | Row],
    note: str = "",
    folded: bool = False,
) -> Table:
    """A `Table` in short: of columns given as names, the first is text and the others are numbers."""
    whole = tuple(Column(c, is_text=not index) if isinstance(c, str) else c for index, c in enumerate(columns))
    made = tuple(row if isinstance(row, Row) else Row(tuple(row)) for row in rows)
    return Table(title, whole, made, note, folded)


def text_column(name: str) -> Column:
    """A column of text, in any place."""
    return Column(name, is_text=True)


def facts(title: str, rows: Iterable[tuple[str, str]], note: str = "") -> Table:
    """A table of names and values, without a header."""
    return table(title, (text_column(""), text_column("")), rows, note)


def verdict(passed: bool) -> str:
    """The cell of a check."""
    return "pass" if passed else "FAIL"


def _width(text: str) -> int:
    """Of its longest line."""
    return max(map(len, text.split("\n")))


def _broken_at_spaces(text: str, width: int) -> str:
    """Lines of whole words, as narrow as `width` where the words are."""
    longest = max(map(len, text.split()), default=0)
    return "\n".join(wrap(text, max(width, longest, 1), break_long_words=False, break_on_hyphens=False))


def _broken_name(text: str, width: int) -> str:
    """Lines of at most `width` columns: a name breaks at spaces, else after `.`, `-`, `_` or `/`."""
    lines = []
    for line in text.split("\n"):
        while len(line) > width:
            head = line[: width + 1]
            cut = head.rfind(" ") + 1 or max(head[:width].rfind(mark) for mark in ".-_/") + 1 or width
            lines.append(line[:cut].rstrip())
            line = line[cut:]
        lines.append(line)
    return "\n".join(lines)


def _one_line(text: str, between: str) -> str:
    return text.replace("\n", between)


def _parenthesised(cell: str) -> str:
    first, _, second = cell.partition("\n")
    return f"{first} ({_one_line(second, '; ')})" if second else first


def _markdown_cell(cell: str) -> str:
    text = markdown(_parenthesised(cell))
    return f"**{text}**" if text == "FAIL" else text


def _html_cell(tag: str, text: str, column: Column, attributes: str = "") -> str:
    classes = " ".join(filter(None, ("text" if column.is_text else "", _HTML_CLASSES.get(text, ""))))
    named = f' class="{classes}"' if classes else ""
    return f"<{tag}{attributes}{named}>{escape(text)}</{tag}>"
