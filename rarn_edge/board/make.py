"""The bundle for a board: the model in two formats, a script of 50 lines, and what proves that both work where they arrive."""

import contextlib
import glob
import hashlib
import importlib.metadata
import io
import logging
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rarn_edge.board.card import board_card
from rarn_edge.board.triton import write_repository
from rarn_edge.board.web.make import one_file, page_parts, write_site
from rarn_edge.boundary.paths import exists, require_file
from rarn_edge.contract.artifact import Artifact, Precision, is_one_file
from rarn_edge.data.synthetic import drawn_for
from rarn_edge.errors import InputError, first_line
from rarn_edge.files import atomic, check_output, check_outputs
from rarn_edge.parity.bundle import check_bundle_fits, load_bundle
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import open_session

Format = Literal["board", "triton", "web"]
REQUIREMENTS = ("numpy", "onnxruntime", "opencv-python-headless")
FILES = Path(__file__).with_name("files")
CHECK_FACES = 42
CHECK_SEED = 13
MIN_SNR_DB: dict[Precision, float] = {"float32": 60.0, "float16": 40.0, "int8": 30.0, "int8-dynamic": 30.0}
"""Of the logits on another machine: float32 that adds in another order has 120 dB, INT8 that rounds otherwise 45 and more; INT8
weights that another CPU cannot add up without overflow have 10 to 25."""
SAME_DECISION = 0.9  # of the drawn faces, on which many a decision is narrow; 1 for float32
_NO_FOLDERS = (".tar", ".gz", ".tgz", ".html", ".onnx")  # whoever names such an output expects a file


