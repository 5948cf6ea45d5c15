"""From the text of `--model`, or from a callable in Python, to a `Network`: the only place that reads such texts.

`rarn-s` is of the catalog; `my_net.py:build` is a callable in a file; any other name is an entry point of an installed package,
in the group `rarn_edge.models`. What the network takes is said by options or a TOML beside its file; else it takes 48x48 gray:

name = "my-net"                                                       # in my_net.toml; each line may be left out
classes = ["circle", "square"]                                        # of weights of your own; training takes those of its data
preprocess = { height_px = 224, width_px = 224, mean = [123.7, 116.3, 103.5], std = [58.4, 57.1, 57.4] }
"""

import copy
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial, wraps
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rarn_edge.boundary.documents import read_toml
from rarn_edge.boundary.names import unfit_name
from rarn_edge.boundary.paths import exists, read_text, shown
from rarn_edge.contract.preprocess import check_pixel_values
from rarn_edge.contract.spec import CLASSES, SCHEMA_VERSION, Color, ModelSpec, Preprocess
from rarn_edge.errors import InputError
from rarn_edge.models.catalog import CATALOG, find_model
from rarn_edge.models.network import Builder, Network, their_code

if TYPE_CHECKING:  # a device has no torch
    from torch import nn

    AnyNetwork: TypeAlias = str | Network | Builder | nn.Module
    """How a caller names a network: as for `--model`, by a callable that makes it, as a module, or by what was found before."""

GROUP = "rarn_edge.models"


@dataclass(frozen=True)
class NetworkInput:
    """What a network takes, as far as a caller says it; None: as its TOML says, or a gray 48x48 face."""

    height_px: int | None = None
    width_px: int | None = None
    color: Color | None = None  # of the channels: `gray` is one, `rgb` and `bgr` are three, in this order
    mean: tuple[float, ...] | None = None  # per channel, in pixel values 0..255, in the order of `color`
    std: tuple[float, ...] | None = None

    @property
    def says_nothing(self) -> bool:
        return self == NetworkInput()


AS_IT_SAYS = NetworkInput()


def find_network(model: "AnyNetwork", takes: NetworkInput = AS_IT_SAYS, spec: ModelSpec | None = None) -> Network:
    """The network that a caller names. The code of a file or package is loaded; `Network.build` calls it.

    Args:
        model: As for `--model`, a callable that makes the network, or a module, whose parameters are then its weights.
        takes: What it takes, over what a TOML beside its file says.
        spec: Its whole contract instead; a callable or a module needs one.

    Raises:
        InputError: no such name, file or callable; code that raises as it is loaded; or a contract that cannot be.
    """
    if isinstance(model, Network):
        return model
    if not isinstance(model, str):
        return _in_memory(model, spec)
    entry = _entry_point(model)
    file, _, attribute = model.rpartition(":")
    if entry is not None:
        builder, name = _loaded(entry), model
        beside = _toml_of(builder)
    elif file.endswith(".py"):
        builder = _from_file(Path(file), attribute)
        # `build` is what such a callable is mostly called; the name of another tells it from its neighbours
        name = Path(file).stem if attribute == "build" else f"{Path(file).stem}-{attribute}"
        beside = Path(file).with_suffix(".toml")
    elif model.endswith(".py"):
        raise InputError(
            f"{shown(model)}: name the callable in it that makes the network, such as {shown(model)}:build"
        )
    else:
        return _of_catalog(model, takes, spec)
    described = read_toml(beside) if beside is not None and exists(beside) else {}
    contract = spec or _contract(name, described, takes, shown(beside or model))
    if contract.name in CATALOG:
        raise InputError(f"{model}: '{contract.name}' is a model of this package; {_named_otherwise(beside)}")
    says = spec is not None or not takes.says_nothing
    says_classes = spec is not None or "classes" in described
    return Network(contract, builder, model, own=True, says_input=says, says_classes=says_classes)


