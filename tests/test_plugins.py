"""Plug-in providers: found, chosen, and refused with a reason. The packages are made up; tests/test_webgpu.py runs a real one."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import onnxruntime as ort
import pytest

from rarn_edge.errors import InputError, ProviderError
from rarn_edge.runtime import plugins, providers
from rarn_edge.runtime.plugins import Plugin, choose_device, describe_devices, openvino_options, plugin_devices
from rarn_edge.runtime.providers import check_provider, on_device, open_session, plugin_of, split_device

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """`install("made-up-ep", "1.0")`: a distribution on the search path whose library is a text file."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_registered", {})

    def make(name: str, version: str = "1.0", top_level: str | None = None) -> None:
        module = name.replace("-", "_")
        (tmp_path / module).mkdir()
        library = tmp_path / module / "library.so"
        library.write_text("no library\n")
        (tmp_path / module / "__init__.py").write_text(f"def get_library_path(): return {str(library)!r}\n")
        facts = tmp_path / f"{module}-{version}.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (facts / "top_level.txt").write_text(f"{top_level or module}\n")

    return make


def device(kind: str, vendor: str = "Maker", ort_name: str = "MadeUp", **metadata: str) -> SimpleNamespace:
    hardware = SimpleNamespace(type=SimpleNamespace(name=kind.upper()), vendor=vendor, metadata={})
    return SimpleNamespace(ep_name=ort_name, device=hardware, ep_metadata=metadata)


def test_a_library_that_does_not_load_is_named_with_both_versions(install: Install) -> None:
    install("made-up-ep", "0.9")
    with pytest.raises(ProviderError, match=r"'made-up': made-up-ep 0\.9 does not work with ONNX Runtime") as caught:
        plugin_devices("made-up", "MadeUp", Plugin(("made-up-ep",)))
    assert ort.__version__ in str(caught.value)
    assert "pip install --upgrade onnxruntime made-up-ep" in str(caught.value)
    assert not plugins.is_registered("made-up")


def test_two_packages_for_one_provider_are_refused(install: Install) -> None:
    install("made-up-cu12")
    install("made-up-cu13")
    with pytest.raises(ProviderError, match="made-up-cu13 and made-up-cu12 are installed together") as caught:
        plugins.check_plugin("made-up", Plugin(("made-up-cu13", "made-up-cu12")))
    assert "pip uninstall -y made-up-cu12" in str(caught.value)


def test_a_package_that_replaces_the_runtime_is_no_plugin(install: Install) -> None:
    install("made-up-build", top_level="onnxruntime")
    assert plugins.installed_packages(Plugin(("made-up-build",))) == ()


