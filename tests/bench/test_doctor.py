"""One page on this machine: what starts is really started."""

import json

import pytest

from rarn_edge.bench import doctor
from rarn_edge.bench.doctor import diagnose
from rarn_edge.bench.worker.client import Worker, WorkerError
from rarn_edge.report import doctor as doctor_text
from rarn_edge.runtime.peaks import Products
from rarn_edge.runtime.providers import PROVIDERS


def test_doctor(cli) -> None:
    done = cli("doctor", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    states = {each["name"]: each["state"] for each in found["providers"]}
    assert set(states) == set(PROVIDERS)
    assert states["cpu"] == "starts"
    assert all(each["get"] for each in found["providers"] if each["state"] != "starts")
    assert found["environment"]["cores_available"] >= 1
    assert {"numpy", "onnx", "onnx_ir", "torch", "matplotlib", "pyarrow"} <= set(found["packages"])
    assert min(found["products"].values()) > 1e6


@pytest.mark.parametrize(("int8", "said"), [(22e9, "hardly time"), (80e9, "up to 4.0x as fast")])
def test_doctor_says_whether_int8_can_pay(int8: float, said: str) -> None:
    assert said in doctor_text._products(Products(20e9, int8))


def test_a_provider_that_does_not_start_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: Worker, command: str, **_arguments: object) -> dict[str, object]:
        raise WorkerError(f"its process was killed by SIGSEGV in {command}")

    monkeypatch.setattr(Worker, "ask", refuse)
    monkeypatch.setattr(doctor, "installed_runtimes", lambda: ("onnxruntime", "onnxruntime-gpu"))
    monkeypatch.setattr(doctor, "package_version", lambda _: "1.0")
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda _: "1.0")
    found = diagnose()
    cpu = next(each for each in found.providers if each.name == "cpu")
    assert cpu.state == "does not start"
    assert "its process was killed by SIGSEGV" in cpu.reason
    assert any("overwrite each other: pip uninstall all" in text for text in found.problems)
    assert "provider 'cpu' is installed but does not start: see its row" in found.problems