def _in_memory(model: "Builder | nn.Module", spec: ModelSpec | None) -> Network:
    from torch import nn

    if spec is None:
        raise InputError(
            "a module or a callable says nothing of its input and classes: give spec=ModelSpec(NAME, CLASSES, ...)"
        )
    if isinstance(model, nn.Module):
        name = f"the module {type(model).__name__}"
        return Network(spec, partial(copy.deepcopy, model), name, own=True, says_input=True, as_it_is=True)
    if not callable(model):
        raise InputError(f"a network is a name, a callable or a torch.nn.Module; found {type(model).__name__}")
    name = f"the callable {getattr(model, '__name__', type(model).__name__)}"
    return Network(spec, model, name, own=True, says_input=True)


@dataclass(frozen=True)
class InstalledNetwork:
    """A network that an installed package brings; what it takes is known when its code is loaded."""

    name: str
    source: str  # `their-package 1.0 (their_package.nets:build)`
    role: Literal["installed"] = "installed"


def installed_networks() -> tuple[InstalledNetwork, ...]:
    """The networks of installed packages, by entry point and sorted; none of their code is loaded."""
    return tuple(InstalledNetwork(entry.name, _source(entry)) for entry in _entry_points())


def _entry_points() -> tuple[EntryPoint, ...]:
    return tuple(sorted(entry_points(group=GROUP), key=lambda entry: entry.name))


def _source(entry: EntryPoint) -> str:
    package = "" if entry.dist is None else f"{entry.dist.name} {entry.dist.version} "
    return f"{package}({entry.value})"


def _of_catalog(name: str, takes: NetworkInput, spec: ModelSpec | None) -> Network:
    entry = find_model(name)
    from rarn_edge.models.build import BUILDERS

    own = spec or (entry.spec if takes.says_nothing else replace(entry.spec, preprocess=_input({}, takes)))
    check_pixel_values(own.preprocess.mean, own.preprocess.std, name)
    return Network(own, BUILDERS[name], name, says_input=own.preprocess != entry.spec.preprocess)


def _entry_point(name: str) -> EntryPoint | None:
    found = [entry for entry in _entry_points() if entry.name == name]
    if not found:
        return None
    packages = [_source(entry) for entry in found]
    if name in CATALOG:
        raise InputError(
            f"two models are called '{name}': this package's own, and one of the installed package {packages[0]}.\n"
            "Name that one by its file, such as PATH/FILE.py:CALLABLE, or uninstall it"
        )
    if len(found) > 1:
        raise InputError(f"two installed packages have a model '{name}': {', '.join(packages)}; name one by its file")
    return found[0]


def _loaded(entry: EntryPoint) -> Builder:
    with their_code(f"{entry.name} ({entry.value}): it cannot be loaded:"):
        found = entry.load()
    return _callable(found, f"{entry.name} ({entry.value})")


def _from_file(path: Path, attribute: str) -> Builder:
    source = read_text(path, hint="name a Python file and the callable in it that makes the network: my_net.py:build")
    whole = path.resolve()
    module = ModuleType(f"rarn_edge_own_{path.stem}")
    module.__file__ = str(whole)
    sys.modules[module.__name__] = module  # dataclasses and pickle look there
    with their_code(f"{shown(path)}: it cannot be imported:"), _neighbours(whole.parent):
        exec(compile(source, str(whole), "exec"), module.__dict__)  # the caller names the file for this
    if not attribute or not hasattr(module, attribute):
        callables = [
            name
            for name, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
        ]
        there = f"; it has: {', '.join(callables)}" if callables else ""
        raise InputError(f"{shown(path)}: has no '{attribute}'{there}")
    found = _callable(getattr(module, attribute), f"{shown(path)}:{attribute}")

    @wraps(found, updated=())  # which keeps its parameters to be seen
    def build(**given: Any) -> Any:
        with _neighbours(whole.parent):
            return found(**given)

    return build


_IMPORTED: dict[Path, dict[str, ModuleType]] = {}  # by folder: the modules in it that networks there have imported