def make_bundle(
    model: Path,
    out: Path,
    form: Format = "board",
    parity: Path | None = None,
    measured: str | None = None,
    ort_web: Path | None = None,
    ours: bool = False,
) -> tuple[str, ...]:
    """Write a bundle to the folder or `.zip` `out`; what comes back are the paths in it, sorted.

    Args:
        model: An ONNX file with a contract.
        out: A folder that does not exist yet (or is empty), or a file that ends in `.zip`.
        form: `board`, `triton` for a model repository, or `web` for a page (one file where `out` ends in `.html`).
        parity: A parity bundle to put beside it.
        measured: What is known of the model's accuracy beyond its file, for the card.
        ort_web: The npm package onnxruntime-web, for `web`.
        ours: The model is one of this package, whose licence is then the model's too.

    Raises:
        InputError: the model cannot be used, or `out` is taken or cannot be written; nothing is left at `out`.
    """
    artifact = Artifact.load(model)
    if not is_one_file(model):
        raise InputError(
            f"{model}: its weights lie in a file beside it, which a bundle does not carry. Write it as one file first:\n"
            f"python -c \"import onnx; onnx.save(onnx.load('{model}'), '{model.stem}.whole{model.suffix}')\""
        )
    licence = _licence(ours)
    if form == "web" and out.suffix.lower() == ".html":
        check_outputs([out], [model, parity])
        page = one_file(artifact, page_parts(artifact, ort_web, parity, measured), licence)
        with atomic(out) as temporary:
            temporary.write_bytes(page)
        return (out.name,)
    if out.suffix.lower() in _NO_FOLDERS:
        raise InputError(f"{out}: a bundle is a folder, a .zip or, for --format web, one .html; name such an output")
    as_zip = out.suffix.lower() == ".zip"
    if as_zip:
        check_outputs([out], [model, parity])
    else:
        check_output(out.parent / f"{out.name}.probe")
    _remove_abandoned(out)
    if not as_zip and exists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: is there already and not empty; name a new folder")
    temporary = out.with_name(f".{out.stem[:60]}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        temporary.mkdir()
        if form == "triton":
            write_repository(artifact, temporary, {"MODEL_CARD.md": board_card(artifact, measured), **licence})
        elif form == "web":
            write_site(artifact, page_parts(artifact, ort_web, parity, measured), licence, temporary)
        else:
            _write_board(artifact, temporary, parity, measured, licence)
        names = sorted(path.relative_to(temporary).as_posix() for path in temporary.rglob("*") if path.is_file())
        if as_zip:
            _zip(temporary, names, out)
        else:
            with contextlib.suppress(FileNotFoundError):
                out.rmdir()
            temporary.rename(out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return tuple(names)


def _remove_abandoned(out: Path) -> None:
    """What a killed run for the same output left behind; one that is still at work is left alone."""
    for path in out.parent.glob(f".{glob.escape(out.stem[:60])}.*-*.part"):
        number = path.name.removesuffix(".part").rpartition(".")[2].partition("-")[0]
        if path.is_dir() and number.isdecimal() and not _is_alive(int(number)):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(process: int) -> bool:
    if os.name == "nt":
        return True  # there, asking would end it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _write_board(
    artifact: Artifact, folder: Path, parity: Path | None, measured: str | None, licence: dict[str, str]
) -> None:
    (folder / "model.onnx").write_bytes(artifact.path.read_bytes())
    _write_ort(artifact.path, folder)
    for script in ("predict.py", "verify.py", "verify.sh"):
        (folder / script).write_bytes((FILES / script).read_bytes())
    (folder / "verify.sh").chmod(0o755)
    _write_check(artifact, folder / "check.npz")
    if parity is not None:
        require_file(parity, "--parity takes a bundle made by: rarn-edge parity --bundle")
        weights = artifact.contract.provenance.get("weights_sha256")
        evidence = load_bundle(parity)
        check_bundle_fits(evidence, artifact.spec, weights, str(artifact.path))
        if evidence.speaks_for(artifact.sha256) is False:
            files = ", ".join(file.name for file in evidence.files)
            raise InputError(
                f"{parity}: was made for other files than {artifact.path} ({files}), so it would fail on the board; make it with"
                f" this file: rarn-edge parity MODEL.onnx {artifact.path} --bundle OUT{parity.suffix}"
            )
        (folder / f"model{parity.suffix}").write_bytes(parity.read_bytes())
    pins = [f"{name}=={importlib.metadata.version(name)}" for name in REQUIREMENTS if _installed(name)]
    missing = [name for name in REQUIREMENTS if not _installed(name)]  # another build of the runtime, say
    (folder / "requirements.txt").write_text("\n".join((*pins, *missing)) + "\n", encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text(board_card(artifact, measured), encoding="utf-8")
    for name, text in licence.items():
        (folder / name).write_text(text, encoding="utf-8")
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    (folder / "SHA256SUMS").write_text("".join(f"{sha}  {name}\n" for name, sha in sums.items()), encoding="utf-8")


def _write_ort(model: Path, folder: Path) -> None:
    """`model.ort` for runtimes without ONNX support, and the operators that a minimal build must keep."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "model.ort")
    options.graph_optimization_level = (
        ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    )  # the next level is this CPU's own
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.log_severity_level = 4
    from onnxruntime.tools.ort_format_model import create_config_from_models

    chatter = logging.getLogger("ort_format_model.utils")  # it tells the name of a temporary file
    level = chatter.level
    chatter.setLevel(logging.WARNING)
    try:
        ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        config = folder / "required_operators.config"
        create_config_from_models([folder / "model.ort"], config, enable_type_reduction=True)
    except Exception as error:  # onnxruntime has no common base class for its errors; the cause is kept and named
        raise InputError(f"{model}: ONNX Runtime cannot write it in its own format ({first_line(error)})") from error
    finally:
        chatter.setLevel(level)
    lines = config.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("#")]  # the comment names a temporary path
    config.write_text("\n".join(["# For ONNX Runtime: build.sh --minimal_build --include_ops_by_config", *kept]) + "\n")


def _write_check(artifact: Artifact, path: Path) -> None:
    """Faces and this machine's answers to them."""
    faces = drawn_for(artifact.spec.preprocess, CHECK_FACES, CHECK_SEED).pixels
    answers = run_logits(open_session(artifact.path, threads=1), artifact.spec, faces)
    precision = artifact.contract.precision
    arrays: dict[str, NDArray[Any]] = {
        "images": faces,
        "logits": answers,
        "min_snr_db": np.array(MIN_SNR_DB[precision]),
        "same_decision": np.array(1.0 if precision == "float32" else SAME_DECISION),
    }
    with zipfile.ZipFile(path, "w") as archive:  # as np.savez does, but without the clock
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), zipfile.ZIP_DEFLATED)


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _licence(ours: bool) -> dict[str, str]:
    """The licence text of the installed package, or of the checkout it runs from, by the name of its file.

    Of a model of somebody else it is the scripts' licence alone, and its name says so.
    """
    name = "LICENSE" if ours else "LICENSE.rarn-edge-scripts"
    sources: tuple[Callable[[], str | None], ...] = (
        lambda: importlib.metadata.distribution("rarn-edge").read_text("licenses/LICENSE"),
        lambda: (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8"),
    )
    for read in sources:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError, OSError):
            if text := read():
                return {name: text}
    raise InputError("the licence text of rarn-edge is not installed; install the package again")


def _zip(folder: Path, names: list[str], out: Path) -> None:
    """The same bytes for the same files: fixed times and an order by name."""
    with atomic(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            info = zipfile.ZipInfo(f"{out.stem}/{name}", (1980, 1, 1, 0, 0, 0))
            info.external_attr = (0o755 if name.endswith(".sh") else 0o644) << 16
            archive.writestr(info, (folder / name).read_bytes(), zipfile.ZIP_DEFLATED)
