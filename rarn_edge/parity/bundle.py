"""The evidence of a parity run in one file, to be checked on a device that has no torch: numpy and onnxruntime are enough.

A `.rarn-parity` file is a zip of three numpy arrays and a manifest, with no pickle in it:

    manifest.json       contract, tolerances, versions, names of the inputs, sha256 of each array, of the network input and
                        of the ONNX files that it speaks for
    images.npy          [N, H, W] uint8 ([N, H, W, 3] in colour), the faces first, then the adversarial images
    logits.npy          [N, K] float32, the reference answers
    probabilities.npy   [N, K] float32, softmax of them at the contract's temperature

Its bytes follow from its content: no clock, no compression level of the day.
"""

import contextlib
import hashlib
import importlib.metadata
import io
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rarn_edge.boundary.documents import parse_json, parse_npy, to_json
from rarn_edge.boundary.paths import require_file
from rarn_edge.boundary.paths import shown as shown_path
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.preprocess import to_input
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.errors import InputError
from rarn_edge.files import atomic
from rarn_edge.parity.inputs import Shown
from rarn_edge.parity.steps import Form
from rarn_edge.parity.tolerances import TOLERANCES, Tolerances, tolerances_from_dict, tolerances_to_dict
from rarn_edge.stats.classification import softmax

SUFFIX = ".rarn-parity"
SCHEMA_VERSION = 2
MAX_BYTES = 512 * 2**20  # unpacked; a file claiming more is refused before it is unpacked
_ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {  # type and rank; pictures are gray or in colour
    "images": ("uint8", (3, 4)),
    "logits": ("float32", (2,)),
    "probabilities": ("float32", (2,)),
}


@dataclass(frozen=True)
class BundleFile:
    """An ONNX file that a bundle speaks for, byte for byte."""

    name: str
    precision: str
    target: str | None  # None: not made for one kind of CPU
    sha256: str

    @classmethod
    def of(cls, artifact: Artifact) -> "BundleFile":
        target = artifact.contract.target
        return cls(
            artifact.path.name, artifact.contract.precision, None if target is None else target.value, artifact.sha256
        )


@dataclass(frozen=True)
class Bundle:
    """Inputs (at the network's own size, so that a device need not resize), reference logits [N, K], and what may differ."""

    spec: ModelSpec
    shown: Shown
    logits: NDArray[np.float32]
    reference: str  # who gave the answers: `torch`
    weights_sha256: str | None
    tolerances: Tolerances
    versions: dict[str, str]
    files: tuple[BundleFile, ...] = ()  # none: any file of these weights may be held against it

    @property
    def images(self) -> NDArray[np.uint8]:
        """[N, H, W], or [N, H, W, 3] in colour."""
        return self.shown.images

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """[N, K]."""
        return softmax(self.logits, self.spec.temperature)

    @property
    def input_sha256(self) -> str:
        """Of the network input [N, C, H, W] float32 that the images become, as little-endian bytes."""
        digest = hashlib.sha256()
        for start in range(0, len(self.images), 64):
            digest.update(to_input(self.images[start : start + 64], self.spec.preprocess).astype("<f4").tobytes())
        return digest.hexdigest()

    def speaks_for(self, sha256: str) -> bool | None:
        """Whether the file of that sha256 is one this bundle was written for; None where it names none.

        What a file says of itself plays no part, for whoever changes a file can change that too.
        """
        return sha256 in {file.sha256 for file in self.files} if self.files else None


def make_bundle(
    spec: ModelSpec,
    shown: Shown,
    reference: Form,
    weights_sha256: str | None,
    tolerances: Tolerances = TOLERANCES,
    files: Iterable[Artifact] = (),
) -> Bundle:
    """The evidence that `reference` answered so, for `files`; versions are those of this installation."""
    versions = {}
    for package in ("rarn-edge", "torch", "onnx", "onnxruntime", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # a part of them is enough for a bundle
            versions[package] = importlib.metadata.version(package)
    named = tuple(BundleFile.of(artifact) for artifact in files)
    return Bundle(spec, shown, reference.logits, reference.name, weights_sha256, tolerances, versions, named)


def save_bundle(bundle: Bundle, path: Path) -> None:
    """Write `bundle` atomically.

    Raises:
        InputError: `path` cannot be written.
    """
    arrays = {name: _npy(getattr(bundle, name)) for name in _ARRAYS}
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "spec": bundle.spec.to_dict(),
        "weights_sha256": bundle.weights_sha256,
        "reference": bundle.reference,
        "description": bundle.shown.description,
        "faces": bundle.shown.faces,
        "names": list(bundle.shown.names),
        "labels": None if bundle.shown.labels is None else bundle.shown.labels.tolist(),
        "tolerances": tolerances_to_dict(bundle.tolerances),
        "versions": bundle.versions,
        "files": [asdict(file) for file in bundle.files],
        "input_sha256": bundle.input_sha256,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in arrays.items()},
    }
    members = {"manifest.json": (to_json(manifest, indent=1) + "\n").encode()}
    members |= {f"{name}.npy": content for name, content in arrays.items()}
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)  # 1980: the same content is the same file
            info.external_attr = 0o644 << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, compresslevel=9)


