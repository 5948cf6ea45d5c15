"""Write the recorded results into docs/results/benchmarks.md, or check that it shows them: python benchmarks/render.py [--check]

Results lie in benchmarks/results/<device>/<suite>.json, each written by `rarn-edge bench --suite ... --out`. The page has a
block `<!-- benchmark SUITE -->` ... `<!-- end benchmark -->` for each suite it shows, of all devices or of `SUITE DEVICE`.
"""

import argparse
import re
import sys
from pathlib import Path

from rarn_edge.bench.result import BenchReport, load_report
from rarn_edge.bench.suite import load_suite
from rarn_edge.report.bench import bench_markdown

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SUITES = ROOT / "benchmarks" / "suites"
PAGE = ROOT / "docs" / "results" / "benchmarks.md"
_BLOCK = re.compile(r"(<!-- benchmark (\w+)(?: ([\w.-]+))? -->\n).*?(<!-- end benchmark -->)", re.DOTALL)


def render(text: str, results: Path) -> str:
    """`text` with every block filled anew from the results of the devices it shows.

    Raises:
        SystemExit: a block names a suite without a recorded result.
    """

    def fill(match: re.Match[str]) -> str:
        start, suite, device, end = match.groups()
        found = sorted(results.glob(f"{device or '*'}/{suite}.json"))
        if not found:
            raise SystemExit(f"no result of the suite '{suite}' in {results / (device or '')}")
        parts = [section(load_report(path), path, suite) for path in found]
        return start + "\n".join(parts) + end

    return _BLOCK.sub(fill, text)


def section(report: BenchReport, path: Path, suite: str) -> str:
    """One device's table, with the command that makes it."""
    command = f"rarn-edge bench --suite benchmarks/suites/{suite}.toml"
    described = SUITES / f"{suite}.toml"
    if described.exists() and load_suite(described).files:
        command += " --files FOLDER"
    if any(row.accuracy is not None for row in report.rows):
        command += " --data fer2013.zip"
    source = f"benchmarks/results/{path.parent.name}/{path.name}"
    title = f"**{report.title}** on `{path.parent.name}`, `{command}` ([raw samples](../../{source})):"
    return f"{title}\n\n{bench_markdown(report)}\n\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 when the page is out of date")
    arguments = parser.parse_args()
    old = PAGE.read_text(encoding="utf-8")
    new = render(old, RESULTS)
    if arguments.check:
        if new != old:
            sys.exit("docs/results/benchmarks.md does not show the recorded results; run: python benchmarks/render.py")
    elif new != old:
        PAGE.write_text(new, encoding="utf-8")
        print(f"{PAGE}: updated")


if __name__ == "__main__":
    main()
