"""Where in a network the classes are."""

from torch import nn

from rarn_edge.errors import InputError


def classifier_of(model: nn.Module, outputs: int) -> nn.Module:
    """The last layer of a network: the last linear layer or convolution with that many outputs.

    Raises:
        InputError: it has none.
    """
    return _classifier(model, outputs)[1]


def _classifier(model: nn.Module, outputs: int) -> tuple[str, nn.Module]:
    """Its name and the layer."""
    layers = [
        (name, layer)
        for name, layer in model.named_modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == outputs)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == outputs)
    ]
    if not layers:
        raise InputError(
            f"the network has no linear layer or convolution of {outputs} outputs, so its classifier is not known; choose a"
            " recipe with one rate for all layers, and weights of the same classes to start from"
        )
    return layers[-1]


def tensors_from_classifier(model: nn.Module, outputs: int) -> list[str]:
    """Names of the parameters and statistics of the classifier, and of the layers that are defined after it.

    Raises:
        InputError: there is no classifier of that many outputs.
    """
    name, _ = _classifier(model, outputs)
    prefix, names = f"{name}." if name else "", list(model.state_dict())
    first = next(index for index, tensor in enumerate(names) if tensor.startswith(prefix))
    return names[first:]
