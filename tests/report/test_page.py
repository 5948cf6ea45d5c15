"""The pages in a real browser: as wide as a phone and as a desk, nothing overflows, nothing is cut, nothing is fetched."""

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rarn_edge.bench.extras.accuracy import Accuracy
from rarn_edge.bench.result import load_report
from rarn_edge.contract.spec import FERPLUS_CLASSES, ModelSpec
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.evaluation.judge import Subject, judge
from rarn_edge.evaluation.roll import RollPoint
from rarn_edge.report.drawing import Plot
from rarn_edge.report.evaluation_plots import confusion_plot, face_plot, roll_plot
from rarn_edge.report.page import bench_page, evaluation_page
from rarn_edge.stats.classification import evaluate_logits
from rarn_edge.workflow.answers import Answers

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
LONGEST = "rarn-s.ferplus.x86-avx2.int8"
SPEC = ModelSpec(LONGEST, classes=FERPLUS_CLASSES)
WIDTHS = (390, 1440)

# Run at the end of each page: how wide it is, and what a reader would not see. What lies in a region that scrolls is not lost.
MEASURE = """<script>
addEventListener("load", () => {
  const width = document.documentElement.clientWidth;
  for (const each of document.querySelectorAll("details")) each.open = true;
  const name = (each) => each.tagName + ": " + (each.textContent || "").trim().slice(0, 60);
  const lost = [...document.querySelectorAll("body *")].filter((each) => {
    if (each.closest(".scroll, .skip, defs, clipPath")) return false;
    const box = each.getBoundingClientRect();
    return box.width > 0 && (box.right > width + 1 || box.left < -1);
  });
  const cut = [...document.querySelectorAll("figure svg")].flatMap((svg) => {
    const frame = svg.closest("figure").getBoundingClientRect();
    return [...svg.querySelectorAll("text")].filter((each) => {
      const box = each.getBoundingClientRect();
      return box.left < frame.left - 1 || box.right > frame.right + 1;
    });
  });
  const broken = [...document.images].filter((each) => !each.naturalWidth);
  parent.postMessage({
    width, wide: document.documentElement.scrollWidth, pictures: document.querySelectorAll("figure svg, figure img").length,
    lost: [...lost, ...cut, ...broken].map(name),
  }, "*");
});
</script>"""
FRAMES = """<!doctype html><body><script>
const pages = %s, seen = {};
for (const [key, page, width] of pages) {
  const frame = document.createElement("iframe");
  frame.style = `border:0;height:900px;width:${width}px`;
  frame.src = page;
  addEventListener("message", (event) => {
    if (event.source !== frame.contentWindow) return;
    seen[key] = event.data;
    if (Object.keys(seen).length === pages.length) document.body.textContent = JSON.stringify(seen);
  });
  document.body.append(frame);
}
</script>"""


def right_for(labels: NDArray[np.int64], wrong: int) -> NDArray[np.float32]:
    """Logits [N, 8] that are right but for every `wrong`th face."""
    decided = np.where(np.arange(len(labels)) % wrong == 0, (labels + 1) % 8, labels)
    return np.eye(8, dtype=np.float32)[decided] * 3


def predict(images: Sequence[object]) -> NDArray[np.float32]:
    return right_for(np.arange(len(images)) % 8, 3)


def pictures() -> Iterator[Plot]:
    yield face_plot(LONGEST, SPEC, predict)
    labels = np.arange(1000) % 8
    yield confusion_plot(LONGEST, evaluate_logits(right_for(labels, 5), labels, FERPLUS_CLASSES))
    curve = [RollPoint(deg, 0.8, 0.75, 0.85) for deg in range(-90, 91, 15)]
    yield roll_plot([(LONGEST, curve)], "512 of 3,573 faces of fer2013.zip (PublicTest)")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """A benchmark with everything in it, with and without answers, and an evaluation."""
    peers = load_report(RESULTS / "amd-epyc-zen1-2-cores" / "peers.json")
    accuracy = {
        row.label: Accuracy(0.9 - 0.02 * i, 0.87 - 0.02 * i, 0.93 - 0.02 * i, 3573, "3,573 faces")
        for i, row in enumerate(peers.rows)
    }
    scored = Answers((), accuracy).beside(peers)
    faces = synthetic_faces(70, seed=3)
    subject = Subject(LONGEST, SPEC, predict, (129.5, 65.0))
    judgement = judge(subject, predict(faces.images), faces, "70 faces", synthetic_faces(14, seed=4), [subject])
    return {
        "bench": bench_page(peers),
        "answers": bench_page(scored, answers=list(pictures())),
        "evaluation": evaluation_page(judgement, next(pictures())),
    }


def test_every_picture_is_there(pages: dict[str, str]) -> None:
    titles = {name: re.findall(r"<h3>(.*?)</h3>", page) for name, page in pages.items()}
    assert titles["answers"][:2] == ["What an answer looks like", "What accuracy costs in time"]
    assert titles["answers"][-2:] == ["Which expression is taken for which", "What a turned head costs"]
    assert titles["evaluation"] == [
        "What an answer looks like", "Which expression is taken for which", "What a turned head costs",
        "Whether its confidence can be believed",
    ]  # fmt: skip
    assert "What an answer looks like" not in titles["bench"]


def test_a_page_needs_nothing_else(pages: dict[str, str]) -> None:
    for page in pages.values():
        assert re.findall(r'(?:src|href|action)="(?!data:image/png;base64,|#)[^"]*"|@import|url\((?!#)', page) == []
        assert "<script" not in page


def test_the_picture_is_of_the_answer() -> None:
    face = next(pictures())
    assert face.summary.startswith(f"{LONGEST} says disgust, 74%, to a face drawn as happy.")
    assert face.html.startswith('<img src="data:image/png;base64,iVBOR')
    assert len(face.table.rows) == 8


def test_nothing_overflows_in_chromium(pages: dict[str, str], chromium: str, tmp_path: Path) -> None:
    frames = []
    wide = '<p style="min-width:2000px">far too wide</p>'
    for name, page in {**pages, "too wide": pages["bench"].replace("<main>", f"<main>{wide}")}.items():
        path = tmp_path / f"{name}.html"
        path.write_text(page.replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
        frames += [(f"{name} {width}", path.as_uri(), width) for width in WIDTHS]
    (tmp_path / "frames.html").write_text(FRAMES % json.dumps(frames), encoding="utf-8")
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1500,1000", "--virtual-time-budget=20000", "--dump-dom", (tmp_path / "frames.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    body = re.search(r"<body>(\{.*\})</body>", done.stdout, re.DOTALL)
    assert body is not None, done.stdout[-2000:] + done.stderr[-2000:]
    seen = json.loads(unescape(body.group(1)))
    for width in WIDTHS:
        told = seen.pop(f"too wide {width}")
        assert told["wide"] > width
        assert any("far too wide" in each for each in told["lost"])
    assert {key: (each["wide"] - each["width"], each["lost"]) for key, each in seen.items()} == dict.fromkeys(
        seen, (0, [])
    )
    assert {key: each["width"] for key, each in seen.items()} == {key: width for key, _, width in frames if key in seen}
    assert all(each["pictures"] >= 3 for each in seen.values())
