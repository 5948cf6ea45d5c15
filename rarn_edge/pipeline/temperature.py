"""Put a fitted temperature into a file: its probabilities then mean what they say, and no decision changes."""

from dataclasses import replace
from pathlib import Path

from rarn_edge.contract.artifact import Artifact
from rarn_edge.pipeline.graph import load_graph, save_artifact


def with_temperature(artifact: Artifact, temperature: float, fitted_on: str, out: Path) -> Artifact:
    """Copy `artifact` to `out` with `temperature` in its contract; `fitted_on` says which faces it was fitted on."""
    contract = replace(
        artifact.contract,
        spec=replace(artifact.spec, temperature=temperature),
        provenance={**artifact.contract.provenance, "temperature_fitted_on": fitted_on},
    )
    return save_artifact(load_graph(artifact.path), contract, out)
