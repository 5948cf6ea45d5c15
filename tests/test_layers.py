"""The house: which part of the package may import which, no circles between files, and commands that stay short."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "rarn_edge"
LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(names.split())
    for names in (
        "errors",
        "boundary",
        "files host stats decode",
        "contract",
        "data",
        "models assets onnx_graph",
        "runtime",
        "device train evaluation",
        "pipeline parity audit score",
        "bench",
        "report",
        "board",
        "workflow",
        "cli",
    )
)
"""Lowest first: a part imports those below it and itself, never its neighbours or those above, not even inside a function."""

MAX_COMMAND_LINES = 60


def modules() -> dict[str, Path]:
    """`rarn_edge.parity.steps` -> its file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if "files" in parts[:-1]:
            continue  # rarn_edge/board/files: scripts that run beside a model, where this package is not
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(name: str, lazy: bool = True) -> Iterator[str]:
    """The modules of this package that one imports; without `lazy` only what is imported with it."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    for node in ast.walk(tree) if lazy else top_level(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


def top_level(tree: ast.Module) -> Iterator[ast.AST]:
    for node in tree.body:
        yield node
        if isinstance(node, ast.If):
            yield from ast.walk(node)


def part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def layer(module: str) -> int:
    return next(index for index, names in enumerate(LAYERS) if part(module) in names)


def test_every_part_has_a_layer() -> None:
    parts = {part(name) for name in MODULES} - {"", "__main__"}
    assert parts - set().union(*LAYERS) == set()


@pytest.mark.parametrize("name", [name for name in MODULES if part(name) not in ("", "__main__")])
def test_imports_go_down(name: str) -> None:
    wrong = [
        other
        for other in imported(name)
        if other in MODULES and part(other) and part(other) != part(name) and layer(other) >= layer(name)
    ]
    assert wrong == []


def test_no_circles_between_files() -> None:
    """Lazy imports and those for types included: two files that need each other are one file."""
    itself = {"rarn_edge"}  # the package's calls are found by name, when asked for
    reads = {name: {each for each in imported(name) if each in MODULES} - {name} - itself for name in MODULES}
    done: set[str] = set()
    circles: list[str] = []

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            circles.append(" -> ".join((*way[way.index(name) :], name)))
        elif name not in done:
            for other in sorted(reads[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in MODULES.keys() - itself:
        visit(name, ())
    assert circles == []


def test_a_circle_and_a_step_up_would_be_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The two tests above can fail."""
    up, circle = tmp_path / "up.py", tmp_path / "circle.py"
    up.write_text("def later():\n    from rarn_edge.workflow.run import run\n")
    circle.write_text("import rarn_edge.stats.circle\n")
    monkeypatch.setitem(MODULES, "rarn_edge.stats.up", up)
    with pytest.raises(AssertionError, match=r"rarn_edge\.workflow\.run"):
        test_imports_go_down("rarn_edge.stats.up")
    other = tmp_path / "other.py"
    other.write_text("import rarn_edge.stats.circle\n")
    circle.write_text("import rarn_edge.stats.other\n")
    monkeypatch.setitem(MODULES, "rarn_edge.stats.circle", circle)
    monkeypatch.setitem(MODULES, "rarn_edge.stats.other", other)
    with pytest.raises(AssertionError, match=r"rarn_edge\.stats\.circle -> rarn_edge\.stats\.other"):
        test_no_circles_between_files()


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda path: path.stem)
def test_a_command_is_short(path: Path) -> None:
    """Options, one call, one print: the whole function, its options and its docstring counted."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_COMMAND_LINES} == {}


def test_few_modules_lie_loose() -> None:
    assert len([path for path in PACKAGE.glob("*.py") if path.stem != "__init__"]) <= 6
