"""Where nobody watches a bar, a log keeps one line a task."""

import io

from rich.console import Console

from rarn_edge.cli.stages import stages


def lines(console: Console) -> list[str]:
    return [line for line in console.file.getvalue().splitlines() if line.strip()]  # type: ignore[attr-defined]


def test_a_task_that_counts_is_one_line() -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    with stages(console) as on_stage:
        for task in ("roll of a", "roll of b"):
            for done in range(1, 14):
                on_stage(task, done, 13)
    assert [line.split("13/13")[0].split() for line in lines(console)] == [
        ["done", "roll", "of", "a"],
        ["done", "roll", "of", "b"],
    ]


def test_every_stage_is_one_line_and_quiet_is_none() -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    with stages(console) as on_stage:
        on_stage("export")
        on_stage("simplify")
    assert [line.split()[:2] for line in lines(console)] == [["done", "export"], ["done", "simplify"]]
    quiet = Console(width=80, file=io.StringIO(), force_terminal=False)
    with stages(quiet, quiet=True) as on_stage:
        on_stage("export")
    assert lines(quiet) == []
