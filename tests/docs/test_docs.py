"""What the documentation says is so: commands run or at least parse, Python runs, links and anchors lead somewhere.

A block that cannot run here stands under a comment such as `<!-- parsed only: needs a GPU -->`; its commands must still be
right. All other shell blocks of the README and the guides run in one folder with small drawn data under the names that the pages
use; a block that begins with `# NAME.py` or `# NAME.toml` is that file. Any block runs alone: a file that it reads and another
block writes is made first, by the line that the pages show for it.
"""

import os
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import chdir
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rarn_edge.contract.spec import CLASSES
from rarn_edge.data.synthetic import synthetic_faces

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "export/teachers/README.md")
]
PAGES += sorted((ROOT / "docs").rglob("*.md")) + sorted((ROOT / "export" / "cards").glob("*.md"))
RUN = [ROOT / "README.md", ROOT / "docs" / "index.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
RUN += [ROOT / "docs" / "reference" / "python.md"]
_BLOCK = re.compile(r"(?m)^(?:<!-- (.+?) -->\n)?```(\w+)\n(.*?)^```$", re.DOTALL)
_LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)\)")
SAFE = ("rarn-edge", "cat")  # programs that a test may start: nothing that installs, fetches or asks for rights
VOTED = {"happy": "happiness", "sad": "sadness", "angry": "anger"}  # names of columns in FER+'s files


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, the comment above it, its text."""

    page: str
    number: int
    language: str
    note: str
    text: str

    @property
    def runs(self) -> bool:
        return not self.note.startswith("parsed only: ")


def blocks(paths: list[Path], language: str) -> list[Block]:
    found = []
    for path in paths:
        for number, match in enumerate(_BLOCK.finditer(path.read_text(encoding="utf-8"))):
            if match[2] == language:
                found.append(Block(path.relative_to(ROOT).as_posix(), number, language, match[1] or "", match[3]))
    return found


def name_of(block: Block) -> str:
    return f"{block.page}-{block.number}"


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of each command in a shell block; variables that the block sets are filled in."""
    known: dict[str, str] = {}
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"\$(\w+)", lambda match: known.get(match[1], match[0]), line)
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word in ("|", "&&", ";", "||", "&"):
                while words and (given := re.fullmatch(r"(\w+)=(.*)", words[0], flags=re.DOTALL)):
                    known[given[1]] = given[2]
                    words = words[1:]
                if words:
                    yield words
                words = []
            else:
                words.append(word)


def arguments_of(words: list[str]) -> list[str] | None:
    """What a command gives to rarn-edge, or None if it calls something else."""
    words = words[: words.index(">")] if ">" in words else words
    if "rarn-edge" in words[:1]:
        return words[1:]
    if "rarn_edge" in words and words[words.index("rarn_edge") - 1] == "-m":
        return words[words.index("rarn_edge") + 1 :]
    return None


def parse(arguments: list[str]) -> None:
    """As the command line reads it, without running it.

    Raises:
        Exception: an unknown command or option, or a value of the wrong kind.
    """
    import typer.main

    from rarn_edge.cli import app

    group: Any = typer.main.get_command(app)
    words = [word for word in arguments if word != "--debug"]
    if words and words[0] not in ("--help", "--install-completion"):
        group.commands[words[0]].make_context(words[0], list(words[1:]))


@pytest.mark.parametrize("block", blocks(PAGES, "sh"), ids=name_of)
def test_commands_parse(block: Block) -> None:
    for words in command_lines(block.text):
        arguments = arguments_of(words)
        if arguments is not None:
            try:
                parse(arguments)
            except Exception as error:  # whatever the parser raises is the finding
                pytest.fail(f"{block.page}: {shlex.join(words)}\n{type(error).__name__}: {error}")
        elif words[0] == "make":
            assert re.search(rf"(?m)^{words[1]}:", (ROOT / "Makefile").read_text()), words
        for word in words:
            if re.fullmatch(r"(benchmarks|export|examples|docs|tests)/[\w/.-]+\.(py|sh|toml|c)", word):
                assert (ROOT / word).is_file(), f"{block.page}: {word} is not there"