def test_an_older_runtime_takes_no_plugins(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("made-up-ep")
    monkeypatch.delattr(ort, "register_execution_provider_library")
    with pytest.raises(ProviderError, match=r"takes no plug-ins; it needs 1\.23 or newer"):
        plugins.check_plugin("made-up", Plugin(("made-up-ep",)))


def test_a_plugin_without_a_device_names_the_hardware(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("made-up-ep")
    taken: list[str] = []
    monkeypatch.setattr(ort, "register_execution_provider_library", lambda name, _path: taken.append(name))
    monkeypatch.setattr(ort, "get_ep_devices", lambda: [device("cpu", "AMD", "CPUExecutionProvider")])
    for _ in range(2):  # registered once, refused each time
        with pytest.raises(ProviderError, match=r"made-up-ep 1\.0 is installed, but offers no device .*sees: AMD cpu"):
            plugin_devices("made-up", "MadeUp", Plugin(("made-up-ep",)))
    assert taken == ["rarn-edge-made-up"]


def test_a_device_is_chosen_by_kind_or_index() -> None:
    offered = [device("cpu"), device("npu"), device("gpu", "First"), device("gpu", "Second")]
    assert choose_device("made-up", offered, None) is offered[2]
    assert choose_device("made-up", offered, "gpu") is offered[2]
    assert choose_device("made-up", offered, "3") is offered[3]
    assert choose_device("made-up", offered, "cpu") is offered[0]
    with pytest.raises(ProviderError, match=r"no device 'npu' here; it offers 0 \(cpu, Maker\)"):
        choose_device("made-up", offered[:1], "npu")


def test_devices_are_described() -> None:
    (found,) = describe_devices([device("gpu", "Maker", FULL_DEVICE_NAME="Card", DriverVersion="7.1", version="0.4")])
    assert (found.index, found.kind, found.vendor, found.plugin_version) == (0, "gpu", "Maker", "0.4")
    assert found.description == "Card, 7.1"


def test_provider_and_device_are_one_text() -> None:
    assert on_device("openvino", None) == "openvino"
    assert split_device(on_device("openvino", "npu")) == ("openvino", "npu")
    with pytest.raises(InputError, match="no device 'fast'; one of: gpu, npu, cpu, or an index"):
        on_device("openvino", "fast")
    with pytest.raises(InputError, match="no provider 'nothing'"):
        on_device("nothing", "gpu")


def test_a_provider_without_devices_takes_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="provider 'cpu' has no choice of devices"):
        check_provider("cpu:gpu")
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(InputError, match="CUDA_VISIBLE_DEVICES"):
        check_provider("cuda:1")


def test_a_build_that_contains_the_provider_comes_before_its_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "installed_packages", lambda plugin: plugin.packages)
    monkeypatch.setattr(plugins, "_registered", {})
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert plugin_of("openvino") is not None
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["OpenVINOExecutionProvider"])
    assert plugin_of("openvino") is None
    monkeypatch.setattr(plugins, "_registered", {"openvino": "onnxruntime-ep-openvino"})
    assert plugin_of("openvino") is not None


def test_the_device_goes_into_the_session(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ONNX Runtime is asked for; the session itself would need the hardware."""
    install("made-up-ep")
    asked: list[tuple[object, dict[str, str]]] = []
    gpu = device("gpu")
    plugin = Plugin(("made-up-ep",), lambda kind, threads: {"kind": kind, "threads": str(threads)})
    monkeypatch.setitem(providers.PROVIDERS, "made-up", providers.Provider("MadeUp", "nothing", plugin=plugin))
    monkeypatch.setattr(ort, "register_execution_provider_library", lambda _name, _path: None)
    monkeypatch.setattr(ort, "get_ep_devices", lambda: [device("cpu"), gpu])

    class Options(ort.SessionOptions):  # type: ignore[misc]
        def add_provider_for_devices(self, devices: list[object], options: dict[str, str]) -> None:
            asked.append((devices[0], options))

    def session(_path: Path, _options: object, providers: object, enable_fallback: int) -> object:
        assert (providers, enable_fallback) == (None, 0)
        return SimpleNamespace(disable_fallback=lambda: None, get_providers=lambda: ["MadeUp", "CPUExecutionProvider"])

    monkeypatch.setattr(ort, "SessionOptions", Options)
    monkeypatch.setattr(ort, "InferenceSession", session)
    path = tmp_path / "any.onnx"
    path.write_bytes(b"any")
    open_session(path, "made-up:gpu", 3, {"more": "yes"}, allow_fallback=True)
    assert asked == [(gpu, {"kind": "gpu", "threads": "3", "more": "yes"})]


def test_openvino_keeps_float32() -> None:
    assert openvino_options("cpu", 2) == {
        "load_config": '{"CPU": {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 2}}'
    }
    assert openvino_options("gpu", 2) == {"load_config": '{"GPU": {"INFERENCE_PRECISION_HINT": "f32"}}'}
    assert openvino_options("npu", 2) == {}


def test_cuda_says_which_cuda_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderError, match=r"(?s)rarn-edge\[gpu\].*CUDA 13 and cuDNN 9"):
        check_provider("cuda")


def test_importing_the_providers_registers_nothing() -> None:
    assert "onnxruntime_ep_webgpu" not in sys.modules or plugins.is_registered("webgpu")
