"""What `make test-arm` says where it cannot run; the tools it looks for are played, so that neither root nor QEMU is needed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("root.sh")
BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None or sys.platform == "win32", reason="a script for bash")


def run(folder: Path, **tools: str) -> subprocess.CompletedProcess[str]:
    """The script with these programs on its path and no others but the few that it always uses."""
    assert BASH is not None
    tools = {"id": "echo 0", "uname": "echo x86_64", "debootstrap": "exit 1", "qemu-aarch64-static": "exit 1", **tools}
    for name, body in tools.items():
        if body:
            (folder / name).write_text(f"#!{BASH}\n{body}\n")
            (folder / name).chmod(0o755)
    for name in ("dirname", "cat", "mkdir", "rm", "tail"):
        found = shutil.which(name)
        assert found is not None
        if not (folder / name).exists():
            (folder / name).symlink_to(found)
    environment = {"PATH": str(folder), "BINFMT_MISC": str(folder / "binfmt_misc")}
    command = [BASH, str(SCRIPT), str(folder / "root")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=20)


def test_not_root(tmp_path: Path) -> None:
    done = run(tmp_path, id="echo 1000")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "arm: needs root, to change into another root folder; run: sudo make test-arm\n"


@pytest.mark.parametrize("tool", ["debootstrap", "qemu-aarch64-static"])
def test_a_tool_is_missing(tool: str, tmp_path: Path) -> None:
    done = run(tmp_path, **{tool: ""})
    assert done.returncode == 2
    assert done.stderr == f"arm: {tool} is missing; run: apt-get install -y qemu-user-static debootstrap\n"


def test_no_binfmt_misc(tmp_path: Path) -> None:
    done = run(tmp_path, mount="exit 32")
    assert done.returncode == 2
    assert "this kernel has no binfmt_misc" in done.stderr
    assert "tonistiigi/binfmt --install arm64" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "root").exists()


def with_binfmt_misc(folder: Path) -> None:
    """A kernel that knows what to do with an aarch64 program."""
    (folder / "binfmt_misc").mkdir()
    for name in ("register", "qemu-aarch64"):
        (folder / "binfmt_misc" / name).touch()


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    with_binfmt_misc(tmp_path)
    theirs = tmp_path / "root" / ".profile"
    theirs.parent.mkdir()
    theirs.touch()
    done = run(tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        f"arm: {tmp_path / 'root'} holds files that this script did not make; name a new folder, or an empty one\n"
    )
    assert theirs.exists()


def test_a_folder_that_a_stopped_run_left_is_made_anew(tmp_path: Path) -> None:
    with_binfmt_misc(tmp_path)
    stopped = f"echo half >{tmp_path / 'root' / 'half'}; exit 1"
    assert run(tmp_path, debootstrap=stopped).returncode == 2
    assert (tmp_path / "root" / "half").exists()
    done = run(tmp_path)
    assert done.stderr.splitlines()[-1].startswith("arm: debootstrap failed")
    assert not (tmp_path / "root" / "half").exists()


def test_debootstrap_fails(tmp_path: Path) -> None:
    """The control of what is above: with everything in place the script goes on to its work."""
    with_binfmt_misc(tmp_path)
    done = run(tmp_path, debootstrap="echo E: no such mirror; exit 1")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "arm: debootstrap failed: E: no such mirror"
