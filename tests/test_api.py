"""What the command line does is one call in Python: there, typed, documented, and its examples run."""

import doctest
import inspect
from collections.abc import Callable
from importlib import import_module
from typing import get_type_hints

import pytest

import rarn_edge
from rarn_edge.assets import shipped_models

CALLS = [name for name in rarn_edge.__all__ if name[0].islower()]
ASKED_FOR = [
    "export", "simplify", "quantize", "parity", "verify", "benchmark", "compare", "audit", "verdict", "evaluate", "train",
    "bundle",
]  # fmt: skip


def call(name: str) -> Callable[..., object]:
    """The function itself; `rarn_edge.parity` is also a part of the package."""
    module, _, attribute = rarn_edge._PLACES[name][0].partition(":")
    found: Callable[..., object] = getattr(import_module(module), attribute)
    return found


def test_every_call_is_there() -> None:
    assert set(ASKED_FOR) <= set(CALLS) <= set(rarn_edge._PLACES)
    assert all(callable(getattr(rarn_edge, name)) for name in rarn_edge.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'quantise'"):
        rarn_edge.quantise  # noqa: B018  # the access is the test


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_typed_and_documented(name: str) -> None:
    function = call(name)
    hints = get_type_hints(function, localns={"Weights": object, "AnyNetwork": object})
    assert set(inspect.signature(function).parameters) | {"return"} == set(hints)
    text = inspect.getdoc(function) or ""
    assert "Raises:" in text
    assert ">>> import rarn_edge" in text
    if "Args:" in text:
        described = text.split("Args:")[1].split("\n\n")[0]
        assert all(f"    {parameter}:" in described for parameter in inspect.signature(function).parameters)


@pytest.mark.skipif("rarn-n" not in shipped_models(), reason="no weights of rarn-n are shipped")
@pytest.mark.parametrize("name", ["rarn_edge", *CALLS])
def test_its_example_runs(name: str) -> None:
    documented = rarn_edge if name == "rarn_edge" else call(name)
    (example,) = doctest.DocTestFinder(recurse=False).find(documented, name, globs={})
    found = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example)
    assert (found.failed, found.attempted > 0) == (0, True)


def test_a_part_that_shares_its_name_with_a_call_is_both() -> None:
    import rarn_edge.parity.tolerances

    assert rarn_edge.parity.tolerances.TOLERANCES["faces"]["float"].min_agreement == 1.0
    with pytest.raises(rarn_edge.errors.InputError, match="compare what"):
        rarn_edge.parity()


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(rarn_edge.errors.InputError, match=r'pip install "rarn-edge\[export\]"'):
        rarn_edge.quantize  # noqa: B018  # the access is the test
