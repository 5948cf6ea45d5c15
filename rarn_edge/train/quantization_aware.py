"""Quantization-aware finishing: a network learns while it sees its weights and activations rounded as an INT8 file rounds them.

What is rounded follows `pipeline.quantize`: weights of convolutions and linear layers to one symmetric grid a channel, after
batch normalisation is folded into them with frozen statistics; what each operator makes to one grid of 8 bits a tensor, whose
range is measured on faces by the rule of `pipeline.calibrate`. Gradients pass straight through the rounding (Jacob 2018,
arXiv:1712.05877). The parameters are those of the network itself: afterwards it is exported and quantized like any other.
"""

import copy
import operator
from collections.abc import Collection
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, fx, nn

from rarn_edge.contract.targets import RECIPES, Target
from rarn_edge.stats.histograms import BINS, DEFAULT_METHOD, find_range

WEIGHTS = "weight_rounding"  # the module that rounds them
SMALLEST_SCALE = 1e-12  # of a tensor of zeros
aten = torch.ops.aten
_FUSED = {aten.relu.default, aten.relu_.default, aten.hardtanh.default, aten.hardtanh_.default}
"""Activations that an INT8 kernel applies before it rounds."""
_SHAPES = {
    aten.flatten.using_ints, aten.view.default, aten.reshape.default, aten.permute.default, aten.transpose.int,
    aten.squeeze.dim, aten.unsqueeze.default, aten.dropout.default,
}  # fmt: skip
_CHOOSE = {aten.amax.default, aten.max_pool2d.default, aten.upsample_nearest2d.vec}
"""What they make lies on the grid of what they read."""
_AVERAGE = {aten.mean.dim, aten.avg_pool2d.default}
"""What they make is rounded to the grid of what they read."""
_WEIGHTED = {aten.conv2d.default, aten.linear.default}


