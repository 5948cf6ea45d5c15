"""The page put together: its parts as bytes by name, then all of them in one HTML file, or each as a file of a folder."""

import base64
import gzip
import hashlib
import html
import importlib.metadata
import json
import re
from importlib.resources import files
from pathlib import Path

from rarn_edge.assets import asset
from rarn_edge.board.card import board_card
from rarn_edge.board.web.check import check_bytes
from rarn_edge.board.web.runtime import BUNDLE, WASM, read_runtime
from rarn_edge.boundary.names import markdown
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import are_expressions
from rarn_edge.device.blazeface import FILE as DETECTOR
from rarn_edge.parity.bundle import load_bundle

MODULES = ("parts.js", "contract.js", "preprocess.js", "detector.js", "model.js", "check.js", "guide.js", "page.js")
"""In the order of their imports."""
POLICY = (
    "default-src 'none'; script-src {script} 'wasm-unsafe-eval'; style-src {style}; img-src data: blob:;"
    " media-src blob:; connect-src {connect}; worker-src {connect} blob:; base-uri 'none'; form-action 'none'"
)
_EXPRESSION = (
    "A label is what a network says of a face's look, not what a person feels. Do not decide about people by it."
)
_CLASS = "The network answers one of its classes for any picture, also for one of something else."
HEADERS = """/*
  Cross-Origin-Opener-Policy: same-origin
  Cross-Origin-Embedder-Policy: require-corp
"""
README = """# {name} as a web page

Serve this folder by any static server; a page opened as a file cannot load the others:

    python3 -m http.server

Browsers give the camera to https:// and to localhost only. With these two headers the model runs on two threads; hosts that read
a file `_headers` find them there:

    Cross-Origin-Opener-Policy: same-origin
    Cross-Origin-Embedder-Policy: require-corp

After the first visit the page works without a network. `sha256sum -c SHA256SUMS` checks the files.
"""


def page_parts(artifact: Artifact, ort_web: Path | None, parity: Path | None, measured: str | None) -> dict[str, bytes]:
    """Everything but the page's own text, by file name.

    Raises:
        InputError: ONNX Runtime Web is absent or not the tested one, or the parity bundle does not fit the model.
    """
    runtime = read_runtime(ort_web)
    return {
        **runtime,
        "model.onnx": artifact.path.read_bytes(),
        DETECTOR: asset(DETECTOR).read_bytes(),
        "check.bin": check_bytes(artifact, None if parity is None else load_bundle(parity)),
        "MODEL_CARD.md": board_card(artifact, measured).encode(),
        **_licences(),
    }


def one_file(artifact: Artifact, parts: dict[str, bytes], licence: dict[str, str]) -> bytes:
    """A page that needs nothing beside it: every part is gzip in base 85 in a block of its own."""
    parts = parts | {name: text.encode() for name, text in licence.items()}
    parts["SHA256SUMS"] = _sums(parts)
    script = "\n".join(_unwrapped(_own(name)) for name in MODULES)
    style = _own("style.css")
    policy = POLICY.format(script=f"{_hash(script)} blob:", style=_hash(style), connect="'none'").replace(
        "worker-src 'none' blob:", "worker-src blob:"
    )
    blocks = [
        f'<script type="text/plain" id="part:{name}">{_packed(content)}</script>' for name, content in parts.items()
    ]
    return _page(
        artifact,
        policy=policy,
        style=f"<style>{style}</style>",
        script=f'<script type="module">{script}</script>',
        parts="\n".join([_config(artifact, parts, worker=None), *blocks]),
    ).encode()


def write_site(artifact: Artifact, parts: dict[str, bytes], licence: dict[str, str], folder: Path) -> None:
    """The same page as files, with a service worker that keeps them for use without a network."""
    parts = parts | {name: text.encode() for name, text in licence.items()}
    site = dict(parts)
    site |= {name: _own(name).encode() for name in (*MODULES, "style.css")}
    site["index.html"] = _page(
        artifact,
        policy=POLICY.format(script="'self'", style="'self'", connect="'self'"),
        style='<link rel="stylesheet" href="style.css">',
        script='<script type="module" src="page.js"></script>',
        parts=_config(artifact, {**parts, "SHA256SUMS": b""}, worker="sw.js"),
    ).encode()
    kept = ["./", *sorted(site), "SHA256SUMS"]
    version = hashlib.sha256(_sums(site)).hexdigest()[:12]
    site["sw.js"] = _filled(_own("sw.js"), version=version, files=json.dumps(kept)).encode()
    site |= {"_headers": HEADERS.encode(), "README.md": README.format(name=markdown(artifact.spec.name)).encode()}
    site["SHA256SUMS"] = _sums(site)
    for name, content in site.items():
        (folder / name).write_bytes(content)


def _page(artifact: Artifact, **values: str) -> str:
    of_faces = are_expressions(artifact.spec.classes)
    title = html.escape(f"{'Facial expression' if of_faces else 'Classes'} by {artifact.spec.name}")
    return _filled(
        _own("page.html"),
        title=title,
        what="Facial expression" if of_faces else "The class of a face, or of what is in the frame",
        answer="Expression" if of_faces else "Class",
        caution=_EXPRESSION if of_faces else _CLASS,
        **values,
    )


def _config(artifact: Artifact, parts: dict[str, bytes], worker: str | None) -> str:
    """What the page must know of its parts, as a JSON block."""
    texts = [name for name in parts if name.endswith(".md") or name.split(".")[0].isupper()]
    version = importlib.metadata.version("rarn-edge")
    config = {
        "runtime": BUNDLE,
        "wasm": WASM,
        "worker": worker,
        "texts": texts,
        "facts": [["model's sha256", artifact.sha256], ["page made by", f"rarn-edge {version}"]],
    }
    text = json.dumps(config).replace("<", "\\u003c")
    return f'<script type="application/json" id="config">{text}</script>'


def _licences() -> dict[str, bytes]:
    """The detector's notice, ONNX Runtime's licence, and of what it contains where the installed package says it."""
    found = {
        "NOTICE.blazeface": asset("NOTICE.txt").read_bytes(),
        "LICENSE.onnxruntime": _own("LICENSE.onnxruntime").encode(),
    }
    notices = files("onnxruntime") / "ThirdPartyNotices.txt"
    if notices.is_file():
        found["NOTICES.onnxruntime"] = notices.read_bytes()
    return found


def _unwrapped(module: str) -> str:
    """A module's text to stand beside the others in one script: without imports, nothing exported."""
    return re.sub(r"^export ", "", re.sub(r"^import .*;\n", "", module, flags=re.MULTILINE), flags=re.MULTILINE)


def _packed(content: bytes) -> str:
    """Base 85 with a comma for `<`, so that no block can end early or open a comment."""
    return base64.b85encode(gzip.compress(content, 9, mtime=0)).decode().replace("<", ",")


def _filled(template: str, **values: str) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _sums(parts: dict[str, bytes]) -> bytes:
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(parts.items())]
    return "".join(lines).encode()


def _own(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")
