"""Write the recorded results into the docs, or check that they show them: python benchmarks/render.py [--check]

Results lie in benchmarks/results/<device>/<suite>.json, each written by `rarn-edge bench --suite ... --out`.
docs/results/benchmarks.md has a block `<!-- benchmark SUITE -->` ... `<!-- end benchmark -->` for each suite it shows, of all
devices or of `SUITE DEVICE`.

The README's picture, docs/results/accuracy_latency.png, shows the figures of the CSV beside it: latency of the suite `peers`,
accuracy of the same suite, of rarn_edge/assets/quality.json and of docs/roll/ferplus.csv (seven shared classes).

docs/roll/ferplus.png shows docs/roll/ferplus.csv, the roll.csv of `rarn-edge evaluate --report` with --against the rivals, and
carries the hash of these figures.

The README's table between `<!-- claims -->` and `<!-- end claims -->` is made of export/manifest.json, docs/roll/ferplus.csv and
the results of two machines and of the emulated Arm cores.
"""

import argparse
import csv
import io
import json
import re
import sys
from pathlib import Path

from rarn_edge.bench.result import BenchReport, BenchRow, load_report
from rarn_edge.bench.suite import load_suite
from rarn_edge.evaluation.roll import RollPoint
from rarn_edge.files import file_sha256
from rarn_edge.report.bench import bench_markdown
from rarn_edge.stats.interval import Interval
from rarn_edge.stats.ratio import ratio_over_launches

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SUITES = ROOT / "benchmarks" / "suites"
PAGE = ROOT / "docs" / "results" / "benchmarks.md"
ROLL = ROOT / "docs" / "roll" / "ferplus.csv"
PICTURE = ROOT / "docs" / "results" / "accuracy_latency.png"
README = ROOT / "README.md"
MACHINE = "intel-xeon-amx-2-cores"  # whose latencies the picture and the README show
GPU = "nvidia-h100-80gb-hbm3"
WITH_GRAPHS = "_graph"  # ends the name of a suite's result with CUDA graphs
OURS = ("rarn-s", "rarn-n")
RIVALS = {"mini_xception": "mini-Xception", "face_api_expression": "face-api"}
FERPLUS, FER2013 = "FER+, seven shared classes", "FER-2013's labels"
_CLAIMS = re.compile(r"(<!-- claims -->\n).*?(<!-- end claims -->)", re.DOTALL)
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
    described = SUITES / f"{suite.removesuffix(WITH_GRAPHS)}.toml"
    command = f"rarn-edge bench --suite {described.relative_to(ROOT)}"
    if load_suite(described).files:
        command += " --files FOLDER"
    if report.provider != "cpu":
        command += f" --provider {report.provider}"
    if suite.endswith(WITH_GRAPHS):
        command += " --cuda-graph --starts 1"
    if any(row.accuracy is not None for row in report.rows):
        command += " --data fer2013.zip"
    source = f"benchmarks/results/{path.parent.name}/{path.name}"
    title = f"**{report.title}** on `{path.parent.name}`, `{command}` ([raw samples](../../{source})):"
    return f"{title}\n\n{bench_markdown(report)}\n\n"


def ratio(row: BenchRow, other: BenchRow) -> Interval:
    """Latency of a row over that of another from the same rounds, as `bench` gives it to the reference."""
    assert row.sample_rounds == other.sample_rounds, "rows of one batch size share their rounds"
    return ratio_over_launches(list(zip(row.samples_by_launch(), other.samples_by_launch(), strict=True)))


def roll_accuracy(degrees: int) -> dict[str, float]:
    """Percent right of each model on faces of FER+, seven shared classes, turned by so much to its worse side."""
    return {
        model: min(100 * point.accuracy for point in curve if abs(point.roll_deg) == degrees)
        for model, curve in roll_curves().items()
    }


def roll_curves() -> dict[str, list[RollPoint]]:
    """Of each model."""
    found: dict[str, list[RollPoint]] = {}
    with ROLL.open(encoding="utf-8", newline="") as file:
        for model, degrees, *shares in list(csv.reader(file))[1:]:
            found.setdefault(model, []).append(RollPoint(int(degrees), *map(float, shares)))
    return found


