"""Suites as data and on the command line, and what is rendered from recorded results."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from rarn_edge.bench.cases import load_cases
from rarn_edge.bench.doctor import Diagnosis
from rarn_edge.bench.result import load_report
from rarn_edge.bench.suite import load_suite
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import detect_host
from rarn_edge.decode import decode
from rarn_edge.errors import InputError
from rarn_edge.models.catalog import CATALOG
from rarn_edge.pipeline.calibrate import Ranges
from rarn_edge.pipeline.quantize import quantize
from rarn_edge.report.page import MAX_BYTES
from rarn_edge.workflow import bench_files
from rarn_edge.workflow.bench_files import suite_files

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "device" / "tiny.onnx"


@pytest.fixture(scope="module")
def render(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("benchmarks/render.py")


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "suites").glob("*.toml")), ids=lambda path: path.stem)
def test_our_suites_are_valid(path: Path) -> None:
    suite = load_suite(path)
    assert set(suite.models) <= set(CATALOG)
    assert all(spec is None or spec.is_file() for spec in map(suite.spec, suite.files))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "not a readable suite"),
        ('models = ["rarn-s"]\nrounds = 3', "the key 'title' is missing"),
        ('title = "x"\nrounds = 3', "neither models nor files"),
        ('title = "x"\nmodels = ["rarn-s"]', "needs rounds"),
        ('title = "x"\nmodels = ["rarn-s"]\nround = 3', "unknown key 'round'"),
        ('title = "x"\nmodels = "rarn-s"\nrounds = 3', "models: a list is needed, found 'rarn-s'"),
        ('title = "x"\nmodels = ["rarn-s"]\nrounds = true', "rounds: a whole number is needed, found True"),
        (
            'title = "x"\nmodels = ["rarn-s"]\nrounds = 3\nbatches = ["all"]',
            r"batches\[0\]: a whole number is needed, found 'all'",
        ),
        ('title = "x"\nmodels = ["rarn-s"]\nint8 = ["rarn-n"]\nrounds = 3', "not in models"),
        ('title = "x"\nrounds = 3\n[[files]]\nfile = "x.onnx"', r"files\[0\]: unknown key 'file'; known: path, spec"),
        ('title = "x"\nrounds = 3\n[[files]]\npath = 5', r"files\[0\].path: text is needed, found 5"),
    ],
)
def test_bad_suites(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_suite(path)


def test_a_suite_is_a_config(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(
        'title = "x"\nmodels = ["rarn-s"]\nbudget = "2m"\nstarts = 3\nbatches = [1, 8]\nthreads = [2]\nmemory = false\n'
    )
    asked = load_suite(path).config
    assert (asked.title, asked.budget_s, asked.rounds, asked.launches) == ("x", 120.0, None, 3)
    assert (asked.batches, asked.threads, asked.memory, asked.profile) == ((1, 8), (2,), False, False)
    path.write_text('title = "x"\nmodels = ["rarn-s"]\nbudget = "soon"\n')
    with pytest.raises(InputError, match="budget takes a duration such as 60s or 5m; found 'soon'"):
        load_suite(path)


def suite_of(folder: Path, *places: str) -> Path:
    """A suite of the same graph at each place, each with a contract of its own: `net0`, `net1`."""
    lines = ['title = "x"', "rounds = 3"]
    for index, place in enumerate(places):
        (folder / place).parent.mkdir(parents=True)
        (folder / place).write_bytes(TINY.read_bytes())
        classes = '["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]'
        text = f'name = "net{index}"\nclasses = {classes}\npreprocess = {{ mean = [128.0], std = [64.0] }}\n'
        (folder / f"{index}.toml").write_text(text)
        lines += ["[[files]]", f'path = "{place}"', f'spec = "{index}.toml"']
    (folder / "suite.toml").write_text("\n".join(lines) + "\n")
    return folder / "suite.toml"


def test_files_of_one_name_stay_apart(tmp_path: Path) -> None:
    suite = load_suite(suite_of(tmp_path, "a/model.onnx", "b/model.onnx"))
    cases = load_cases(suite_files(suite, None, tmp_path / "work"))
    names = [None if case.contract is None else case.contract.spec.name for case in cases]
    assert names == ["net0", "net1"]


def test_files_and_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    suite = load_suite(suite_of(tmp_path, "x/a/model.onnx", "y/a/model.onnx"))
    with pytest.raises(InputError, match=r"the suite has 2 files a/model\.onnx; rename one, or its folder"):
        suite_files(suite, None, tmp_path / "work")


def test_an_int8_file_that_another_command_left_is_made_anew(
    simplified: Artifact, ranges: Ranges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is of the same float32 file and for the same target, but its ranges are others."""
    monkeypatch.setattr("rarn_edge.pipeline.calibrate.ranges_of", lambda *_of: ranges)
    float32 = tmp_path / "net.onnx"
    float32.write_bytes(simplified.path.read_bytes())
    source = Artifact.load(float32)
    wider = {name: (2 * low, 2 * high) for name, (low, high) in ranges.tensors.items()}
    quantize(source, detect_host().target, replace(ranges, method="minmax", tensors=wider), tmp_path / "net.int8.onnx")
    expected = quantize(source, detect_host().target, ranges, tmp_path / "expected.onnx").artifact
    assert Artifact.load(bench_files._int8("net", float32)).sha256 == expected.sha256


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite of one foreign file, measured into result.json and page.html."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "files").mkdir()
    (folder / "files" / "tiny.onnx").write_bytes(TINY.read_bytes())
    (folder / "mine.toml").write_text(
        'title = "Mine <&>"\nrounds = 5\nthreads = [1]\nbatches = [1, 2]\n[[files]]\npath = "tiny.onnx"\n'
    )
    return folder


