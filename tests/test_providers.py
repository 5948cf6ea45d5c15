"""The ladder from a provider's name to a session that really runs on it."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from rarn_edge.errors import InputError, ProviderError
from rarn_edge.host.threads import cgroup_quota_cores, default_threads
from rarn_edge.runtime import providers
from rarn_edge.runtime.providers import Provider, open_session


@pytest.fixture
def relu_onnx(tmp_path: Path) -> Path:
    """One Relu on [n, 2] float32."""
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 2])
    answer = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph([helper.make_node("Relu", ["input"], ["output"])], "relu", [value], [answer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    path = tmp_path / "relu.onnx"
    onnx.save(model, path)
    return path


def test_cpu_session_runs(relu_onnx: Path) -> None:
    session = open_session(relu_onnx, threads=1)
    (answer,) = session.run(None, {"input": np.array([[-1, 2]], np.float32)})
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert answer.tolist() == [[0, 2]]


def test_operators_are_listed_per_provider(relu_onnx: Path) -> None:
    if not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"):
        pytest.skip("this ONNX Runtime cannot tell")
    assigned = providers.assigned_operators(open_session(relu_onnx, threads=1))
    assert assigned == {"CPUExecutionProvider": {"Relu": 1}}


@pytest.mark.parametrize("name", [name for name in providers.PROVIDERS if name != "cpu"])
def test_provider_not_in_this_build_is_refused(name: str, relu_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "installed_packages", lambda _plugin: ())
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(ort, "InferenceSession", _never)
    with pytest.raises(ProviderError, match=f"(?s)'{name}'.*To get it: ") as caught:
        open_session(relu_onnx, name, threads=1)
    assert caught.value.exit_code == 3


def test_unknown_provider_lists_the_known(relu_onnx: Path) -> None:
    with pytest.raises(InputError, match=r"no provider 'gpu'; one of: cpu, cuda, tensorrt"):
        open_session(relu_onnx, "gpu")


def test_nodes_left_to_the_cpu_are_refused(relu_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure's provider is in every wheel, starts, takes no node: the quiet CPU run this module exists against."""
    if "AzureExecutionProvider" not in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has no provider that takes no nodes")
    monkeypatch.setitem(providers.PROVIDERS, "azure", Provider("AzureExecutionProvider", "nothing"))
    with pytest.raises(ProviderError, match=r"1 of 1 nodes to CPUExecutionProvider \(1 Relu\)"):
        open_session(relu_onnx, "azure", threads=1)


def test_older_runtime_refuses_mixed_sessions_too(relu_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "AzureExecutionProvider" not in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has no provider that takes no nodes")
    monkeypatch.setitem(providers.PROVIDERS, "azure", Provider("AzureExecutionProvider", "nothing"))
    for base in ort.InferenceSession.__mro__:
        if "get_provider_graph_assignment_info" in vars(base):
            monkeypatch.delattr(base, "get_provider_graph_assignment_info")
    with pytest.raises(ProviderError, match="fallback to CPU EP has been explicitly disabled"):
        open_session(relu_onnx, "azure", threads=1)


def test_provider_that_quietly_did_not_start_is_refused(relu_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that lists CUDA on a machine without its libraries: ONNX Runtime warns and uses the CPU."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"), pytest.raises(ProviderError, match="did not start"):
        open_session(relu_onnx, "cuda", threads=1)


def test_two_builds_of_the_runtime_are_refused(relu_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "installed_runtimes", lambda: ("onnxruntime", "onnxruntime-gpu"))
    with pytest.raises(ProviderError, match="onnxruntime and onnxruntime-gpu are installed together"):
        open_session(relu_onnx, "cuda")


def test_unreadable_files_and_bad_options(relu_onnx: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(relu_onnx.read_bytes()[:40])
    with pytest.raises(InputError, match="not a readable ONNX file") as caught:
        open_session(broken, threads=1)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        open_session(tmp_path / "absent.onnx", threads=1)
    with pytest.raises(InputError, match="at least 1, found 0"):
        open_session(relu_onnx, threads=0)


def test_default_threads_is_possible() -> None:
    assert default_threads() >= 1


@pytest.mark.parametrize(
    ("parent", "child", "cores"),
    [("max 100000", "max 100000", None), ("max 100000", "150000 100000", 1.5), ("100000 100000", "400000 100000", 1.0)],
)
def test_tightest_quota_of_the_cgroup_tree(tmp_path: Path, parent: str, child: str, cores: float | None) -> None:
    (tmp_path / "tree/pod/box").mkdir(parents=True)
    (tmp_path / "tree/pod/cpu.max").write_text(f"{parent}\n")
    (tmp_path / "tree/pod/box/cpu.max").write_text(f"{child}\n")
    (tmp_path / "cgroup").write_text("4:memory:/elsewhere\n0::/pod/box\n")
    assert cgroup_quota_cores(tmp_path / "cgroup", tmp_path / "tree") == cores


def test_no_cgroup_no_quota(tmp_path: Path) -> None:
    assert cgroup_quota_cores(tmp_path / "absent", tmp_path) is None


def _never(*_: object, **__: object) -> None:
    raise AssertionError("a session was created")


def test_fallback_must_be_asked_for_and_is_countable(relu_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "AzureExecutionProvider" not in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has no provider that takes no nodes")
    monkeypatch.setitem(providers.PROVIDERS, "azure", Provider("AzureExecutionProvider", "nothing"))
    session = open_session(relu_onnx, "azure", threads=1, allow_fallback=True)
    assert providers.assigned_operators(session) == {"CPUExecutionProvider": {"Relu": 1}}


def test_engines_are_cached_by_model_gpu_and_versions(
    relu_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RARN_EDGE_CACHE", str(tmp_path / "cache"))
    assert providers.engine_cache_options("cuda", relu_onnx) == {}
    folders = set()
    for gpu, tensorrt in (("Orin", "10.3"), ("Orin", "10.4"), ("H100", "10.4"), ("H100", "10.4")):
        monkeypatch.setattr(providers, "gpu_name", lambda gpu=gpu: gpu)
        monkeypatch.setattr(providers, "tensorrt_version", lambda tensorrt=tensorrt: tensorrt)
        options = providers.engine_cache_options("tensorrt", relu_onnx)
        assert (options["trt_engine_cache_enable"], options["trt_int8_enable"]) == ("1", "0")
        assert Path(options["trt_engine_cache_path"]).is_dir()
        folders.add(options["trt_engine_cache_path"])
    assert len(folders) == 3
