"""One table, three renderers: a terminal, Markdown, HTML."""

import io
import re

import pytest
from rich.console import Console

from rarn_edge.report.table import Column, Row, Table, facts, table, text_column

SPEED = table(
    "Speed",
    ("model", "median\nms", Column("CPU\nms", is_wide=True), text_column("")),
    [Row(("a|b <c>", "1.5\n1.4-1.6", "1.2", "pass"), detail="2 M, int8", ends_section=True), ("[red]d", "-", "9", "FAIL")],
    note="Lower is better & faster.",
)  # fmt: skip


def terminal(made: Table, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(made.to_rich())
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_terminal_leaves_wide_columns_out_and_shows_the_detail() -> None:
    lines = [line.rstrip() for line in terminal(SPEED).splitlines() if line.strip()]
    assert lines[0] == "Speed"
    assert [re.split(r"\s{2,}", line.strip()) for line in lines[3:-1] if "─" not in line] == [
        ["a|b <c>", "1.5 pass"],
        ["2 M, int8 1.4-1.6"],
        ["[red]d", "- FAIL"],
    ]
    assert "CPU" not in "".join(lines)
    assert lines[-1] == "Lower is better & faster."


def test_markdown_has_every_column_and_two_lines_become_one() -> None:
    assert SPEED.to_markdown().splitlines() == [
        "**Speed**",
        "",
        "| model | median ms | CPU ms |  |",
        "|---|--:|--:|---|",
        "| a&#124;b &lt;c> | 1.5 (1.4-1.6) | 1.2 | pass |",
        "| [red]d | - | 9 | **FAIL** |",
        "",
        "Lower is better & faster.",
    ]


def test_markdown_of_names_and_notes_is_escaped() -> None:
    text = table("", ("a|b", "<i>"), [("1", "2")], note="to <img> and *that*").to_markdown()
    assert text.splitlines()[0].count(" | ") == 1
    assert "<i>" not in text
    assert "<img>" not in text
    assert "*that*" not in text.replace("\\*that\\*", "")


def test_html_is_escaped_and_says_what_failed() -> None:
    html = SPEED.to_html()
    assert "<caption>Speed</caption>" in html
    assert '<th scope="row" class="text">a|b &lt;c&gt;</th><td>1.5 (1.4-1.6)</td><td>1.2</td>' in html
    assert '<td class="text good">pass</td>' in html
    assert '<td class="text bad">FAIL</td>' in html
    assert '<p class="note">Lower is better &amp; faster.</p>' in html


def test_a_long_table_is_folded() -> None:
    folded = table("All <of it>", ("a", "b"), [("1", "2")], folded=True)
    for text in (folded.to_markdown(), folded.to_html()):
        assert text.startswith("<details><summary>All &lt;of it&gt;</summary>")
        assert text.rstrip().endswith("</details>")
    assert terminal(folded).splitlines()[0].strip() == "All <of it>"


def test_names_and_values_have_no_header() -> None:
    made = facts("", [("processor", "a CPU"), ("memory", "16 GB")])
    assert [line.split() for line in terminal(made).splitlines()] == [["processor", "a", "CPU"], ["memory", "16", "GB"]]
    assert "<thead>" not in made.to_html()


@pytest.mark.parametrize("width", [80, 120])
def test_text_is_broken_and_numbers_are_not(width: int) -> None:
    made = table("", ("name", "figure"), [("x" * 200, "1,234,567")])
    lines = terminal(made, width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum("1,234,567" in line for line in lines) == 1