def load_bundle(path: Path) -> Bundle:
    """Read what `save_bundle` wrote, and check that nothing in it was changed or damaged.

    Raises:
        InputError: no such file, a model instead, not a bundle, another schema version, or content that its own hashes
            contradict.
    """
    require_file(path, f"a parity bundle is made by: rarn-edge parity MODEL.onnx --bundle {path.name}")
    if path.suffix == ".onnx":
        raise InputError(
            f"{shown_path(path)}: is a model; name its parity bundle first (rarn-edge verify BUNDLE {path.name}),"
            f" or compare two models: rarn-edge parity {path.name} OTHER.onnx"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = ["manifest.json", *(f"{name}.npy" for name in _ARRAYS)]
            claimed = sum(archive.getinfo(name).file_size for name in wanted)
            if claimed > MAX_BYTES:
                raise InputError(f"{path}: claims {claimed:,} bytes unpacked; {MAX_BYTES:,} is the limit")
            content = {name: archive.read(name) for name in wanted}
        manifest = parse_json(content["manifest.json"], "manifest.json")
        return _parse(manifest, content, str(path))
    except InputError as error:
        damaged = "not a readable parity bundle: " if str(error).startswith("manifest.json") else ""
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {damaged}{error}") from error
    # RuntimeError: an encrypted entry; RecursionError: JSON nested without end; the rest: a damaged zip, array or manifest
    except (
        zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, RuntimeError,
        RecursionError, NotImplementedError, OverflowError,
    ) as error:  # fmt: skip
        raise InputError(
            f"{path}: not a readable parity bundle ({type(error).__name__}: {str(error)[:120]})"
        ) from error


def check_bundle_fits(bundle: Bundle, spec: ModelSpec, weights_sha256: str | None, name: str) -> None:
    """Refuse to hold a file against the evidence of another model; `name` is the file's, for the message.

    Raises:
        InputError: another model, other classes or another order, other preprocessing, or other weights (a stale bundle).
    """
    for what, ours, theirs in (
        ("model", spec.name, bundle.spec.name),
        ("classes", spec.classes, bundle.spec.classes),
        ("preprocessing", spec.preprocess, bundle.spec.preprocess),
        ("temperature", spec.temperature, bundle.spec.temperature),
    ):
        if ours != theirs:
            raise InputError(f"{name}: its {what} is {ours}, the bundle is about {theirs}; check it by its own bundle")
    if weights_sha256 and bundle.weights_sha256 and weights_sha256 != bundle.weights_sha256:
        raise InputError(
            f"{name}: made from weights {weights_sha256[:12]}, the bundle is of {bundle.weights_sha256[:12]};"
            " one of the two is stale: make the bundle anew with rarn-edge parity --bundle"
        )


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    ordered = np.ascontiguousarray(array)
    np.lib.format.write_array(
        buffer, ordered.astype(ordered.dtype.newbyteorder("<")), version=(1, 0), allow_pickle=False
    )
    return buffer.getvalue()


def _parse(manifest: dict[str, Any], content: dict[str, bytes], source: str) -> Bundle:
    version = manifest["schema_version"]
    if version != SCHEMA_VERSION:
        raise InputError(f"{source}: a bundle of schema {version}, this version reads {SCHEMA_VERSION}; make it anew")
    arrays = {}
    for name, (dtype, ranks) in _ARRAYS.items():
        data = content[f"{name}.npy"]
        if hashlib.sha256(data).hexdigest() != manifest["sha256"][name]:
            raise InputError(f"{source}: {name}.npy is not what the manifest was written for; make the bundle anew")
        array = parse_npy(data, f"{source}: {name}.npy")
        if array.dtype != dtype or array.ndim not in ranks:
            expected = f"{dtype} of {' or '.join(map(str, ranks))}"
            raise InputError(f"{source}: {name}.npy is {array.dtype} of rank {array.ndim}, expected {expected}")
        arrays[name] = array
    for name in ("logits", "probabilities"):
        if not np.isfinite(arrays[name]).all():
            raise InputError(f"{source}: {name}.npy holds values that are no numbers; make the bundle anew")
    labels = manifest["labels"]
    if not isinstance(manifest["weights_sha256"], str | None):
        raise InputError(f"{source}: weights_sha256 in its manifest is text or null; make the bundle anew")
    bundle = Bundle(
        spec=ModelSpec.from_dict(manifest["spec"]),
        shown=Shown(
            arrays["images"],
            tuple(str(name) for name in manifest["names"]),
            int(manifest["faces"]),
            None if labels is None else np.array(labels, dtype=np.int64),
            str(manifest["description"]),
        ),
        logits=arrays["logits"],
        reference=str(manifest["reference"]),
        weights_sha256=manifest["weights_sha256"],
        tolerances=tolerances_from_dict(manifest["tolerances"], source),
        versions=dict(manifest["versions"]),
        files=tuple(BundleFile(**file) for file in manifest["files"]),
    )
    shown, preprocess = bundle.shown, bundle.spec.preprocess
    count = len(shown.images)
    lengths = {count, len(shown.names), len(bundle.logits), len(arrays["probabilities"])}
    labelled = shown.labels is None or shown.labels.shape == (shown.faces,)
    sizes = shown.images.shape[1:] == preprocess.picture_shape
    if lengths != {count} or not 0 < shown.faces <= count or not labelled or not sizes:
        raise InputError(f"{source}: its arrays, names and labels do not belong together; make the bundle anew")
    if bundle.logits.shape[1] != len(bundle.spec.classes):
        raise InputError(f"{source}: {bundle.logits.shape[1]} answers a face for {len(bundle.spec.classes)} classes")
    if not np.allclose(bundle.probabilities, arrays["probabilities"], atol=1e-5):
        raise InputError(f"{source}: its probabilities are not the softmax of its logits; make the bundle anew")
    if bundle.input_sha256 != manifest["input_sha256"]:
        raise InputError(
            f"{source}: preprocessing gives another network input here than where the bundle was made"
            f" (sha256 {bundle.input_sha256[:12]}, there {manifest['input_sha256'][:12]})"
        )
    return bundle
