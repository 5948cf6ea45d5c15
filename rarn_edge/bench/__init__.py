"""Benchmarks: models compared fairly in one interleaved run, with the machine, the method and the doubt stated.

`cases` says what is run, `timing` how, `stats` what may be concluded, `memory` what it costs, `environment` where;
`run` joins them into a `result`. Nothing here needs torch or onnx: it works on the device, on any ONNX file.
"""
