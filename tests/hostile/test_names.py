"""Names are data: what a file, a model or a class is called leaves no folder, steers no terminal and is no formula."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from rarn_edge.board.card import board_card
from rarn_edge.board.make import make_bundle
from rarn_edge.boundary import names
from rarn_edge.boundary.terminal import SafeConsole
from rarn_edge.contract.artifact import METADATA_KEY, Artifact
from rarn_edge.errors import InputError
from rarn_edge.parity.bundle import load_bundle, save_bundle
from rarn_edge.score.run import score

from .conftest import TINY, Changed, contents

Cli = Callable[..., subprocess.CompletedProcess[str]]
OSC = "\x1b]0;owned\x07"
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere names are Unicode")


def with_names(path: Path, **spec: object) -> Path:
    """The smallest model with names in its metadata that no writer of ours would write."""
    model = onnx.load(TINY)
    prop = next(each for each in model.metadata_props if each.key == METADATA_KEY)
    data = json.loads(prop.value)
    data["spec"] |= spec
    prop.value = json.dumps(data)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("name", ["../../x", "/abs/x", "a\\b", "..", OSC, "a\nb", "\u202eexe", "x" * 201])
@pytest.mark.parametrize("form", ["board", "triton"])
def test_a_model_whose_name_is_a_path_is_refused(cli: Cli, name: str, form: str, tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    path = with_names(tmp_path / "x.onnx", name=name)
    before = contents(tmp_path)
    done = cli("bundle", path, "-o", inner / "out", "--format", form)
    assert done.returncode == 2
    assert "not a valid model spec: name is" in done.stderr
    assert contents(tmp_path) == before


def test_triton_takes_only_names_that_are_file_names(changed: Changed, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Triton names a folder for each model"):
        make_bundle(changed("x.onnx", name="a:b"), tmp_path / "out", "triton")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("classes", "rule"),
    [("abcdefg", "classes is a list"), ([OSC, "b"], "each class is without control"), (["../a", "b"], "each class is")],
)
def test_classes_are_a_list_of_names(cli: Cli, classes: object, rule: str, face: Path, tmp_path: Path) -> None:
    done = cli("predict", face, "--model", with_names(tmp_path / "x.onnx", classes=classes))
    assert done.returncode == 2
    assert rule in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("name", [OSC, "\x9b31m", "a\rb", "a\u2028b", "a\udcffb", "\u202eb"])
def test_nothing_unprintable_reaches_the_terminal(cli: Cli, name: str) -> None:
    for command in (("evaluate", name, "--data", "x"), ("models", name), ("score", name, "-o", "x.csv"), (name,)):
        done = cli(*command)
        assert done.returncode == 2
        assert name not in done.stderr
        assert names.printable(name) in done.stderr or "Usage" in done.stderr
        assert not set(done.stderr) & set("\x1b\x07\x9b\r\u2028\u202e")


def test_a_console_escapes_tables_and_keeps_its_own_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.table import Table
    from rich.text import Text

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    console = SafeConsole()
    console.file = io.StringIO()
    table = Table(title=f"title {OSC}")
    table.add_row(f"[green]{OSC}[/green]")
    console.print(table)
    console.print(Text("red", "red"))
    text = console.file.getvalue()
    assert "\\x1b]0;owned" in text
    assert OSC not in text
    assert "[green]" in text
    assert "\x1b[31mred\x1b[0m" in text


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+1+1", "'+1+1"),
        ("-2.5", "-2.5"),
        ("plain.png", "plain.png"),
        ("two\nlines", "two\\nlines"),
        ("a\udcff.png", "a\\xff.png"),
        (3, 3),
    ],
)
def test_a_cell_is_never_a_formula(name: object, cell: object) -> None:
    assert names.csv_cell(name) == cell


def test_a_class_called_like_a_formula(changed: Changed, cli: Cli, crops: Path, tmp_path: Path) -> None:
    classes = ("=cmd|x", *(f"c{index}" for index in range(6)))
    model = changed("x.onnx", classes=classes)
    score([str(crops)], tmp_path / "out.csv", model, workers=1)
    for text in ((tmp_path / "out.csv").read_text(), cli("predict", crops, "--model", model, "--csv").stdout):
        rows = list(csv.reader(io.StringIO(text)))
        assert len(rows) == 5
        assert not [cell for row in rows for cell in row if cell.startswith("=")]


@pytest.mark.parametrize(
    "text", ["[x](javascript:y)", "<script>x</script>", "a|b", "`x`", "$E=mc^2$", "*b*", "_i_", "a\nb"]
)
def test_markdown_shows_a_name_as_it_is(text: str) -> None:
    escaped = names.markdown(text)
    assert not re.search(r"(?<!\\)[`*$|]|(?<!\\)\]\(|<[a-z/]|\n", escaped)
    for plain in ("mini_xception.onnx", "<= 1e-4", "1.84 [1.80, 1.88]", "95 % > 90 %", "a & b"):
        assert names.markdown(plain) == plain


def test_the_card_of_a_bundle_is_text() -> None:
    known = Artifact.load(TINY)
    hostile = replace(known.contract, provenance={"<script>": "a|b\n# heading"}, quality={"[/bold]": "![x](http://y)"})
    card = board_card(replace(known, contract=hostile))
    assert "<script>" not in card
    assert "\n# heading" not in card
    assert "![x](" not in card


def test_html_and_file_names() -> None:
    assert names.html_text(f'<b>&"{OSC}') == "&lt;b&gt;&amp;&quot;\\x1b]0;owned\\x07"
    assert names.file_name("../../x") == "-.-x"
    assert names.file_name("..") == "unnamed"
    assert len(names.file_name("é" * 300).encode()) <= 200


def test_dollars_are_no_mathematics(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    with names.plain_plot_text():
        figure = Figure()
        figure.subplots().set(title="a$b_{c$.onnx", xlabel="$\\frac$")
        figure.savefig(tmp_path / "x.svg")
    assert (tmp_path / "x.svg").stat().st_size > 0


@LINUX
def test_names_that_are_not_utf8_stop_no_job(cli: Cli, crops: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(crops) + b"/9\xff.png"))
    odd.write_bytes((crops / "0.png").read_bytes())
    for suffix in ("csv", "parquet"):
        done = cli("score", crops, "-o", tmp_path / f"out.{suffix}", "--model", TINY, "--workers", "1")
        assert done.returncode == 0, done.stderr
    assert "9\\xff.png" in (tmp_path / "out.csv").read_text(encoding="utf-8")
    for form in ("--csv", "--json"):
        done = cli("predict", crops, "--model", TINY, form)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == (6 if form == "--csv" else 5)
    done = cli("predict", odd, "--model", TINY)
    assert done.returncode == 0
    assert "9\\xff.png" in done.stdout


def test_a_model_whose_name_is_a_formula_of_mathematics(
    changed: Changed, cli: Cli, faces_folder: Path, tmp_path: Path
) -> None:
    model = changed("a$b_{c$.onnx")
    done = cli("evaluate", model, "--data", faces_folder, "--report", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "intensity.png").is_file()


def test_a_page_of_a_model_with_such_a_name(changed: Changed, cli: Cli, tmp_path: Path) -> None:
    options = ("--rounds", "3", "--starts", "1", "--no-memory", "--no-audit", "--threads", "1")
    done = cli("bench", changed("a$b_{c$<i>.onnx"), "--html", tmp_path / "x.html", *options)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "a$b_{c$&lt;i&gt;" in page
    assert "<i>" not in page


def test_brackets_are_no_markup(cli: Cli, faces_folder: Path, tmp_path: Path) -> None:
    """Whether they would open, close, or be no markup at all."""
    for name in ("[red]x", "x[/bold]", "[/]"):
        data = tmp_path / name.replace("/", "-")
        data.symlink_to(faces_folder, target_is_directory=True)
        done = cli("evaluate", TINY, "--data", data)
        assert done.returncode == 0, done.stderr
        assert data.name in done.stdout
        bundle = tmp_path / "x.rarn-parity"
        assert cli("parity", TINY, "--data", data, "--bundle", bundle).returncode == 0
        evidence = load_bundle(bundle)
        described = replace(evidence, shown=replace(evidence.shown, description=name))
        save_bundle(described, bundle)
        done = cli("verify", bundle, TINY)
        assert done.returncode == 0, done.stderr
        assert name in done.stdout
        bundle.unlink()
