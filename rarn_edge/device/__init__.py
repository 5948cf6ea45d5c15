"""What runs on the board: classify crops, find faces, follow them in video, score archives. No torch, no onnx."""
