"""Does model.onnx answer on this machine as it did where the bundle was made? Exit code 0: yes, 1: no."""

import sys
from pathlib import Path

import numpy as np
from predict import logits

check = np.load(Path(__file__).with_name("check.npz"))
found, expected = logits(check["images"]), check["logits"]
alike = float((found.argmax(axis=1) == expected.argmax(axis=1)).mean())
noise = max(float(np.square(found - expected, dtype=np.float64).sum()), 1e-30)
signal = float(np.square(expected, dtype=np.float64).sum())
snr_db = min(200.0, 10 * np.log10(signal / noise))  # signal-to-noise ratio of the logits
passed = np.isfinite(found).all() and alike >= float(check["same_decision"]) and snr_db >= float(check["min_snr_db"])
print(f"{len(found)} drawn faces: {alike:.1%} decided alike (at least {float(check['same_decision']):.0%}),")
print(f"logits at {snr_db:.1f} dB (at least {float(check['min_snr_db']):.0f}): {'pass' if passed else 'FAIL'}")
sys.exit(not passed)