def claims(results: Path = RESULTS) -> str:
    """The README's table: what is claimed of both models, and the command that shows it."""
    manifest = json.loads((ROOT / "export" / "manifest.json").read_text(encoding="utf-8"))
    peers = load_report(results / MACHINE / "peers.json")
    single = {row.label: row for row in peers.rows if row.batch == 1}
    gpu = load_report(results / GPU / "gpu_graph.json")
    arm = json.loads((results / "aarch64-emulated" / "answers.json").read_text(encoding="utf-8"))
    upright, turned = roll_accuracy(0), roll_accuracy(30)
    rivals = {label: f"{name} {upright[f'{label}.onnx']:.1f}" for label, name in RIVALS.items()}
    mini = single["mini_xception"]
    assert mini.accuracy is not None

    def released(labels: str) -> list[str]:
        forms = [manifest[f"{name}.{labels}"]["measured"]["int8 x86-avx2"] for name in OURS]
        return [f"{100 * form['accuracy']:.2f} %" for form in forms]

    def rolled(accuracy: dict[str, float]) -> list[str]:
        return [f"{accuracy[f'{name}.int8.onnx']:.1f} %" for name in OURS]

    def times(beside: list[str]) -> list[str]:
        found = [ratio(single[f"{name}.int8"], single[label]) for name, label in zip(OURS, beside, strict=True)]
        return [f"{each.value:.2f} ({each.low:.2f} to {each.high:.2f})" for each in found]

    def fastest(name: str) -> str:
        rates = [row.throughput_images_per_s for row in gpu.rows if row.label == f"{name}.fp16" and row.batch == 256]
        return f"{round(rates[0], -3):,.0f}"

    def flips(name: str) -> str:
        answers = [each for run in arm["runs"] for each in run["answers"] if each["file"].startswith(f"{name}.")]
        return f"{sum(each['decisions_flipped'] for each in answers)} of {sum(each['faces'] for each in answers):,}"

    faces = manifest["rarn-s.ferplus"]["measured"]["int8 x86-avx2"]["images"]
    rows = [
        (f"accuracy: FER+ majority, {faces:,} faces", *released("ferplus"), "`evaluate FILE --data D --votes V`"),
        (f"FER+, seven classes ({', '.join(rivals.values())} %)", *rolled(upright), "the same, `--against RIVAL.onnx`"),
        (f"the same, turned by 30 degrees (these two: at most {max(turned[f'{name}.onnx'] for name in RIVALS):.1f} %)",
         *rolled(turned), "the same, `--report DIR`"),
        (f"FER-2013's labels, models of `export --labels fer2013` (mini-Xception {100 * mini.accuracy.value:.2f} %)",
         *released("fer2013"), "`evaluate FILE --data D`"),
        ("time of INT8 as a share of float32's", *times(list(OURS)), "`bench --suite benchmarks/suites/peers.toml`"),
        ("time of INT8 as a share of mini-Xception's", *times(["mini_xception"] * 2), "the same"),
        ("faces a second, H100, float16, batch 256, CUDA graphs (`rarn-n` of an earlier shape)", *map(fastest, OURS),
         "`benchmarks/gpu_check.sh MODELS`"),
        ("decisions changed on emulated Arm cores", *map(flips, OURS), "`make test-arm`"),
    ]  # fmt: skip
    head = ["| claim | `rarn-s` | `rarn-n` | command |", "|---|--:|--:|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def points(results: Path = RESULTS) -> list[tuple[str, str, float, float]]:
    """Labels, model, milliseconds of one face, and accuracy in percent, of every point in the picture."""
    report = load_report(results / MACHINE / "peers.json")
    rows = {row.label: row for row in report.rows if row.batch == 1}
    upright = roll_accuracy(0)
    quality = json.loads((ROOT / "rarn_edge" / "assets" / "quality.json").read_text(encoding="utf-8"))
    found = []
    for name in OURS:
        milliseconds = 1e3 * rows[f"{name}.int8"].latency_median_s
        said = re.search(r"int8 \S+ ([\d.]+)%", quality[name]["fer2013"])
        assert said is not None
        found += [(FERPLUS, f"{name} INT8", milliseconds, upright[f"{name}.int8.onnx"])]
        found += [(FER2013, f"{name} INT8", milliseconds, float(said[1]))]
    for label, name in RIVALS.items():
        row = rows[label]
        assert row.accuracy is not None
        found += [(FERPLUS, name, 1e3 * row.latency_median_s, upright[f"{label}.onnx"])]
        found += [(FER2013, name, 1e3 * row.latency_median_s, 100 * row.accuracy.value)]
    return sorted(found)


def points_csv(found: list[tuple[str, str, float, float]]) -> str:
    """The figures of the picture."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("labels", "model", "latency_ms", "accuracy_percent"))
    writer.writerows((labels, model, f"{latency:.3f}", f"{accuracy:.2f}") for labels, model, latency, accuracy in found)
    return text.getvalue()


def draw(found: list[tuple[str, str, float, float]], path: Path) -> None:
    """Accuracy against latency, one panel for each set of labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    furthest = 1.3 * max(point[2] for point in found)  # room for the words beside the last point
    for axes, labels in zip(figure.subplots(1, 2), (FERPLUS, FER2013), strict=True):
        shown = [point for point in found if point[0] == labels]
        for _, model, latency, accuracy in shown:
            ours = model.startswith("rarn")
            axes.scatter(latency, accuracy, s=70, color="#0b6e4f" if ours else "#8a8d91", marker="o" if ours else "s")
            axes.annotate(
                f"{model}\n{accuracy:.1f} %, {latency:.2f} ms",
                (latency, accuracy),
                (8, -4),
                textcoords="offset points",
                fontsize=8,
            )
        low, high = min(point[3] for point in shown), max(point[3] for point in shown)
        axes.set(title=labels, xlabel="milliseconds a face, one core", xlim=(0, furthest), ylim=(low - 5, high + 5))
        axes.set_ylabel("accuracy, %")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=160)


