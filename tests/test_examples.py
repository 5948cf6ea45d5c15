"""The examples print what their READMEs say, but for figures."""

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
spec = spec_from_file_location("examples_run", EXAMPLES / "run.py")
assert spec is not None
assert spec.loader is not None
run = module_from_spec(spec)
spec.loader.exec_module(run)


@pytest.mark.parametrize("name", ["own_network", "transfer"])
def test_an_example_prints_what_its_readme_says(name: str) -> None:
    run.main(name, check=True)


def test_drift_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "HERE", tmp_path)
    (tmp_path / "small").mkdir()
    readme = tmp_path / "small" / "README.md"
    readme.write_text("```console\n$ echo took 3.5 s\ntook 9.1 s\n```\n", encoding="utf-8")
    run.main("small", check=True)
    readme.write_text("```console\n$ echo took 3.5 s\ntook long\n```\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"prints something else now, from 'took # s' on"):
        run.main("small", check=True)
    run.main("small", check=False)
    assert "took 3.5 s" in readme.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--check"], "Run the commands"), (["owl"], "one of: own_network, transfer")]
)
def test_without_an_example_of_that_name(arguments: list[str], said: str) -> None:
    command = [sys.executable, str(EXAMPLES / "run.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_that_fails_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="exit code 3"):
        run.output_of(f'"{sys.executable}" -c "raise SystemExit(3)"', tmp_path)
