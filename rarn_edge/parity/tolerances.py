"""The one table of what a hop may change; shared by the command line, the tests and CI."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FloatTolerance:
    """For a hop between two float32 forms: the arithmetic may be ordered differently, the decisions may not differ."""

    max_abs_logit: float = 1e-4
    min_agreement: float = 1.0  # share of equal decisions


@dataclass(frozen=True)
class Int8Tolerance:
    """For a hop into INT8: single answers move, so the judgement is statistical."""

    min_agreement: float = 0.97
    max_accuracy_drop: float = 0.010  # lost share of right decisions, where labels are known


FLOAT = FloatTolerance()
INT8 = Int8Tolerance()
