"""What a run leaves on disk: `last.pt` with the whole state for resuming, and weights with their contract for everything else."""

import errno
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from rarn_edge.boundary.documents import parse_json, to_json
from rarn_edge.boundary.names import printable
from rarn_edge.boundary.paths import require_file, shown
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.errors import InputError, first_line
from rarn_edge.files import atomic, file_sha256
from rarn_edge.models.build import fresh_model
from rarn_edge.models.catalog import CATALOG
from rarn_edge.models.classifier import tensors_from_classifier
from rarn_edge.models.find import find_network
from rarn_edge.models.network import Network

METADATA_KEY = "rarn_edge"
NETWORK_KEY = "network"  # in the provenance: what --model was, as a hint for people
# 2: a run's identity has the teachers' views and the number of workers; 3: and its precision; 4: the rate is a tensor;
# 5: each group of the optimizer has a share of it; 6: a run's identity has its input and its classes
STATE_FORMAT = 6
STATE_KEYS = {"identity", "model", "averaged", "optimizer", "history"}


@dataclass(frozen=True)
class Weights:
    """Trained parameters with the contract they were trained under and where they came from."""

    spec: ModelSpec
    tensors: dict[str, Tensor]
    provenance: dict[str, Any]
    sha256: str  # of the file, or of the parameters where they are in no file
    network: Network | None = None  # that these are of; None: the catalog's of that name

    def load_into(self, model: nn.Module) -> nn.Module:
        """Copy the parameters into `model`.

        Raises:
            InputError: the parameters are not this model's.
        """
        try:
            model.load_state_dict(self.tensors)
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
            raise InputError(f"these weights do not fit '{self.spec.name}': {first[:200]}") from error
        return model

    def knows(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        """Those of these classes that the weights have an output for."""
        known = {name.rpartition(":")[2] for name in self.spec.classes}
        return tuple(name for name in classes if name.rpartition(":")[2] in known)

    def begin(self, model: nn.Module, classes: tuple[str, ...], label_source: str = "") -> nn.Module:
        """Copy the parameters into a model of the same architecture that may have other classes.

        Outputs whose class these weights know begin with theirs: of weights for several label sets, with those of
        `label_source` if it is one of them; otherwise `fer2013:angry` is the class `angry`. The others stay new.

        Raises:
            InputError: the parameters are not this model's.
        """
        if classes == self.spec.classes:
            return self.load_into(model)
        fresh = model.state_dict()
        own = {name: index for index, name in enumerate(self.spec.classes)}
        known = {name.rpartition(":")[2]: index for name, index in own.items()}
        start = dict(self.tensors)
        for name in tensors_from_classifier(model, len(classes)):
            new, tensor = fresh[name], self.tensors.get(name)
            if tensor is not None and tensor.shape[:1] == (len(self.spec.classes),) and len(new) == len(classes):
                filled = new.clone()
                for index, wanted in enumerate(classes):
                    names = (wanted, f"{label_source}:{wanted}")
                    row = next((own[name] for name in names if name in own), known.get(wanted.rpartition(":")[2]))
                    if row is not None:
                        filled[index] = tensor[row]
                start[name] = filled
        return Weights(self.spec, start, self.provenance, self.sha256).load_into(model)

    def head(self, label_source: str) -> "Weights":
        """The same network with the outputs of one label set alone, of a network that answers for several.

        Raises:
            InputError: it has no such outputs.
        """
        prefix = f"{label_source}:"
        rows = [index for index, name in enumerate(self.spec.classes) if name.startswith(prefix)]
        if not rows:
            raise InputError(
                f"'{self.spec.name}' has no outputs for the labels '{label_source}': {', '.join(self.spec.classes)}"
            )
        classes = tuple(self.spec.classes[row].removeprefix(prefix) for row in rows)
        outputs = len(self.spec.classes)
        layer = {"classifier.weight", "classifier.bias"} & set(self.tensors)
        if len(layer) != 2 or len(self.tensors["classifier.bias"]) != outputs:
            raise InputError(f"'{self.spec.name}' has no linear classifier of {outputs} outputs to take a part of")
        tensors = {name: tensor[rows] if name in layer else tensor for name, tensor in self.tensors.items()}
        spec = replace(self.spec, classes=classes, label_source=label_source)
        return replace(self, spec=spec, tensors=tensors)

    def model(self) -> nn.Module:
        """The network with these parameters, in evaluation mode; one of one's own was checked to answer as its spec says.

        Raises:
            InputError: a network of one's own that nobody named or that cannot be used, or the parameters are not this network's.
        """
        network = (self.network or _named_by(self.spec, self.provenance)).for_spec(self.spec)
        module = self.load_into(network.build()).eval()
        network.check(module)
        return module


def fresh_weights(network: Network, seed: int = 0) -> Weights:
    """The parameters that a network is built with, seeded, for measuring speed or where it brings its own.

    Raises:
        InputError: code of one's own raises or makes no such network.
    """
    network = network.with_its_outputs()
    module = fresh_model(network, seed)
    made = f"random, seed {seed}"
    if network.own:
        made = f"of {network.reference}" if network.as_it_is else f"as {network.reference} made them, seed {seed}"
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.state_dict().items()}
    unnamed = network.own and not network.says_classes
    provenance = {"weights": made, **({"classes": "not named by anybody"} if unnamed else {})}
    return Weights(network.spec, tensors, provenance, sha256(save(tensors)).hexdigest(), network)


