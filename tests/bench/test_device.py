"""Bound inputs and outputs answer as ordinary ones do; the CPU stands in for the GPU, the calls are the same."""

import numpy as np
import pytest

from rarn_edge.bench.worker.binding import bind
from rarn_edge.errors import InputError
from rarn_edge.runtime.providers import open_session


def test_bound_calls_answer_and_can_be_repeated(make_onnx) -> None:
    session = open_session(make_onnx("bound"), threads=1)
    feed = {"input": np.arange(32, dtype=np.float32).reshape(2, 1, 4, 4)}
    calls = bind(session, feed, "cpu")
    for _ in range(2):
        (answer,) = calls.host_to_host()
        np.testing.assert_array_equal(answer, feed["input"])
        calls.on_device()


def test_an_output_of_unknown_size_is_refused(make_onnx) -> None:
    session = open_session(make_onnx("free", shape=("n", "m")), threads=1)
    with pytest.raises(InputError, match=r"output 'logits' is tensor\(float\) of shape \['n', 'm'\]"):
        bind(session, {"input": np.zeros((2, 3), np.float32)}, "cpu")
