"""ONNX Runtime Web from the user's own npm folder: one version, and its files byte for byte as they were tested."""

import hashlib
from pathlib import Path

from rarn_edge.boundary.documents import read_json
from rarn_edge.boundary.limits import MAX_FILE_BYTES
from rarn_edge.boundary.paths import read_bytes
from rarn_edge.errors import InputError, first_line

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
BUNDLE = "ort.wasm.bundle.min.mjs"
WASM = "ort-wasm-simd-threaded.wasm"
SHA256 = {
    BUNDLE: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
GET = f"npm install --no-save {PACKAGE}@{VERSION}"


def read_runtime(folder: Path | None) -> dict[str, bytes]:
    """The two files that a page needs, by name, from `node_modules/onnxruntime-web`.

    Raises:
        InputError: no folder given, another version, or a file that is absent or not the published one.
    """
    if folder is None:
        raise InputError(
            f"a web page needs {PACKAGE} {VERSION}; get it with: {GET}\nthen add: --ort-web node_modules/{PACKAGE}"
        )
    manifest = folder / "package.json"
    try:
        found = read_json(manifest)
        name, version = found["name"], found["version"]
    except (InputError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder}: not the npm package {PACKAGE} ({first_line(error)}); get it with: {GET}"
        ) from error
    if (name, version) != (PACKAGE, VERSION):
        raise InputError(f"{folder}: is {name} {version}; the page is tested with {PACKAGE} {VERSION}: {GET}")
    files = {}
    for file, expected in SHA256.items():
        path = folder / "dist" / file
        files[file] = read_bytes(path, MAX_FILE_BYTES, f"get the package anew: {GET}")
        if hashlib.sha256(files[file]).hexdigest() != expected:
            raise InputError(f"{path}: not the published file (its sha256 differs); get the package anew: {GET}")
    return files
