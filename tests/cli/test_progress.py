"""Where nobody watches a bar, a log keeps one line a task."""

import io

from rich.console import Console

from rarn_edge.cli.progress import counted_progress, stage_progress


def test_a_task_that_counts_is_one_line() -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    with counted_progress(console) as on_progress:
        for task in ("roll angles of a", "roll angles of b"):
            for done in range(1, 14):
                on_progress(task, done, 13)
    lines = [line for line in console.file.getvalue().splitlines() if line.strip()]  # type: ignore[attr-defined]
    assert [line.split("13/13")[0].split() for line in lines] == [
        ["done", "roll", "angles", "of", "a"],
        ["done", "roll", "angles", "of", "b"],
    ]


def test_every_stage_is_one_line() -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    with stage_progress(console) as on_stage:
        on_stage("export")
        on_stage("simplify")
    lines = [line for line in console.file.getvalue().splitlines() if line.strip()]  # type: ignore[attr-defined]
    assert [line.split()[:2] for line in lines] == [["done", "export"], ["done", "simplify"]]