def test_a_suite_is_measured_saved_and_shown(
    cli, measured: Path, render: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, page = measured / "results" / "board" / "mine.json", measured / "page.html"
    out.parent.mkdir(parents=True)
    suite = measured / "mine.toml"
    refused = cli("bench", "--suite", suite)
    assert refused.returncode == 2
    assert "--files FOLDER" in refused.stderr
    done = cli("bench", "--suite", suite, "--files", measured / "files", "-o", out, "--html", page, "--no-memory")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.parent.iterdir()) == ["mine.json"]  # the journal is gone
    report = load_report(out)
    assert [(row.label, row.batch, len(row.samples_s)) for row in report.rows] == [("tiny", 1, 5), ("tiny", 2, 5)]
    assert json.loads(out.read_text())["schema_version"] == 4
    html = page.read_text(encoding="utf-8")
    assert len(html.encode()) < MAX_BYTES
    assert "Mine &lt;&amp;&gt;" in html
    pictures = html.count('role="img"') + html.count("<img ")
    assert html.count("<figure>") == html.count("The same as a table") == pictures >= 2
    links = [part.split('"')[0] for key in ('src="', 'href="', "url(") for part in html.split(key)[1:]]
    assert all(link.startswith(("#", "data:image/")) for link in links)  # nothing from elsewhere
    assert "<script" not in html
    monkeypatch.setattr(render, "SUITES", measured)  # of another repository, as it were
    monkeypatch.setattr(render, "ROOT", measured)
    text = "before\n<!-- benchmark mine -->\nold\n<!-- end benchmark -->\nafter\n"
    shown = render.render(text, measured / "results")
    assert "old" not in shown
    assert "on `board`" in shown
    assert "| tiny | 2 |" in shown
    assert render.render(shown, measured / "results") == shown
    of_one = shown.replace("benchmark mine", "benchmark mine board")
    assert render.render(of_one, measured / "results") == of_one
    with pytest.raises(SystemExit, match=r"no result of the suite 'mine' in .*phone"):
        render.render(shown.replace("benchmark mine", "benchmark mine phone"), measured / "results")


def test_the_page_shows_the_recorded_results(render: ModuleType) -> None:
    text = (ROOT / "docs" / "results" / "benchmarks.md").read_text(encoding="utf-8")
    assert "<!-- benchmark" in text
    assert render.render(text, render.RESULTS) == text, "run: python benchmarks/render.py"


@pytest.mark.parametrize(
    "path",
    sorted(
        set((ROOT / "benchmarks" / "results").glob("*/*.json"))
        - set((ROOT / "benchmarks" / "results").glob("*emulated/*"))
        - set((ROOT / "benchmarks" / "results").glob("*/rivals.json"))  # of other tools: tests/bench/test_rivals.py
    ),
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_recorded_results_are_read_and_written_unchanged(path: Path) -> None:
    recorded = json.loads(path.read_text(encoding="utf-8"))
    if recorded["kind"] == "doctor":
        facts = {name: value for name, value in recorded.items() if name not in ("kind", "schema_version")}
        assert decode(Diagnosis, facts).to_dict() == recorded
    else:
        assert load_report(path).to_dict() == recorded


def test_models_or_a_suite_not_both(cli, measured: Path) -> None:
    done = cli("bench", TINY, "--suite", measured / "mine.toml")
    assert done.returncode == 2
    assert "not both" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--scenario", "offine"), "no scenario 'offine'"),
        (("--budget", "soon"), "a duration such as 60s"),
        (("--budget", "0s"), "a duration above 0"),
        (("--data", "nowhere.zip"), "nowhere.zip: no such file or folder"),
        (("-o", "no/such/folder/x.json"), "does not exist"),
    ],
)
def test_bad_options(cli, options: tuple[str, ...], message: str) -> None:
    done = cli("bench", TINY, *options)
    assert done.returncode == 2
    assert message in done.stderr