class _StraightThrough(torch.autograd.Function):
    """x -> the nearest of `scale` times a whole number from `first` to `last`; the gradient as if it were x.

    torch's own `fake_quantize_per_tensor_affine` takes three times as long on a CPU.
    """

    @staticmethod
    def forward(_ctx: object, x: Tensor, scale: float, first: int, last: int) -> Tensor:
        return x.to(torch.float32, copy=True).mul_(1 / scale).round_().clamp_(first, last).mul_(scale).to(x.dtype)

    @staticmethod
    def backward(_ctx: object, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return gradient, None, None, None


class Rounding(nn.Module):
    """One tensor on a grid of 8 bits, and how its range is found: what it reaches first, then how often which value."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        recipe = RECIPES[target]
        self._symmetric = recipe.symmetric_activations
        signed = (-127, 127) if self._symmetric else (-128, 127)
        self._levels = (0, 255) if recipe.unsigned_activations else signed
        self._scale, self._zero = 1.0, 0
        self._low, self._high, self._counts = np.inf, -np.inf, np.zeros(BINS, dtype=np.int64)
        self.does: Literal["round", "extremes", "count"] = "round"

    def forget(self) -> None:
        """Before a new range is found."""
        self._low, self._high, self._counts = np.inf, -np.inf, np.zeros(BINS, dtype=np.int64)

    def settle(self) -> None:
        """Choose the grid by what was observed; zero lies on it."""
        low, high = find_range(DEFAULT_METHOD, self._counts, self._low, self._high)
        low, high = min(0.0, low), max(0.0, high)
        if self._symmetric:
            low, high = min(low, -high), max(high, -low)
        first, last = self._levels
        self._scale = max((high - low) / (last - first), SMALLEST_SCALE)
        self._zero = round(first - low / self._scale)

    def forward(self, x: Tensor) -> Tensor:
        if self.does == "round":
            first, last = self._levels
            return _StraightThrough.apply(x, self._scale, first - self._zero, last - self._zero)  # type: ignore[no-any-return,no-untyped-call]  # torch's own stub lacks it
        if self.does == "extremes":
            self._low, self._high = min(self._low, x.min().item()), max(self._high, x.max().item())
        elif self._high > self._low:
            bins = ((x.flatten() - self._low) * ((BINS - 1) / (self._high - self._low))).int().clamp_(0, BINS - 1)
            self._counts += torch.bincount(bins, minlength=BINS).cpu().numpy()
        return x


class WeightRounding(nn.Module):
    """Weights [channels, ...] on whole numbers from -`steps` to `steps` times one scale a channel; not `while_measuring`."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps
        self.while_measuring = False

    def forward(self, weight: Tensor) -> Tensor:
        if self.while_measuring:
            return weight
        largest = weight.detach().abs().flatten(1).amax(dim=1)  # [channels]
        scales = (largest / self._steps).clamp_min(SMALLEST_SCALE)
        zeros = torch.zeros_like(scales, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scales, zeros, 0, -self._steps, self._steps)


def folded(
    weight: Tensor, bias: Tensor | None, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, epsilon: float
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that normalises as well, with frozen statistics."""
    factor = gamma * torch.rsqrt(variance + epsilon)  # [channels]
    shift = beta - mean * factor
    return weight * factor.view(-1, 1, 1, 1), shift if bias is None else shift + bias * factor


class QuantizationAware(nn.Module):
    """`model` as the INT8 file of a target computes it: [N, C, H, W] -> logits [N, outputs]."""

    def __init__(self, model: nn.Module, example: Tensor, target: Target) -> None:
        """`example` [2, C, H, W] is an input; `model` is set to evaluation mode, so that its statistics stay."""
        super().__init__()
        batch = {0: torch.export.Dim.DYNAMIC}
        graph = torch.export.export(model.eval(), (example,), dynamic_shapes=(batch,)).module()
        assert isinstance(graph, fx.GraphModule)
        self._graph = graph
        self._roundings = _round_everything(graph, target)

    def measure(self, batches: Collection[Tensor]) -> None:
        """Find the range of each tensor on inputs, in two passes of the network as it is."""
        for rounding in self._roundings:
            rounding.forget()
        weights = self._graph.get_submodule(WEIGHTS)
        assert isinstance(weights, WeightRounding)
        weights.while_measuring = True
        passes: tuple[Literal["extremes", "count"], ...] = ("extremes", "count")
        for each in passes:
            for rounding in self._roundings:
                rounding.does = each
            with torch.no_grad():
                for batch in batches:
                    self._graph(batch)
        weights.while_measuring = False
        for rounding in self._roundings:
            rounding.does = "round"
            rounding.settle()

    @torch.no_grad()
    def put_on_grid(self) -> None:
        """Give the network the weights that its INT8 file multiplies by, so that rounding them changes nothing any more.

        Weights that no parameter gives exactly (a mean of several, say) stay.
        """
        for node in self._graph.graph.nodes:
            if node.target == WEIGHTS:
                self._settle(node.args[0])

    def _settle(self, made: fx.Node) -> None:
        parameters = [each for each in _ancestors(made) if each.op == "get_attr" and _value(self._graph, each).ndim > 1]
        if len(parameters) != 1:
            return
        parameter, current = _value(self._graph, parameters[0]), _value(self._graph, made)
        wanted = self._graph.get_submodule(WEIGHTS)(current)
        before = parameter.clone()
        options = [wanted[: len(parameter)]]  # of a kernel in several orientations the first is the parameter itself
        if current.shape == parameter.shape:
            options.insert(0, torch.nan_to_num(before * wanted / current))  # of one that normalises, too
        for option in options:
            parameter.copy_(option)
            if torch.allclose(_value(self._graph, made), wanted, rtol=1e-4, atol=1e-6):
                return
        parameter.copy_(before)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self._graph(x)
        return logits


class Finish:
    """The parts of a run that finishes a network for INT8: what is learnt through, and what is measured and kept."""

    def __init__(self, model: nn.Module, averaged: nn.Module, shown: Collection[Tensor], target: Target) -> None:
        """Ranges are measured on the inputs `shown`, each [N, C, H, W] with N >= 2."""
        example = next(iter(shown))[:2]
        self._shown, self._averaged, self._kept = shown, averaged, copy.deepcopy(averaged)
        self.rounded = QuantizationAware(model, example, target)
        self._on_grid = QuantizationAware(self._kept, example, target)

    def measure(self) -> None:
        """Find the ranges of activations anew."""
        self.rounded.measure(self._shown)

    def finished(self) -> nn.Module:
        """The averaged network with the weights that its INT8 file multiplies by."""
        self._kept.load_state_dict(self._averaged.state_dict())
        self._on_grid.put_on_grid()
        return self._kept


def _ancestors(node: fx.Node) -> set[fx.Node]:
    """The node and all that it is made from."""
    found, waiting = {node}, [node]
    while waiting:
        new = [each for each in waiting.pop().all_input_nodes if each not in found]
        found.update(new)
        waiting += new
    return found


def _value(graph: fx.GraphModule, node: fx.Node) -> Any:
    """What a node makes of parameters alone."""
    if node.op == "get_attr":
        module, _, name = str(node.target).rpartition(".")
        return getattr(graph.get_submodule(module), name)
    assert callable(node.target)
    return node.target(*fx.node.map_arg(node.args, lambda each: _value(graph, each)))


def _round_everything(graph: fx.GraphModule, target: Target) -> list[Rounding]:
    """Put roundings into a graph of `torch.export`; returns those of activations."""
    nodes = list(graph.graph.nodes)
    for node in nodes:
        if node.op == "call_module":  # a check of the input's shape
            graph.graph.erase_node(node)
        elif node.target is aten.batch_norm.default:
            _fold(graph.graph, node)
    graph.add_submodule(WEIGHTS, WeightRounding(64 if RECIPES[target].reduced_weights else 127))
    roundings: dict[fx.Node, Rounding] = {}  # by the node whose result lies on its grid
    moving: set[fx.Node] = set()  # what depends on the input; the rest is weights
    found: list[Rounding] = []
    for node in list(graph.graph.nodes):
        reads = [each for each in node.all_input_nodes if each in moving]
        if node.op != "placeholder" and (not reads or node.op == "output"):
            continue
        moving.add(node)
        if node.target in _WEIGHTED:
            with graph.graph.inserting_before(node):
                node.update_arg(1, graph.graph.call_module(WEIGHTS, (node.args[1],)))
        if node.target in _CHOOSE | _SHAPES:
            if reads[0] in roundings:
                roundings[node] = roundings[reads[0]]
            continue
        if node.target in _AVERAGE and reads[0] in roundings:
            rounding = roundings[reads[0]]
        elif _is_fused(node):
            continue
        else:
            rounding = Rounding(target)
            found.append(rounding)
        rounded = _round(graph, node, rounding, f"rounding_{len(found)}")
        moving.add(rounded)
        roundings[rounded] = rounding
    graph.graph.lint()
    graph.recompile()
    return found


def _round(graph: fx.GraphModule, node: fx.Node, rounding: Rounding, name: str) -> fx.Node:
    """Whoever reads `node` reads it rounded."""
    graph.add_submodule(name, rounding)
    with graph.graph.inserting_after(node):
        rounded = graph.graph.call_module(name, ())
    node.replace_all_uses_with(rounded)
    rounded.args = (node,)
    return rounded


def _is_fused(node: fx.Node) -> bool:
    """Whether an INT8 kernel goes on to the only reader before it rounds: an activation, or the mean of a product with a mask."""
    readers = list(node.users)
    if len(readers) != 1:
        return False
    if node.target is aten.mul.Tensor:
        return readers[0].target is aten.adaptive_avg_pool2d.default
    return readers[0].target in _FUSED


def _fold(graph: fx.Graph, norm: fx.Node) -> None:
    """Convolution -> batch normalisation becomes one convolution of folded weights; another normalisation stays."""
    convolution, gamma, beta, mean, variance, _, _, epsilon, *_ = norm.args
    assert isinstance(convolution, fx.Node)
    if convolution.target is not aten.conv2d.default or len(convolution.users) != 1:
        return
    bias = convolution.args[2] if len(convolution.args) > 2 else None
    with graph.inserting_before(convolution):
        both = graph.call_function(folded, (convolution.args[1], bias, gamma, beta, mean, variance, epsilon))
        weight, shift = (graph.call_function(operator.getitem, (both, index)) for index in range(2))
    convolution.args = (convolution.args[0], weight, shift, *convolution.args[3:])
    norm.replace_all_uses_with(convolution)
    graph.erase_node(norm)
