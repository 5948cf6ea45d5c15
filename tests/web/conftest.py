"""Node, Chromium and the npm packages of `package.json` in this folder; tests that need what is not here are skipped.

`.ci/run` installs them; by hand: `apt install chromium nodejs npm` and `npm install --prefix build/web ./tests/web`.
"""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = Path(os.environ.get("RARN_EDGE_NODE_MODULES") or ROOT / "build" / "web" / "node_modules")
HOW = ".ci/run installs it, or RARN_EDGE_NODE_MODULES names a node_modules folder"


@pytest.fixture(scope="session")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed")
    return found


@pytest.fixture(scope="session")
def modules() -> Path:
    if not (MODULES / "playwright-core").is_dir():
        pytest.skip(f"playwright-core is not in {MODULES}; {HOW}")
    return MODULES


@pytest.fixture(scope="session")
def ort_web() -> Path:
    if not (MODULES / "onnxruntime-web").is_dir():
        pytest.skip(f"onnxruntime-web is not in {MODULES}; {HOW}")
    return MODULES / "onnxruntime-web"
