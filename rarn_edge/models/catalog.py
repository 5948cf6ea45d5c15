"""The models by name, as plain facts: readable on a device without torch. `tests/models` checks each number against torch."""

import difflib
from dataclasses import dataclass
from typing import Literal

from rarn_edge.contract.spec import ModelSpec, Preprocess
from rarn_edge.errors import InputError


@dataclass(frozen=True)
class CatalogEntry:
    """One model with seven classes and gray input."""

    name: str
    role: Literal["edge", "ablation", "teacher", "paper", "baseline"]
    side_px: int
    parameters: int
    multiply_adds: int  # of convolutions and linear layers, one image
    source: str

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(self.name, preprocess=Preprocess(height_px=self.side_px, width_px=self.side_px))


CATALOG: dict[str, CatalogEntry] = {
    entry.name: entry
    for entry in (
        CatalogEntry("rarn-s", "edge", 48, 1_948_174, 62_039_584, "this project, after Zhu 2024"),
        CatalogEntry("rarn-n", "edge", 48, 384_364, 9_690_440, "this project, after Zhu 2024"),
        CatalogEntry("rarn-n-none", "ablation", 48, 383_399, 9_562_496, "rarn-n without attention"),
        CatalogEntry("rarn-n-cbam", "ablation", 48, 383_498, 9_566_024, "rarn-n, mask from the map itself"),
        CatalogEntry("rarn-n-conv", "ablation", 48, 386_962, 9_690_440, "rarn-n, plain angle convolution"),
        CatalogEntry("rarn-l", "teacher", 48, 7_849_134, 287_593_760, "rarn-s, twice as wide and deeper"),
        CatalogEntry("rarn-18", "paper", 48, 11_586_666, 193_429_888, "Zhu 2024 on ResNet-18"),
        CatalogEntry("rarn-50", "paper", 48, 24_666_218, 322_349_952, "Zhu 2024 on ResNet-50"),
        CatalogEntry("rarn-152", "paper", 48, 59_301_994, 663_268_224, "Zhu 2024"),
        CatalogEntry("resnet-18", "baseline", 48, 11_173_831, 94_346_752, "He 2015"),
        CatalogEntry("resnet-50", "baseline", 48, 23_516_103, 209_307_648, "He 2015"),
        CatalogEntry("resnet-152", "baseline", 48, 58_151_879, 550_225_920, "He 2015"),
        CatalogEntry("inception-v4", "baseline", 75, 41_152_999, 428_080_672, "Szegedy 2017"),
        CatalogEntry("mobilenet-v1", "baseline", 48, 3_213_575, 28_520_704, "Howard 2017"),
    )
}


def find_model(name: str) -> CatalogEntry:
    """The entry of that name.

    Raises:
        InputError: no such model; close names are offered.
    """
    if name not in CATALOG:
        close = difflib.get_close_matches(name.lower(), CATALOG, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise InputError(f"no model '{name}'{hint}\nAll models: {', '.join(CATALOG)}")
    return CATALOG[name]