def test_every_exception_has_its_reason() -> None:
    for language in ("sh", "python"):
        for block in blocks(PAGES, language):
            assert not block.note or re.match(r"(parsed only|run as a script): \S", block.note), block


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn faces under the names that the pages use."""
    root = tmp_path_factory.mktemp("docs")
    faces = synthetic_faces(70, seed=5)
    votes = ["file,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"]
    columns = votes[0].split(",")[1:]
    with zipfile.ZipFile(root / "fer2013.zip", "w") as archive:
        for index, (image, label) in enumerate(zip(faces.images, faces.labels, strict=True)):
            split, usage = ("train", "Training") if index < 42 else ("test", "PublicTest")
            path = f"{split}/{CLASSES[label]}/{usage}_{index}.png"
            archive.writestr(path, png(image))
            seen = VOTED.get(CLASSES[label], CLASSES[label])
            votes.append(",".join([path, *("9" if column == seen else "0" for column in columns)]))
    (root / "ferplus.csv").write_text("\n".join(votes) + "\n")
    for name in ("face.png", "a.png", "crops/1.png", "crops/2.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(png(faces.images[len(name)]))
    (root / "more" / "deep").mkdir(parents=True)
    for name in ("face.jpg", "b.jpg", "more/deep/1.jpg"):
        cv2.imwrite(str(root / name), faces.images[0])
    picture = np.full((480, 640, 3), 90, np.uint8)
    picture[120:320, 200:400] = cv2.resize(faces.images[1], (200, 200))[..., None]
    cv2.imwrite(str(root / "photo.jpg"), picture)
    with zipfile.ZipFile(root / "shard-0.zip", "w") as archive:
        archive.write(root / "crops" / "1.png", "1.png")
    with tarfile.open(root / "shard-1.tar", "w") as archive:
        archive.add(root / "crops" / "2.png", "2.png")
    write_parquet(root / "images.parquet", [png(image) for image in faces.images[:2]])
    write_pictures(root)
    for block in (*blocks(RUN, "python"), *blocks(RUN, "toml")):
        if named := re.match(r"# ([\w-]+\.(?:py|toml))\n", block.text):
            (root / named[1]).write_text(block.text)
    video = cv2.VideoWriter(str(root / "talk.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (640, 480))
    for _ in range(4):
        video.write(picture)
    video.release()
    return root


def png(image: np.ndarray[Any, Any]) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def write_pictures(root: Path) -> None:
    """Three classes in colour: folders, and a CSV of the same files."""
    kinds = {"smile": "happy", "frown": "angry", "calm": "neutral"}
    faces = synthetic_faces(8 * len(CLASSES), seed=6)
    rows = ["file,label,split"]
    for kind, expression in kinds.items():
        for index, image in enumerate(faces.images[faces.labels == CLASSES.index(expression)]):
            path = f"pictures/{'train' if index < 6 else 'test'}/{kind}/{index}.png"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            coloured = np.stack([image, image, 255 - image // 2], axis=-1)  # [48, 48, 3]
            (root / path).write_bytes(png(cv2.resize(coloured, (80, 80))))
            rows.append(f"{path},{kind},{path.split('/')[1]}")
    (root / "pictures.csv").write_text("\n".join(rows) + "\n")


def write_parquet(path: Path, images: list[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": images}), path)


def lines_of(block: Block) -> Iterator[list[str]]:
    """The words of each line without its comment."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def written_by(words: list[str]) -> str | None:
    """The file or folder that a line writes under `-o` or `--out`."""
    return next((after for option, after in pairwise(words) if option in ("-o", "--out")), None)


RUNNING = [block for block in blocks(RUN, "sh") if block.runs]


@pytest.fixture(scope="module")
def makers() -> dict[str, list[str]]:
    """For each file, the first line on the pages that writes it."""
    found: dict[str, list[str]] = {}
    for block in RUNNING:
        for words in lines_of(block):
            if written := written_by(words):
                found.setdefault(written, words)
    return found


