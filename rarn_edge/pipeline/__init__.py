"""The stages from a torch model to an INT8 file, one file each: to_onnx, simplify, calibrate, quantize; `run` chains them.

A stage takes an artifact, writes a new file, and returns it; its input file is never changed.
"""
