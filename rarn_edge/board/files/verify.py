"""Does model.onnx answer on this machine as it did where the bundle was made? Exit code 0: yes, 1: no."""

import sys
from pathlib import Path

import numpy as np
from predict import logits

check = np.load(Path(__file__).with_name("check.npz"))
found, expected = logits(check["images"]), check["logits"]
alike = float((found.argmax(axis=1) == expected.argmax(axis=1)).mean())
apart = float(np.abs(found - expected).max())
passed = alike >= float(check["same_decision"]) and apart <= float(check["max_abs_logit"])
print(f"{len(found)} drawn faces: {alike:.1%} decided alike (at least {float(check['same_decision']):.0%}),")
print(f"logits at most {apart:.3g} apart (allowed {float(check['max_abs_logit']):.3g}): {'pass' if passed else 'FAIL'}")
sys.exit(not passed)