@dataclass(frozen=True)
class Runner:
    """Runs the lines of pages in one folder, each line once, after the lines that make what it reads."""

    folder: Path
    makers: dict[str, list[str]]
    done: set[str]

    def run(self, words: list[str], page: str, capsys: pytest.CaptureFixture[str]) -> None:
        line = shlex.join(words)
        if line in self.done:
            return
        assert words[0] in SAFE, f"{page}: a block with '{words[0]}' needs a comment that says why it is not run"
        self.make(words, page, capsys)
        code, said = shell(words, self.folder) if set(words) & {"|", ">", "&&"} else self.call(words, capsys)
        assert code == 0, f"{page}: {line}\n{said}"
        self.done.add(line)

    def make(self, named: Iterable[str], page: str, capsys: pytest.CaptureFixture[str]) -> None:
        """The files among `named` that are not there yet and that a line of the pages writes."""
        named = list(named)
        for name in named:
            file = next((each for each in self.makers if name == each or name.startswith(f"{each}/")), None)
            if file is not None and file != written_by(named) and not (self.folder / file).exists():
                self.run(self.makers[file], page, capsys)

    def call(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
        from rarn_edge.cli import main

        with chdir(self.folder), pytest.MonkeyPatch.context() as patch:
            patch.setattr("rarn_edge.workflow.inputs.SYNTHETIC_FACES", 42)
            patch.setattr("rarn_edge.workflow.quantize.VERDICT_ROUNDS", 20)
            patch.setattr("rarn_edge.workflow.quantize.VERDICT_LAUNCHES", 2)
            patch.setattr(sys, "argv", words)
            with pytest.raises(SystemExit) as stop:
                main()
        return int(stop.value.code or 0), "".join(capsys.readouterr())


@pytest.fixture(scope="module")
def runner(folder: Path, makers: dict[str, list[str]]) -> Iterator[Runner]:
    from torch.onnx._internal.exporter import _registration

    operators: Any = _registration.onnxscript_apis  # type: ignore[attr-defined]
    with (
        pytest.MonkeyPatch.context() as patch
    ):  # each export builds the same table of operators anew: a second of its five
        patch.setattr(operators, "get_torchlib_ops", cache(operators.get_torchlib_ops))
        yield Runner(folder, makers, set())


@pytest.mark.parametrize("block", RUNNING, ids=name_of)
def test_commands_run(block: Block, runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    for words in lines_of(block):
        runner.run(words, block.page, capsys)


def shell(words: list[str], folder: Path) -> tuple[int, str]:
    """A line with pipes, in bash, where `rarn-edge` is this checkout's."""
    line = " ".join(word if word in ("|", ">", "&&") else shlex.quote(word) for word in words)
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    program = programs / "rarn-edge"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rarn_edge "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder, env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("block", blocks(PAGES, "python"), ids=name_of)
def test_python_compiles(block: Block) -> None:
    compile(block.text, block.page, "exec")


RUNNING_PYTHON = [
    block for block in blocks(RUN, "python") if block.runs and not re.match(r"# [\w-]+\.py\n", block.text)
]


@pytest.mark.parametrize("block", RUNNING_PYTHON, ids=name_of)
def test_python_runs(
    block: Block, runner: Runner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, _, said = block.note.partition(": ")
    arguments = said.split() if kind == "run as a script" else []
    runner.make([*arguments, *re.findall(r'"([^"\n]+)"', block.text)], block.page, capsys)
    monkeypatch.setattr(sys, "argv", [block.page, *arguments])
    monkeypatch.syspath_prepend(runner.folder)  # as Python does for a script: a block may import a file of the page
    with chdir(runner.folder):
        exec(compile(block.text, block.page, "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("block", blocks(PAGES, "toml"), ids=name_of)
def test_toml_parses(block: Block) -> None:
    assert tomllib.loads(block.text)


def anchors(path: Path) -> set[str]:
    """The headings of a page as GitHub and the site name them."""
    text = re.sub(r"(?ms)^```.*?^```$", "", path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for heading in re.findall(r"(?m)^#+ (.+)$", text):
        plain = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "]", heading).lower())
        found.add(plain.strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if re.match(r"https?:|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}; there are: {', '.join(sorted(anchors(target)))}"


def test_pages_that_the_code_names_are_there() -> None:
    files = [
        ROOT / "Makefile",
        *ROOT.glob("*.toml"),
        *(ROOT / "rarn_edge").rglob("*.py"),
        *(ROOT / "benchmarks").glob("*.py"),
    ]
    for file in files:
        for named in re.findall(r"\bdocs/[\w/-]+\.md", file.read_text(encoding="utf-8")):
            assert (ROOT / named).is_file(), f"{file.relative_to(ROOT)} names {named}"


def test_every_page_is_in_the_menu_of_the_site() -> None:
    menu = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    pages = (path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))
    assert [page for page in pages if f'"{page}"' not in menu] == []


def test_readme_is_short_and_narrow() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 130
    assert len([line for line in lines if line.startswith("| ") and "|---" not in line]) <= 9
    assert max(map(len, (line for line in lines if not line.startswith("!")))) <= 160


def test_every_recipe_is_described() -> None:
    from rarn_edge.train.recipe import RECIPES

    text = (ROOT / "docs" / "guides" / "train.md").read_text(encoding="utf-8")
    assert [name for name in RECIPES if f"`{name}`" not in text] == []


def test_one_version_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert (
        version in re.findall(r"(?m)^## \[(.+?)\]", changelog)[:2]
    )  # the topmost, or the one below what is unreleased


@pytest.mark.parametrize(
    "line", ["quantize a.onnx -o b.onnx --bogus 1", "quantize a.onnx", "nonsense", "bench a.onnx --rounds many"]
)
def test_a_wrong_command_is_found(line: str) -> None:
    with pytest.raises(Exception, match=r"bogus|output|nonsense|valid integer"):
        parse(line.split())
