"""Benchmarks: models compared fairly in one interleaved run, with the machine, the method and the doubt stated.

`cases` says what is run and `config` how; `runner.benchmark` measures it, by `schedule`, in the processes of `worker`; `record`
holds what came in, `result` what may be said of it. Nothing here needs torch or onnx: it works on the device, on any ONNX file.
"""
