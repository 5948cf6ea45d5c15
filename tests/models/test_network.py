"""A network of one's own: how it is named, what it takes, and what is said of one that cannot be used."""

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rarn_edge.contract.spec import ModelSpec, Preprocess
from rarn_edge.errors import InputError
from rarn_edge.models import find
from rarn_edge.models.build import fresh_model
from rarn_edge.models.catalog import find_model
from rarn_edge.models.find import NetworkInput, find_network
from rarn_edge.train.checkpoint import fresh_weights, load_weights, save_weights

NET = """
import torch
from torch import nn
from helper import WIDTH

class Net(nn.Module):
    def __init__(self, num_classes=7, in_channels=1):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(in_channels, WIDTH, 3, 2, 1), nn.BatchNorm2d(WIDTH)
        self.classifier = nn.Linear(WIDTH, num_classes)

    def forward(self, x):
        return self.classifier(torch.relu(self.norm(self.conv(x))).mean((2, 3)))

def build(num_classes, in_channels):
    print("building")
    return Net(num_classes, in_channels)

def fixed():
    return Net(5)

def lacks(width, num_classes):
    return Net(num_classes)

def raises(num_classes):
    raise ValueError("width 3 is odd\\nmore")

def leaves():
    raise SystemExit("no licence")

def nothing(num_classes):
    Net(num_classes)

class TwoInputs(Net):
    def forward(self, image, mask):
        return image

class TwoAnswers(Net):
    def forward(self, x):
        y = super().forward(x)
        return (y, y) if self.training else y

class Maps(Net):
    def forward(self, x):
        return self.conv(x)

class Narrow(Net):
    def forward(self, x):
        return super().forward(x[:, :, :, 100:])

class Pairs(Net):
    def forward(self, x):
        return super().forward(x).reshape(2, -1)

class Sure(Net):
    def forward(self, x):
        return super().forward(x).softmax(1)

made = Net()
answer = 42
"""
SPEC = ModelSpec("mine", ("a", "b", "c"), Preprocess(32, 24, (120.0,), (60.0,)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_net.py").write_text(NET)
    (tmp_path / "helper.py").write_text("WIDTH = 4\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_a_callable_in_a_file_makes_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    network = find_network("my_net.py:build", NetworkInput(32, 24, "rgb", (1.0, 2.0, 3.0)))
    assert (network.name, network.own) == ("my_net", True)
    takes = network.spec.preprocess
    assert (takes.height_px, takes.width_px, takes.color, takes.mean) == (32, 24, "rgb", (1.0, 2.0, 3.0))
    module = network.build(8)
    network = replace(network, spec=replace(network.spec, classes=tuple("abcdefgh")))
    network.check(module, training=True)
    assert module(torch.zeros(3, 3, 32, 24)).shape == (3, 8)
    printed = capsys.readouterr()
    assert ("building" in printed.err, printed.out) == (True, "")  # stdout is for results


@pytest.mark.usefixtures("folder")
def test_a_second_callable_of_a_file_has_a_name_of_its_own() -> None:
    assert find_network("my_net.py:Net").name == "my_net-Net"


def test_a_toml_beside_the_file_says_what_it_takes(folder: Path) -> None:
    toml = 'name = "shapes"\nclasses = ["a", "b"]\npreprocess = { height_px = 40, width_px = 32, color = "bgr" }\n'
    (folder / "my_net.toml").write_text(toml)
    network = find_network("my_net.py:build")
    assert (network.name, network.spec.classes, network.says_input) == ("shapes", ("a", "b"), False)
    assert network.spec.preprocess == Preprocess(40, 32, (128.0,) * 3, (64.0,) * 3, "bgr")
    over = find_network("my_net.py:build", NetworkInput(std=(1.0, 2.0, 3.0)))
    assert (over.spec.preprocess.height_px, over.spec.preprocess.std, over.says_input) == (40, (1.0, 2.0, 3.0), True)


def test_weights_know_better_than_the_toml(folder: Path) -> None:
    """They may have been trained with options, which win over it."""
    (folder / "my_net.toml").write_text("preprocess = { height_px = 40, width_px = 32 }\n")
    trained = replace(SPEC, name="my_net", preprocess=Preprocess(24, 24))
    assert find_network("my_net.py:build").for_spec(trained).spec.preprocess == Preprocess(24, 24)
    with pytest.raises(InputError, match=r"trained on 24x24 gray.* take 96x32 gray.*\nleave out --size"):
        find_network("my_net.py:build", NetworkInput(96)).for_spec(trained)


def test_what_nobody_says_is_a_gray_face(folder: Path) -> None:
    network = find_network(f"{folder}/my_net.py:build")
    assert (network.spec.preprocess, network.says_input) == (Preprocess(), False)


def test_catalog_models_are_the_same_type_and_take_colour_too() -> None:
    network = find_network("rarn-n")
    assert (network.spec, network.own) == (find_model("rarn-n").spec, False)
    coloured = find_network("rarn-n", NetworkInput(color="rgb"))
    assert coloured.build()(torch.zeros(2, 3, 48, 48)).shape == (2, 7)


def entry(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setattr(find, "entry_points", lambda group: (EntryPoint(name, value, group),))


@pytest.mark.usefixtures("folder")
def test_an_installed_package_brings_a_network(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "my_net", raising=False)
    (folder / "my_net.toml").write_text("preprocess = { height_px = 32 }\n")
    entry(monkeypatch, "their-net", "my_net:build")
    network = find_network("their-net")
    assert (network.name, network.spec.preprocess.height_px) == ("their-net", 32)
    assert isinstance(network.build(), nn.Module)
    entry(monkeypatch, "their-net", "my_net:absent")
    with pytest.raises(InputError, match=r"their-net \(my_net:absent\): it cannot be loaded: AttributeError"):
        find_network("their-net")


def test_a_name_of_two_models_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entry(monkeypatch, "rarn-s", "their.nets:build")
    with pytest.raises(InputError, match=r"two models are called 'rarn-s'.*their\.nets:build[\s\S]*by its file"):
        find_network("rarn-s")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("absent.py:build", r"absent\.py: no such file; name a Python file and the callable"),
        ("my_net.py", r"my_net\.py: name the callable in it"),
        ("my_net.py:absent", r"my_net\.py: has no 'absent'; it has: Net, build, fixed"),
        ("my_net.py:made", "is a network already, and a callable"),
        ("my_net.py:answer", "is int and not a callable"),
        ("rarn-x", r"no model 'rarn-x'; did you mean"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_names_no_network(named: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_network(named)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nowhere_to_be_found", r"it cannot be imported: ModuleNotFoundError: No module.*\(x\.py, line 1\)"),
        ("def build(:\n", r"it cannot be imported: SyntaxError"),
        ("raise SystemExit(3)", "it cannot be imported: SystemExit: 3"),
    ],
)
def test_a_file_that_does_not_import(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "x.py").write_text(source)
    with pytest.raises(InputError, match=message):
        find_network(f"{tmp_path}/x.py:build")


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        (
            "fixed",
            r"answers \[2, 5\] float32 to 2 images; \[2, 7\] float32 is needed.*\nGive my_net\.py:fixed a parameter",
        ),
        ("lacks", r"my_net\.py:lacks: it needs the argument width; it is given num_classes and in_channels by keyword"),
        (
            "raises",
            r"my_net\.py:raises: given num_classes=7, it raised ValueError: width 3 is odd \(my_net\.py, line 26\)$",
        ),
        ("leaves", "it raised SystemExit: no licence"),
        ("nothing", r"it made None, and a torch\.nn\.Module is needed"),
        ("TwoInputs", r"takes 2 inputs \(image, mask\)"),
        ("TwoAnswers", r"answers 2 values in a tuple while it trains; logits \[N, 7\]"),
        ("Maps", r"answers \[2, 4, 24, 24\] float32 to 2 images"),
        ("Pairs", r"its network, shown \[3, 1, 48, 48\], raised RuntimeError|answers \[2, 10\] float32 to 3 images"),
        ("Sure", "answers probabilities, and logits are needed: leave out its softmax"),
        ("Narrow", r"its network, shown \[2, 1, 48, 48\], raised RuntimeError: .*line"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_makes_no_usable_network(attribute: str, message: str) -> None:
    network = find_network(f"my_net.py:{attribute}")
    with pytest.raises(InputError, match=message):
        network.check(network.build(), training=True)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            'preprocess = { color = "rgb", mean = [128.0] }',
            r"my_net\.toml: mean has 1 value, and its images have 3 channels",
        ),
        ("preprocess = { mean = 5 }", "mean is a list with a value for each channel"),
        ("preprocess = { heigth_px = 5 }", "preprocess has no key heigth_px; known: height_px"),
        ("preprocess = 3", "preprocess is a table"),
        ("size = 3", "no key 'size'"),
        ('name = "rarn-s"', r"'rarn-s' is a model of this package; give yours another name in my_net\.toml"),
        ("name = ", "not a readable TOML file"),
    ],
)
def test_a_toml_that_cannot_be(folder: Path, toml: str, message: str) -> None:
    (folder / "my_net.toml").write_text(toml)
    with pytest.raises(InputError, match=message):
        find_network("my_net.py:build")


def test_a_network_with_outputs_of_its_own_borrows_no_labels(folder: Path) -> None:
    weights = fresh_weights(find_network("my_net.py:fixed"))
    assert weights.spec.classes == ("class 0", "class 1", "class 2", "class 3", "class 4")
    assert (weights.spec.label_source, weights.provenance["classes"]) == ("unknown", "not named by anybody")
    (folder / "my_net.toml").write_text('classes = ["a", "b", "c", "d", "e"]')
    weights = fresh_weights(find_network("my_net.py:fixed"))
    assert (weights.spec.classes, weights.spec.label_source) == (tuple("abcde"), "unknown")
    assert "classes" not in weights.provenance


def small(num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
    )


def test_python_gives_a_callable_or_a_module_with_its_contract() -> None:
    with pytest.raises(InputError, match="give spec=ModelSpec"):
        find_network(small)
    made = find_network(small, spec=SPEC)
    assert fresh_model(made, 0)(torch.zeros(2, 1, 32, 24)).shape == (2, 3)
    module = small(3).eval()
    weights = fresh_weights(find_network(module, spec=SPEC))
    x = torch.rand(2, 1, 32, 24)
    assert torch.equal(weights.model()(x), module(x))  # its statistics are left alone, though no image has touched them
    assert weights.provenance == {"weights": "of the module Sequential"}


def test_lazy_layers_learn_their_sizes() -> None:
    def lazy(num_classes: int) -> nn.Module:
        return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(num_classes))

    network = find_network(lazy, spec=SPEC)
    made = fresh_model(network, 0)
    assert made(torch.zeros(2, 1, 32, 24)).shape == (2, 3)
    assert torch.equal(fresh_model(network, 0)[3].weight, made[3].weight)
    assert network.build().training


def test_fresh_weights_are_seeded_and_known_by_their_values() -> None:
    network = find_network(small, spec=SPEC)
    first, again, other = fresh_weights(network), fresh_weights(network), fresh_weights(network, seed=1)
    assert first.sha256 == again.sha256 != other.sha256


class Tied(nn.Module):
    """Two layers that share their weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(24, 24), nn.Linear(24, 24), nn.Linear(24, 3)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.second(self.first(x.mean((1, 2)))))
        return logits


def test_weights_of_ones_own_network_need_it_named(folder: Path) -> None:
    network = find_network(Tied, spec=replace(SPEC, name="my_net"))
    path = folder / "w.safetensors"
    save_weights(path, network.spec, dict(Tied().state_dict()), {"network": "my_net.py:build"})
    with pytest.raises(
        InputError, match=r"say how it is built: --model FILE\.py:CALLABLE \(it was trained as --model my_net"
    ):
        load_weights(path).model()
    known = load_weights(path, replace(network, says_input=False)).model()
    assert known(torch.zeros(2, 1, 32, 24)).shape == (2, 3)
    with pytest.raises(InputError, match=r"do not fit 'my_net'"):
        load_weights(path, find_network("my_net.py:build")).model()
    with pytest.raises(InputError, match=r"of 'my_net', not of 'my_net-Net'; if it is the same network, write name"):
        load_weights(path, find_network("my_net.py:Net"))
    with pytest.raises(InputError, match=r"trained on 32x24 gray, mean 120, std 60, and .* take 96x96 gray"):
        load_weights(path, find_network("my_net.py:build", NetworkInput(96, 96)))


def test_statistics_that_were_loaded_are_kept_whoever_counted_them() -> None:
    """Many checkpoints have no count of batches, or a zero."""

    def loaded(num_classes: int) -> nn.Module:
        made = small(num_classes)
        norm = nn.BatchNorm2d(1)
        norm.running_mean, norm.running_var = torch.tensor([0.5]), torch.tensor([2.0])
        assert int(norm.num_batches_tracked or 0) == 0
        return nn.Sequential(norm, made)

    network = find_network(loaded, spec=ModelSpec("own", ("a", "b")))
    norm = fresh_model(network, 0)[0]  # type: ignore[index]  # a Sequential
    assert (norm.running_mean.item(), norm.running_var.item()) == (0.5, 2.0)


def test_each_network_has_the_neighbours_of_its_own_folder(tmp_path: Path) -> None:
    """Also those that it imports when it is built, and also after another was."""
    source = NET.replace("from helper import WIDTH", "").replace("WIDTH", "width()")
    for name, width in (("one", 8), ("two", 32)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "layers.py").write_text(f"WIDTH = {width}\n")
        late = "def width():\n    from layers import WIDTH\n    return WIDTH\n"
        (tmp_path / name / f"{name}.py").write_text(late + source)
    networks = [find_network(f"{tmp_path / name / name}.py:build") for name in ("one", "two")]
    widths = [network.build().conv.out_channels for network in (*networks, *networks)]  # type: ignore[union-attr]
    assert widths == [8, 32, 8, 32]


@pytest.mark.filterwarnings("ignore")  # torch is about to give both up
def test_a_network_that_cannot_be_copied_or_says_nothing_of_itself() -> None:
    from torch.nn.utils import weight_norm

    def uncopyable(num_classes: int) -> nn.Module:
        return weight_norm(small(num_classes)[1])  # type: ignore[index]  # a Sequential

    def scripted(num_classes: int) -> nn.Module:
        return torch.jit.trace(small(num_classes), torch.zeros(2, 1, 48, 48), check_trace=False)  # type: ignore[no-any-return]

    spec = ModelSpec("own", ("a", "b"))
    with pytest.raises(InputError, match=r"its network cannot be copied \(copy.deepcopy\): RuntimeError"):
        fresh_model(find_network(uncopyable, spec=spec), 0)
    assert fresh_model(find_network(scripted, spec=spec), 0)(torch.zeros(1, 1, 48, 48)).shape == (1, 2)


def test_modules_of_the_program_stay_whatever_is_loaded_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "blocks.py").write_text(f"NAME = '{name}'\n")
        source = f"import blocks\nassert blocks.NAME == '{name}'\ndef build(num_classes): return blocks\n"
        (tmp_path / name / "net.py").write_text(source)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "one"), *sys.path])
    find_network(f"{tmp_path / 'one' / 'net'}.py:build")
    import blocks  # type: ignore[import-not-found]  # made above

    path = list(sys.path)
    find_network(f"{tmp_path / 'two' / 'net'}.py:build")
    assert sys.modules["blocks"] is blocks
    assert blocks.NAME == "one"
    assert [each for each in sys.path if each != str(tmp_path / "two")] == path
