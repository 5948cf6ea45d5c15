"""From weights, or a model's name, to ONNX files: export, then simplify, in memory and in this one place."""

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rarn_edge.assets import shipped_models, shipped_weights
from rarn_edge.boundary.names import one_of
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import InputDtype, Layout, ModelSpec
from rarn_edge.errors import InputError, require_extras
from rarn_edge.files import check_outputs, file_sha256, make_folder
from rarn_edge.host.threads import default_threads
from rarn_edge.models.catalog import CATALOG
from rarn_edge.models.find import AS_IT_SAYS, NetworkInput, find_network
from rarn_edge.workflow.callbacks import AnyPath, OnStage, ignore
from rarn_edge.workflow.inputs import read_weights

if TYPE_CHECKING:  # they need torch and onnx, which a device has not
    from rarn_edge.contract.targets import Target
    from rarn_edge.data import Faces
    from rarn_edge.models.find import AnyNetwork
    from rarn_edge.onnx_graph import LoadedModel
    from rarn_edge.pipeline.calibrate import Ranges
    from rarn_edge.train.checkpoint import Weights


@dataclass(frozen=True)
class Exported:
    """The float32 file, and why its graph was not simplified although asked for."""

    artifact: Artifact
    kept_because: str | None


@dataclass(frozen=True)
class ModelFiles:
    """The files of one model in pipeline order."""

    exported: Artifact
    simplified: Artifact
    int8: Artifact
    kept_because: str | None  # why the graph was not simplified

    @property
    def artifacts(self) -> list[Artifact]:
        return [self.exported, self.simplified, self.int8]


def export(
    output: AnyPath,
    model: "AnyNetwork | None" = None,
    *,
    spec: ModelSpec | None = None,
    weights: "AnyPath | Weights | None" = None,
    labels: str | None = None,
    input_dtype: InputDtype = "float32",
    layout: Layout = "NCHW",
    simplify: bool = True,
    attention: bool = False,
) -> Exported:
    """Export a model to one float32 ONNX file that carries its whole contract.

    Args:
        output: The file to write.
        model: Of the catalog, `my_net.py:build`, a callable that makes a network, or an `nn.Module` as it is (default: what
            the weights are of, else `rarn-s`).
        spec: The contract of a callable or a module: name, classes, input.
        weights: From training, as a file or in memory (default: the shipped ones, or what the callable made).
        labels: Of the shipped weights: `ferplus` (default) or `fer2013`.
        simplify: Simplify the graph, kept only if it answers alike.
        input_dtype: `float32`: normalised; `uint8`: pixels.
        layout: Of the input's axes: `NCHW`, or `NHWC` for channels last.
        attention: With the attention mask [N, 1, h, w] as a second output, for debugging.

    Raises:
        InputError: `output` cannot be written, no such model, or one that cannot take pixels or has no mask.
        GateError: the graph is not what was asked for or answers otherwise.

    Example:
        >>> import rarn_edge, tempfile
        >>> made = rarn_edge.export(f"{tempfile.mkdtemp()}/rarn-n.onnx", "rarn-n")
        >>> made.artifact.spec.classes[3], made.kept_because
        ('happy', None)
    """
    one_of(input_dtype, get_args(InputDtype), "input type")
    check_outputs([Path(output)], [weights] if isinstance(weights, str | Path) else [])
    loaded = read_weights(model, weights, labels, spec)
    from rarn_edge.pipeline.export import export_weights
    from rarn_edge.pipeline.passes.attention import expose_attention
    from rarn_edge.pipeline.passes.layout import in_layout
    from rarn_edge.pipeline.passes.uint8_input import float_from_bytes

    made, kept_because = export_weights(loaded), None
    if simplify:
        made, kept_because = _simplified(made)
    made = in_layout(made, layout)
    made = float_from_bytes(made) if input_dtype == "uint8" else made
    made = expose_attention(made) if attention else made
    return Exported(made.save(Path(output)), kept_because)


