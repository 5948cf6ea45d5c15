"""An estimate and what it may really be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval, all three in the unit of the figure."""

    value: float
    low: float
    high: float
