"""A table as data, and its three renderers: terminal, Markdown, HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rarn_edge.boundary.names import html_text as escape
from rarn_edge.boundary.names import markdown

if TYPE_CHECKING:
    from rich.console import RenderableType

UNKNOWN = "-"

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
        """For a terminal of 80 columns or more."""
        from rich import box
        from rich.console import Group
        from rich.table import Table as RichTable
        from rich.text import Text

        made = RichTable(
            box=box.SIMPLE_HEAD if self.has_header else None,
            padding=0 if self.has_header else (0, 2, 0, 0),  # the box itself leaves one space between columns
            show_header=self.has_header,
        )
        shown = [index for index, column in enumerate(self.columns) if not column.is_wide]
        for column in (self.columns[index] for index in shown):
            if column.is_text:
                made.add_column(column.name, overflow="fold")
            else:
                made.add_column(column.name, justify="right", no_wrap=True)
        for row in self.rows:
            first, *others = (row.cells[index] for index in shown)
            cells = ["\n".join(filter(None, (first, row.detail))), *others]
            made.add_row(*(Text(cell, _STYLES.get(cell, "")) for cell in cells), end_section=row.ends_section)
        title = [Text(self.title, "bold")] if self.title else []
        return Group(*title, made, *([Text(self.note, "dim")] if self.note else []))

    def to_markdown(self) -> str:
        """As GitHub shows it, title and note included."""
        lines = [f"**{markdown(self.title)}**", ""] if self.title and not self.folded else []
        lines.append(f"| {' | '.join(_one_line(column.name, ' ') for column in self.columns)} |")
        lines.append("|" + "|".join("---" if column.is_text else "--:" for column in self.columns) + "|")
        lines += [f"| {' | '.join(map(_markdown_cell, row.cells))} |" for row in self.rows]
        lines += ["", self.note] if self.note else []
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
