"""The wheel installs and answers in a bare environment of every Python that is supported and that this machine has.

Without the network the packages it needs come from the environment of these tests, so a Python of another version can only show
`--help` and compile every file. `RARN_EDGE_INSTALL=1` installs everything with pip instead, as the release workflow does.
"""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import cv2
import pytest

from rarn_edge.data.synthetic import synthetic_faces

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = [text.rpartition(" ")[2] for text in PROJECT["classifiers"] if re.fullmatch(r".*Python :: 3\.\d+", text)]
FROM_REGISTRY = bool(os.environ.get("RARN_EDGE_INSTALL"))


def interpreter(version: str) -> str | None:
    """The program that is this Python; pyenv's shims stand on PATH for versions that they do not start."""
    if version == "{}.{}".format(*sys.version_info):
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for program in (f"python{version}", *map(str, pyenv.glob(f"versions/{version}.*/bin/python"))):
        try:
            found = run(program, "-c", "import sys; print('{}.{}'.format(*sys.version_info))")
        except OSError:
            continue
        if found.returncode == 0 and found.stdout.strip() == version:
            return program
    return None


def run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    bare = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, cwd=cwd, env=bare, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_is_this_version_and_small(wheel: Path) -> None:
    assert wheel.name == f"rarn_edge-{PROJECT['version']}-py3-none-any.whl"
    assert wheel.stat().st_size < 12_000_000
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.partition("/")[0] for name in names} == {"rarn_edge", f"rarn_edge-{PROJECT['version']}.dist-info"}


@pytest.mark.parametrize("version", PYTHONS)
def test_wheel_in_a_bare_environment(version: str, wheel: Path, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    venv = tmp_path / "venv"
    made = run(python, "-m", "venv", "--without-pip", venv)
    assert made.returncode == 0, made.stderr
    scripts = venv / ("Scripts" if os.name == "nt" else "bin")
    inside = scripts / ("python.exe" if os.name == "nt" else "python")
    what = [f"{wheel}[cpu]"] if FROM_REGISTRY else ["--no-deps", wheel]
    installed = run(sys.executable, "-m", "pip", "--python", inside, "install", "--quiet", *what)
    assert installed.returncode == 0, installed.stderr
    if not FROM_REGISTRY:
        (packages,) = venv.glob("Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages")
        (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")

    said = run(inside, "-c", "import rarn_edge; print(rarn_edge.__file__)", cwd=tmp_path)
    assert str(venv) in said.stdout  # the installed package, not this checkout
    shown = run(scripts / "rarn-edge", "--help", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "predict" in shown.stdout
    if not (FROM_REGISTRY or python == sys.executable):
        compiled = run(inside, "-W", "error", "-m", "compileall", "-q", "-f", Path(said.stdout.strip()).parent)
        assert compiled.returncode == 0, compiled.stdout
    else:
        cv2.imwrite(str(tmp_path / "face.png"), synthetic_faces(1, seed=0).images[0])
        answered = run(scripts / "rarn-edge", "predict", "face.png", "--json", cwd=tmp_path)
        assert answered.returncode == 0, answered.stderr  # a warning about the kind of CPU is right here
        assert '"label": "' in answered.stdout
