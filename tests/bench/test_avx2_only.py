"""`benchmarks/avx2_only.c`: a CPU with VNNI answers as one without, saturation included."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SOURCE = Path(__file__).parents[2] / "benchmarks" / "avx2_only.c"
CPUINFO = Path("/proc/cpuinfo")
FLAGS = set(CPUINFO.read_text(encoding="utf-8").split()) if CPUINFO.exists() else set()
COMPILER = shutil.which("cc")

pytestmark = pytest.mark.skipif(
    COMPILER is None or not {"cpuid_fault", "avx512_vnni"} <= FLAGS,
    reason="needs cc and a CPU with VNNI and cpuid_fault",
)

# 64 products of 255 and 127: pairs of them (64,770) do not fit 16 bits
PROGRAM = """
import json
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

graph = helper.make_graph(
    [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
    "g",
    [helper.make_tensor_value_info("a", TensorProto.UINT8, [32, 64])],
    [helper.make_tensor_value_info("y", TensorProto.INT32, [32, 32])],
    [helper.make_tensor("b", TensorProto.INT8, [64, 32], np.full((64, 32), 127, np.int8).tobytes(), raw=True)],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
(product,) = session.run(None, {"a": np.full((32, 64), 255, np.uint8)})
print(json.dumps([int(product.min()), int(product.max())]))
"""


def product(preload: str) -> list[int]:
    """The lowest and the highest entry of the product."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONFAULTHANDLER"}
    environment["LD_PRELOAD"] = preload
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=False, capture_output=True, text=True)
    if "cannot trap CPUID" in done.stderr:
        pytest.skip(done.stderr.strip())  # a sandbox may forbid it
    assert done.returncode == 0, done.stderr
    found: list[int] = json.loads(done.stdout)
    return found


def test_what_saturates_on_avx2_saturates_here(tmp_path: Path) -> None:
    assert COMPILER is not None
    library = tmp_path / "avx2_only.so"
    subprocess.run(
        [COMPILER, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", str(SOURCE), "-o", str(library)], check=True
    )
    exact, saturated = 64 * 255 * 127, 32 * np.iinfo(np.int16).max
    assert product("") == [exact, exact]
    assert product(str(library)) == [saturated, saturated]
