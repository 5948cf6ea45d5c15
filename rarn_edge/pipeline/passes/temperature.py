"""Put a fitted temperature into a file: its probabilities then mean what they say, and no decision changes."""

from dataclasses import replace

from rarn_edge.onnx_graph import LoadedModel


def with_temperature(model: LoadedModel, temperature: float, fitted_on: str) -> LoadedModel:
    """`model` with `temperature` in its contract; `fitted_on` says which faces it was fitted on."""
    noted = model.changed(model.graph, temperature_fitted_on=fitted_on)
    return replace(noted, contract=replace(noted.contract, spec=replace(model.spec, temperature=temperature)))