def draw_roll(path: Path) -> None:
    """Accuracy against roll, a band for each interval; the picture carries the hash of its figures."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    styles = (("#0b6e4f", "o"), ("#4f9d7f", "s"), ("#8a8d91", "^"), ("#c07f3a", "v"))
    for (model, curve), (color, marker) in zip(roll_curves().items(), styles, strict=True):
        degrees, shown = [point.roll_deg for point in curve], [100 * point.accuracy for point in curve]
        lows, highs = [100 * point.accuracy_low for point in curve], [100 * point.accuracy_high for point in curve]
        stem = model.removesuffix(".onnx")
        name = RIVALS.get(stem, stem.replace(".int8", " INT8"))
        axes.fill_between(degrees, lows, highs, color=color, alpha=0.18, linewidth=0)
        axes.plot(degrees, shown, color=color, marker=marker, markersize=4, linewidth=1.2, label=name)
    axes.set(xlabel="roll, degrees", ylabel="accuracy, %", xticks=range(-90, 91, 30), ylim=(0, 100))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=140, metadata={"Source": file_sha256(ROLL)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 when the page is out of date")
    arguments = parser.parse_args()
    old = PAGE.read_text(encoding="utf-8")
    new = render(old, RESULTS)
    readme = README.read_text(encoding="utf-8")
    claimed = _CLAIMS.sub(lambda match: match[1] + claims() + match[2], readme)
    figures, found = PICTURE.with_suffix(".csv"), points()
    drawn = PICTURE.is_file() and figures.is_file() and figures.read_text(encoding="utf-8") == points_csv(found)
    rolled = ROLL.with_suffix(".png")
    turned = rolled.is_file() and file_sha256(ROLL).encode() in rolled.read_bytes()
    if arguments.check:
        for path, right in ((PAGE, new == old), (PICTURE, drawn), (rolled, turned), (README, claimed == readme)):
            if not right:
                sys.exit(
                    f"{path.relative_to(ROOT)} does not show the recorded results; run: python benchmarks/render.py"
                )
        return
    if new != old:
        PAGE.write_text(new, encoding="utf-8")
        print(f"{PAGE}: updated")
    if claimed != readme:
        README.write_text(claimed, encoding="utf-8")
        print(f"{README}: updated")
    if not drawn:
        draw(found, PICTURE)
        figures.write_text(points_csv(found), encoding="utf-8")
        print(f"{PICTURE}: drawn")
    if not turned:
        draw_roll(rolled)
        print(f"{rolled}: drawn")


if __name__ == "__main__":
    main()
