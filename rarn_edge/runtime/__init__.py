"""ONNX Runtime: providers, sessions, logits."""
