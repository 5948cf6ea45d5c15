"""`rarn-edge bundle --format web`: what it writes, and what it refuses."""

import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from rarn_edge.assets import shipped_bundle, shipped_onnx
from rarn_edge.board.make import make_bundle
from rarn_edge.board.web import make, runtime
from rarn_edge.errors import InputError

TINY = Path(__file__).parents[1] / "device" / "tiny.onnx"
PAGE = Path(make.__file__).with_name("page")

WORKER = """
const kept = new Set(["rarn-edge-1", "rarn-edge https://x/b/ 1", "rarn-edge https://x/a/ 1"]);
const handlers = {};
globalThis.self = {
  registration: { scope: "https://x/a/" },
  addEventListener: (name, handle) => { handlers[name] = handle; },
  skipWaiting() {},
  clients: { claim() {} },
};
globalThis.caches = {
  keys: async () => [...kept],
  delete: async (name) => kept.delete(name),
  open: async (name) => ({ addAll: async () => kept.add(name) }),
};
globalThis.Request = class {};
await import("./sw.js");
for (const name of ["install", "activate"]) await new Promise((resolve) => handlers[name]({ waitUntil: resolve }));
console.log(JSON.stringify([...kept].sort()));
"""


@pytest.fixture
def fake_web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An npm folder with small files in place of ONNX Runtime Web's, and their sums in place of the published ones."""
    folder = tmp_path / "onnxruntime-web"
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": runtime.PACKAGE, "version": runtime.VERSION}))
    for name in runtime.SHA256:
        (folder / "dist" / name).write_text(f"// {name}")
        monkeypatch.setitem(runtime.SHA256, name, hashlib.sha256(f"// {name}".encode()).hexdigest())
    return folder


def test_versions_are_pinned_alike() -> None:
    pins = json.loads(Path(__file__).with_name("package.json").read_text())["dependencies"]
    assert pins["onnxruntime-web"] == runtime.VERSION
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pins.values())


def test_our_own_page_is_small() -> None:
    assert sum(path.stat().st_size for path in PAGE.iterdir() if path.suffix in (".js", ".html", ".css")) < 62_000


def test_one_file_for_the_smallest_model(ort_web: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert make_bundle(shipped_onnx("rarn-n"), out, "web", shipped_bundle("rarn-n"), ort_web=ort_web) == ("page.html",)
    assert out.stat().st_size < 5_800_000
    text = out.read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", text.split('<script type="text/plain"')[0])
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_the_same_model_gives_the_same_bytes(fake_web: Path, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        make_bundle(TINY, tmp_path / name, "web", ort_web=fake_web)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_checksums_and_licences_of_the_folder(fake_web: Path, tmp_path: Path) -> None:
    names = make_bundle(TINY, tmp_path / "site", "web", ort_web=fake_web)
    site = tmp_path / "site"
    listed = dict(reversed(line.split("  ")) for line in (site / "SHA256SUMS").read_text().splitlines())
    assert set(listed) == set(names) - {"SHA256SUMS"}
    assert all(hashlib.sha256((site / name).read_bytes()).hexdigest() == sha for name, sha in listed.items())
    assert (site / "model.onnx").read_bytes() == TINY.read_bytes()
    assert "Apache License" in (site / "LICENSE.rarn-edge-scripts").read_text()
    assert "Copyright (c) Microsoft" in (site / "LICENSE.onnxruntime").read_text()
    assert "Cross-Origin-Embedder-Policy: require-corp" in (site / "_headers").read_text()
    kept = json.loads(re.search(r"FILES = (\[.*\])", (site / "sw.js").read_text())[1])  # type: ignore[index]
    assert set(kept) == (set(names) | {"./"}) - {"sw.js", "README.md", "_headers"}


def test_a_page_removes_its_own_old_caches_alone(node: str, fake_web: Path, tmp_path: Path) -> None:
    make_bundle(TINY, tmp_path / "site", "web", ort_web=fake_web)
    command = [node, "--input-type=module", "-e", WORKER]
    done = subprocess.run(command, cwd=tmp_path / "site", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    own, *others = json.loads(done.stdout)
    assert re.fullmatch("rarn-edge https://x/a/ [0-9a-f]{12}", own)
    assert others == ["rarn-edge https://x/b/ 1", "rarn-edge-1"]


def test_a_model_name_cannot_break_the_page(fake_web: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(TINY)
    (entry,) = [entry for entry in model.metadata_props if entry.key == "rarn_edge"]
    contract = json.loads(entry.value)
    contract["spec"]["name"] = "<title><script>alert(1)<script>{{script}}"  # a name holds no slash
    entry.value = json.dumps(contract)
    onnx.save(model, tmp_path / "odd.onnx")
    make_bundle(tmp_path / "odd.onnx", tmp_path / "page.html", "web", ort_web=fake_web)
    text = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in text
    assert text.count('<script type="module">') == 1


def remove(folder: Path) -> None:
    (folder / "dist" / runtime.WASM).unlink()


def change(folder: Path) -> None:
    (folder / "dist" / runtime.WASM).write_text("changed")


def older(folder: Path) -> None:
    (folder / "package.json").write_text(json.dumps({"name": runtime.PACKAGE, "version": "1.20.0"}))


def other(folder: Path) -> None:
    (folder / "package.json").write_text(json.dumps({"name": "left-pad", "version": runtime.VERSION}))


def damaged(folder: Path) -> None:
    (folder / "package.json").write_text("[")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove, "no such file"),
        (change, "not the published file"),
        (older, "is onnxruntime-web 1.20.0; the page is tested with onnxruntime-web 1.30.0: npm install"),
        (other, "is left-pad 1.30.0"),
        (damaged, "not the npm package onnxruntime-web"),
    ],
)
@pytest.mark.parametrize("out", ["page.html", "site"])
def test_another_runtime(
    damage: Callable[[Path], None], message: str, out: str, fake_web: Path, tmp_path: Path
) -> None:
    damage(fake_web)
    with pytest.raises(InputError, match=re.escape(message)):
        make_bundle(TINY, tmp_path / out, "web", ort_web=fake_web)
    assert [path.name for path in tmp_path.iterdir()] == ["onnxruntime-web"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-o", "TMP/x.html", "--format", "web"), "get it with: npm install --no-save onnxruntime-web@1.30.0"),
        (("-o", "TMP/x.html", "--format", "web", "--ort-web", "TMP/none"), "not the npm package onnxruntime-web"),
        (("-o", "TMP/x", "--ort-web", "TMP"), "--ort-web is for --format web"),
    ],
)
def test_what_users_get_wrong(
    cli: Callable[..., SimpleNamespace], words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = cli("bundle", TINY, *(word.replace("TMP", str(tmp_path)) for word in words))
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_parity_bundle_of_another_model(fake_web: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its model is"):
        make_bundle(TINY, tmp_path / "x.html", "web", shipped_bundle("rarn-n"), ort_web=fake_web)
