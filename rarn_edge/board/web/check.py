"""What a page checks its device by: faces, this machine's answers to them, and a parity bundle's where there is one."""

import json
from dataclasses import asdict

import onnxruntime as ort

from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.contract.targets import detect_host
from rarn_edge.data.synthetic import drawn_for
from rarn_edge.parity.bundle import Bundle, check_bundle_fits
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import open_session

FACES = 42
SEED = 13
FLOAT_LIMIT = 1e-4  # logits; WebAssembly adds in another order
INT8_LIMIT = 0.1  # logits; one rounding of an INT8 tensor may fall to the other side


def check_bytes(artifact: Artifact, bundle: Bundle | None) -> bytes:
    """`check.bin`: a JSON header after its length, images [N, H, W(, 3)] uint8, answers [N, K] float32, the bundle's [N, K].

    The answers are those of the fused CPU kernels, or of the graph as written where the file is made for another kind
    of CPU, whose kernels may saturate here.

    Raises:
        InputError: the bundle is of another model, of other weights or other preprocessing.
    """
    spec, precision = artifact.spec, artifact.contract.precision
    size = spec.preprocess
    depth = 3 if size.in_colour else 1  # bytes a pixel
    header: dict[str, object] = {"height": size.height_px, "width": size.width_px, "depth": depth}
    header["classes"] = len(spec.classes)
    if bundle is None:
        images = drawn_for(size, FACES, SEED).pixels
        header |= {"images": len(images), "faces": len(images), "reference": None}
    else:
        check_bundle_fits(bundle, spec, artifact.contract.provenance.get("weights_sha256"), str(artifact.path))
        images = bundle.images
        limits = asdict(bundle.tolerances["faces"]["float" if precision == "float32" else "int8"])
        reference = {"name": bundle.reference, **limits}
        header |= {"images": len(images), "faces": bundle.shown.faces, "reference": reference}
    fits = detect_host().mismatch(artifact.contract.target) is None
    session = open_session(artifact.path, threads=1) if fits else open_unoptimised(artifact.path)
    answers = run_logits(session, spec, images)
    header |= {"limit": FLOAT_LIMIT if precision == "float32" else INT8_LIMIT, "runtime": ort.__version__}
    arrays = [images, answers.astype("<f4"), *([] if bundle is None else [bundle.logits.astype("<f4")])]
    text = json.dumps(header).encode()
    return b"".join([len(text).to_bytes(4, "little"), text, *(array.tobytes() for array in arrays)])