def save_weights(path: Path, spec: ModelSpec, tensors: dict[str, Tensor], provenance: dict[str, Any]) -> None:
    """Write a safetensors file whose header carries spec and provenance."""
    metadata = {METADATA_KEY: to_json({"spec": spec.to_dict(), "provenance": provenance})}
    # a copy of each: those that two layers share are written twice
    content = save({name: tensor.cpu().clone().contiguous() for name, tensor in tensors.items()}, metadata)
    with atomic(path) as temporary:
        temporary.write_bytes(content)  # `save_file` makes a file that only its owner may read


def widened(tensor: Tensor) -> Tensor:
    """What is stored in float16 is computed with in float32."""
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def load_weights(path: Path, network: Network | None = None) -> Weights:
    """Read what `save_weights` wrote; code that it names is not run.

    Raises:
        InputError: no such file, not safetensors, without our header or a damaged one, or weights of another model than
            `network`.
    """
    require_file(path, "weights are made by: rarn-edge train")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(METADATA_KEY)
            tensors = {name: widened(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118  # it is not a dict
    except (
        SafetensorError,
        OSError,
        ValueError,
        RuntimeError,
        MemoryError,
    ) as error:  # torch has its own for odd shapes
        raise InputError(
            f"{path}: not a readable safetensors file ({first_line(error)}); name the weights.safetensors of a run"
        ) from error
    if header is None:
        raise InputError(
            f"{path}: has no rarn-edge header, so its model and classes are unknown; use weights of `rarn-edge train`"
        )
    try:
        content = parse_json(header, "its rarn-edge header is damaged")
        spec, provenance = ModelSpec.from_dict(content["spec"]), dict(content["provenance"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: its rarn-edge header is damaged ({error!r})") from error
    if network is not None and spec.name != network.name:
        other = (
            f"pass --model {spec.name}"
            if spec.name in CATALOG
            else f'if it is the same network, write name = "{spec.name}" into the TOML beside its file'
        )
        raise InputError(f"{path}: these are weights of '{spec.name}', not of '{network.name}'; {other}")
    known = None if network is None else network.for_spec(spec)
    return Weights(spec, tensors, provenance, file_sha256(path), known)


def load_known(path: Path, networks: Sequence[Network] = (), option: str = "--model") -> Weights:
    """`load_weights` of whichever network has their name: one of these, or of the catalog.

    Args:
        path: Of the weights.
        networks: Of one's own, named by the caller.
        option: What names such a network on the command line.

    Raises:
        InputError: as `load_weights`, and a network of one's own that nobody named.
    """
    loaded = load_weights(path)
    network = next((each for each in networks if each.name == loaded.spec.name), None)
    try:
        network = network or _named_by(loaded.spec, loaded.provenance, option)
    except InputError as error:
        others = ", ".join(f"'{each.name}'" for each in networks if each.own)
        raise InputError(f"{path}: {error}{f'; named so far: {others}' if others else ''}") from error
    return replace(loaded, network=network.for_spec(loaded.spec))


def _named_by(spec: ModelSpec, provenance: dict[str, Any], option: str = "--model") -> Network:
    """The network that weights name; code of one's own is never run unasked.

    Raises:
        InputError: it is not of the catalog.
    """
    if spec.name in CATALOG:
        return find_network(spec.name)
    said = provenance.get(NETWORK_KEY)
    trained_as = f" (it was trained as --model {printable(said)[:200]})" if isinstance(said, str) else ""
    raise InputError(
        f"'{spec.name}' is no model of this package; say how it is built: {option} FILE.py:CALLABLE{trained_as}"
    )


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the whole state of a run (tensors and plain values only, so that it loads without unpickling code).

    Raises:
        InputError: it cannot be written; of a full disk, how much it takes and how much is free.
    """
    content = io.BytesIO()
    torch.save(state, content)  # in memory first: of a file that it cannot write, torch does not say why
    size_bytes = content.getbuffer().nbytes
    with atomic(path) as temporary:
        try:
            temporary.write_bytes(content.getbuffer())
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            temporary.unlink(missing_ok=True)  # what was written of it is free again
            free_bytes = shutil.disk_usage(path.parent).free
            raise InputError(
                f"{shown(path)}: the disk is full: it takes {size_bytes / 1e6:,.1f} MB, {free_bytes / 1e6:,.1f} MB are free.\n"
                f"Make room, then {'continue with --resume' if path.exists() else 'start again'}"
            ) from error


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote.

    Raises:
        InputError: nothing there, or not a checkpoint of ours.
    """
    require_file(path, "no checkpoint to resume; start without --resume")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds here; the cause is kept and named
        raise InputError(f"{path}: not a readable checkpoint ({type(error).__name__}: {str(error)[:120]})") from error
    if not isinstance(state, dict) or state.get("format") != STATE_FORMAT or not set(state) >= STATE_KEYS:
        raise InputError(f"{path}: not a checkpoint of this version; start anew with another --out")
    return state
