"""Which module? torch against an ONNX file: forward hooks take what each module answers, tensor by tensor of the file.

A fresh export of the same weights says which tensor a module's answer is (torch's exporter notes the modules around each node),
gives the values between modules, and the constants to compare. It need not be right: where a module has answered, torch counts.
"""

import ast
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.preprocess import to_input
from rarn_edge.onnx_graph import LoadedModel
from rarn_edge.parity.explain import MIN_INT8_SNR_DB, NodeRow, Values, explain, tensor_values
from rarn_edge.pipeline.export import export_weights
from rarn_edge.stats.sqnr import sqnr_db
from rarn_edge.train.checkpoint import Weights

_SCOPES = "pkg.torch.onnx.name_scopes"


def explain_torch(weights: Weights, after: Artifact | LoadedModel, images: NDArray[np.uint8]) -> list[NodeRow]:
    """Every tensor that `after` shares with a fresh export, in graph order, named by its module.

    Raises:
        InputError: no tensor in common.
        GateError: the fresh export itself is not what torch answers.
    """
    fresh = export_weights(weights)
    graph = fresh.graph
    inputs = to_input(images, weights.spec.preprocess)
    model = weights.model()
    answers = module_outputs(model, inputs)
    made = {path: tensor for path, tensor in last_tensors(graph).items() if path in answers}
    exported = tensor_values(graph, list(made.values()), {fresh.spec.input_name: inputs})
    truth = {
        tensor: answers[path]
        for path, tensor in made.items()
        # far from it is another tensor: a module's last node can be folded into its successor
        if answers[path].shape == exported[tensor].shape and sqnr_db(answers[path], exported[tensor]) >= MIN_INT8_SNR_DB
    }
    modules = tensor_modules(graph, set(dict(model.named_modules())))
    rows = explain(fresh, after, images, truth)
    return [replace(row, node=f"{modules.get(row.tensor) or 'forward'}, {row.node}") for row in rows]


@torch.no_grad()
def module_outputs(model: nn.Module, inputs: NDArray[np.float32]) -> Values:
    """What each module of `model` answers to `inputs` [N, C, H, W], by path; without modules that are called twice."""
    answers: Values = {}
    calls: Counter[str] = Counter()

    def keep(path: str, _module: nn.Module, _inputs: object, answer: object) -> None:
        calls[path] += 1
        if isinstance(answer, torch.Tensor):
            answers[path] = answer.numpy(force=True).copy()  # what follows may work in place

    handles = [module.register_forward_hook(partial(keep, path)) for path, module in model.named_modules() if path]
    try:
        model(torch.from_numpy(inputs))
    finally:
        for handle in handles:
            handle.remove()
    return {path: answer for path, answer in answers.items() if calls[path] == 1}


def last_tensors(model: onnx.ModelProto) -> dict[str, str]:
    """Module path -> the tensor that the last node inside that module makes."""
    return {path: node.output[0] for node in model.graph.node for path in _scopes(node)}


def tensor_modules(model: onnx.ModelProto, paths: set[str]) -> dict[str, str]:
    """Tensor -> the innermost of the modules `paths` that makes it; of a folded pair, the one whose weight it is."""
    found = {}
    for node in model.graph.node:
        owners = [name.rpartition(".")[0] for name in node.input[1:2] if name.endswith(".weight")]
        inside = [path for path in (*_scopes(node), *owners) if path in paths]
        found.update(dict.fromkeys(node.output, inside[-1] if inside else ""))
    return found


def _scopes(node: onnx.NodeProto) -> list[str]:
    """Paths of the modules around a node, outermost first, as torch's exporter noted them."""
    noted = next((prop.value for prop in node.metadata_props if prop.key == _SCOPES), "[]")
    return [str(path) for path in ast.literal_eval(noted)[:-1] if path]  # the last is the operation