@contextmanager
def _neighbours(folder: Path) -> Iterator[None]:
    """While a network is imported and built, imports find the files beside it first, as for `python my_net.py`, and none of the
    same name beside another network. What its `forward` imports later is found as Python finds it."""
    own = _IMPORTED.setdefault(folder, {})
    others = {name for place, names in _IMPORTED.items() if place != folder for name in names if _is_in(folder, name)}
    displaced = {name: sys.modules.pop(name) for name in others if name in sys.modules}
    sys.modules.update(own)
    known = str(folder) in sys.path
    sys.path.insert(0, str(folder))
    before = set(sys.modules)
    try:
        yield
    finally:
        own.update((name, sys.modules[name]) for name in sys.modules.keys() - before if _lies_in(folder, name))
        sys.modules.update(displaced)
        if known:
            sys.path.remove(str(folder))  # the first of two


def _is_in(folder: Path, name: str) -> bool:
    """Whether a folder has a module or package that such an import would find."""
    top = name.partition(".")[0]
    return (folder / f"{top}.py").is_file() or (folder / top).is_dir()


def _lies_in(folder: Path, name: str) -> bool:
    """Whether a module is `folder/NAME.py` or of the package `folder/NAME`."""
    top = name.partition(".")[0]
    file = getattr(sys.modules[name], "__file__", None)
    return (
        file is not None
        and Path(file).is_relative_to(folder)
        and Path(file).relative_to(folder).parts[0] in (top, f"{top}.py")
    )


def _callable(found: Any, reference: str) -> Builder:
    from torch import nn

    if isinstance(found, nn.Module):
        raise InputError(
            f"{reference}: is a network already, and a callable that makes a new one is needed: def build(): return ..."
        )
    if not callable(found):
        raise InputError(f"{reference}: is {type(found).__name__} and not a callable that makes a network")
    return found  # type: ignore[no-any-return]  # what it returns is checked where it is called


def _toml_of(builder: Builder) -> Path | None:
    """Beside the file that defines a callable."""
    try:
        return Path(inspect.getfile(inspect.unwrap(builder))).with_suffix(".toml")
    except TypeError:  # built in, or an object
        return None


def _contract(name: str, described: dict[str, Any], takes: NetworkInput, where: str) -> ModelSpec:
    """The contract from a TOML, options and defaults; the options win."""
    given = dict(described)
    preprocess = given.pop("preprocess", {})
    if not isinstance(preprocess, dict):
        raise InputError(f"{where}: preprocess is a table with height_px, width_px, mean and std")
    fields = {"name": name, "classes": list(CLASSES), **given}
    if unfit_name(fields["name"]) is not None and "name" not in described:
        raise InputError(f"{where}: '{shown(name)}' is no name for a model; write one into the TOML: name = \"my-net\"")
    try:
        plain = asdict(_input(preprocess, takes))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    as_keys = takes.mean is None and takes.std is None
    check_pixel_values(plain["mean"], plain["std"], where if as_keys else name, as_keys)
    try:
        return ModelSpec.from_dict({"schema_version": SCHEMA_VERSION, "preprocess": plain, **fields})
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _input(described: dict[str, Any], takes: NetworkInput) -> Preprocess:
    """The input from the table of a TOML, then options, then defaults; what is not said of colour follows from mean and std."""
    stated = {key: value for key, value in asdict(takes).items() if value is not None}
    whole = {**described, **stated}
    listed = [len(whole[key]) for key in ("mean", "std") if isinstance(whole.get(key), list | tuple)]
    # a network may take gray pictures three times over, which its mean says
    count = {"rgb": 3, "bgr": 3}.get(str(whole.get("color"))) or (listed[0] if listed else 1)
    default = Preprocess()
    for key, usual in (("mean", default.mean), ("std", default.std)):
        whole.setdefault(key, usual * count)
        if not isinstance(whole[key], list | tuple):
            raise InputError(f"{key} is a list with a value for each channel")
        if len(whole[key]) != count:
            raise InputError(
                f"{key} has {len(whole[key])} value{'s' * (len(whole[key]) > 1)}, and its images have"
                f" {count} channel{'s' * (count > 1)}; give {count}"
            )
    unknown = whole.keys() - asdict(default).keys()
    if unknown:
        raise InputError(f"preprocess has no key {', '.join(sorted(unknown))}; known: {', '.join(asdict(default))}")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in whole.items()}
    return Preprocess(**values)


def _named_otherwise(beside: Path | None) -> str:
    return f'give yours another name in {shown(beside or Path("my_net.toml"))}: name = "my-net"'
