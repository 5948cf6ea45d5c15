"""Run the commands of an example's README and put what they print below them: python examples/run.py own_network [--check].

Commands are the lines that begin with `$ ` in its `console` blocks. They run one after the other in a copy of the example's
folder. With --check nothing is written: the README's output must be what they print now, but for figures, which differ between
machines.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
BLOCK = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
PROMPT = "$ "
FIGURE = re.compile(r"\b[0-9a-f]{12}\b|[-+]?\d[\d.,]*(e[-+]\d+)?")
DECIDES = re.compile(
    r" (max diff|finite|SQNR|agreement|accuracy lost) .* pass$"
)  # which figure is the closest to its limit
TIMEOUT_S = 900


def output_of(command: str, folder: Path) -> str:
    """What a command prints to standard output, without blanks at the ends of lines and without empty lines.

    Raises:
        SystemExit: it fails.
    """
    beside = Path(sys.executable).parent  # `python` and `rarn-edge` of this environment
    path = f"{beside}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "120"}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode:
        sys.exit(f"{command}\n{done.stdout}{done.stderr}exit code {done.returncode}")
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines() if line.strip())


def renewed(readme: str, folder: Path) -> str:
    """The README with the output of its commands as they print it now; `folder` is the copy they run in."""

    def run(block: re.Match[str]) -> str:
        commands = [line for line in block[0].splitlines() if line.startswith(PROMPT)]
        return "".join(f"{line}\n{output_of(line.removeprefix(PROMPT), folder)}" for line in commands)

    return BLOCK.sub(run, readme)


def without_figures(text: str) -> list[str]:
    """Lines with each number as `#`, runs of blanks as one, and passed parity steps by name: what must not differ."""
    lines = (DECIDES.sub(" pass", " ".join(FIGURE.sub("#", line).split())) for line in text.splitlines())
    lines = (line.replace("# threads ", "# thread ") for line in lines)  # one core is compared with 2, more with 1
    lines = (re.sub("─+", "─", line) for line in lines)  # a rule is as long as its table's figures
    return [line for line in lines if not line.startswith("accuracy #% -> ")]  # it is there where a decision differs


def main(name: str, check: bool) -> None:
    readme = HERE / name / "README.md"
    if not readme.is_file():
        known = ", ".join(sorted(path.parent.name for path in HERE.glob("*/README.md")))
        sys.exit(f"no example '{name}'; one of: {known}")
    before = readme.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="rarn-edge-") as made:
        folder = Path(made) / name
        shutil.copytree(HERE / name, folder)
        after = renewed(before, folder)
    if not check:
        readme.write_text(after, encoding="utf-8")
    elif (now := without_figures(after)) != (then := without_figures(before)):
        changed = next((new for new, old in zip(now, then, strict=False) if new != old), "the end")
        sys.exit(f"{readme}: prints something else now, from '{changed}' on; renew it: python examples/run.py {name}")


if __name__ == "__main__":
    names = [argument for argument in sys.argv[1:] if argument != "--check"]
    if len(names) != 1 or names[0].startswith("-"):
        sys.exit(__doc__)
    main(names[0], "--check" in sys.argv)