def make_files(
    weights: "Weights",
    target: "Target",
    folder: Path,
    calibration: "Faces | Ranges",
    on_stage: OnStage = ignore,
) -> ModelFiles:
    """Export, simplify and quantize into `folder`, each graph parsed by nobody: it goes on as it was written.

    `calibration` is the ranges, or the faces to measure them on.

    Raises:
        InputError: unusable weights, ranges or folder.
        GateError: the export itself is not what was asked for.
    """
    from rarn_edge.pipeline.calibrate import Ranges, calibrate
    from rarn_edge.pipeline.export import export_weights
    from rarn_edge.pipeline.prepare import prepare
    from rarn_edge.pipeline.quantize import quantize

    name = weights.spec.name
    on_stage(f"export {name}")
    model = export_weights(weights)
    exported = model.save(folder / f"{name}.exported.onnx")
    on_stage("simplify")
    model, kept_because = _simplified(replace(model, source=exported))
    simplified = model.save(folder / f"{name}.onnx")
    on_stage(f"quantize for {target.value}")
    prepared = prepare(replace(model, source=simplified))
    ranges = calibration if isinstance(calibration, Ranges) else calibrate(prepared, calibration)
    int8 = quantize(prepared, target, ranges, folder / f"{name}.int8.onnx").artifact
    return ModelFiles(exported, simplified, int8, kept_because)


def named_models(names: list[str], folder: Path, takes: NetworkInput = AS_IT_SAYS) -> list[Artifact]:
    """The float32 files of networks in `folder`, exported and simplified; those of the catalog unless they are there already.

    Shipped weights where there are some, seeded random ones elsewhere. `takes` is the input of networks of one's own.

    Raises:
        InputError: no such model, torch is not installed, or `folder` cannot be written.
    """
    for name in names:
        if name not in CATALOG:
            find_network(name, takes)  # what names nothing is said before anything is made
    found = {name: _reusable(name, folder) if name in CATALOG else None for name in names}
    missing = [name for name, artifact in found.items() if artifact is None]
    if missing:
        require_extras("export")
        make_folder(folder)
        found |= dict(zip(missing, _export_all(missing, folder, takes), strict=True))
    paths = Counter(artifact.path for artifact in found.values() if artifact is not None)
    for path in (path for path, count in paths.items() if count > 1):
        raise InputError(f"two networks are called '{path.stem}'; name one otherwise in the TOML beside its file")
    return [artifact for name in names if (artifact := found[name]) is not None]


def _simplified(model: "LoadedModel") -> "tuple[LoadedModel, str | None]":
    from rarn_edge.pipeline.simplify import simplify_model

    done = simplify_model(model)
    return done.model, done.kept_because


def _export_all(names: list[str], folder: Path, takes: NetworkInput) -> list[Artifact]:
    """Export side by side, the longest first: torch's exporter uses one core."""
    workers = min(len(names), default_threads())
    if workers < 2:
        return [_export(name, folder, takes) for name in names]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        by_size = sorted(names, key=lambda name: CATALOG[name].parameters if name in CATALOG else 0, reverse=True)
        jobs = {name: pool.submit(_export, name, folder, takes) for name in by_size}
        return [jobs[name].result() for name in names]


def _export(name: str, folder: Path, takes: NetworkInput) -> Artifact:
    from rarn_edge.pipeline.export import export_weights
    from rarn_edge.train.checkpoint import fresh_weights, load_weights

    shipped = name in shipped_models()
    network = find_network(name) if name in CATALOG else find_network(name, takes)
    weights = load_weights(shipped_weights(name), network) if shipped else fresh_weights(network)
    return _simplified(export_weights(weights))[0].save(folder / f"{network.name}.onnx")


def _reusable(name: str, folder: Path) -> Artifact | None:
    """The file of an earlier call, if it is this model with these weights, in the form that is made here."""
    path = folder / f"{name}.onnx"
    if not path.is_file():
        return None
    try:
        artifact = Artifact.load(path)
    except InputError:
        return None  # damaged or foreign: it is made anew over it
    provenance = artifact.contract.provenance
    if name in shipped_models():
        same_weights = provenance.get("weights_sha256") == file_sha256(shipped_weights(name))
    else:
        same_weights = provenance.get("weights") == "random, seed 0"
    spec = artifact.spec
    form = (artifact.contract.precision, spec.input_dtype, spec.layout)
    same_form = (
        form == ("float32", "float32", "NCHW") and "simplified" in provenance and "second_output" not in provenance
    )
    return artifact if spec.name == name and same_weights and same_form else None
