"""From a torch model to an INT8 file, one stage a file: export, simplify, calibrate, quantize. `workflow` chains them.

A stage takes a model and gives another one, in memory or as a file; what it was given stays as it is.
"""
