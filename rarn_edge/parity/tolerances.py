"""The one table of what a step may change; shared by the command line, the tests, CI and every bundle.

Measured, then frozen: docs/results/parity.md has the measured figures and the command. Another table is a TOML file
with the same names, of which it may give a part:

    [faces.int8]
    min_agreement = 0.97
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from rarn_edge.boundary.documents import read_toml
from rarn_edge.errors import InputError

Kind = Literal["float", "batch", "quantize", "fuse", "int8"]
"""`float`: another form of the same float32 arithmetic. `batch`: the same file at another batch size or thread count.
`quantize`: float32 to INT8 computed in float. `fuse`: that to the INT8 kernels that really run. `int8`: both at once."""

Inputs = Literal["faces", "adversarial"]


@dataclass(frozen=True)
class Tolerance:
    """The limits of one kind of step; what is None is measured and not judged."""

    max_abs_logit: float | None = None
    min_snr_db: float | None = None
    min_agreement: float | None = None  # share of equal decisions
    max_accuracy_drop: float | None = None  # lost share of right decisions, where labels are known


_SHARES = ("min_agreement", "max_accuracy_drop")  # of the images

Tolerances = Mapping[Inputs, Mapping[Kind, Tolerance]]

TOLERANCES: Tolerances = {
    "faces": {
        "float": Tolerance(max_abs_logit=1e-4, min_agreement=1.0),
        "batch": Tolerance(max_abs_logit=1e-5, min_agreement=1.0),
        "quantize": Tolerance(min_snr_db=25.0, min_agreement=0.985, max_accuracy_drop=0.003),
        "fuse": Tolerance(min_snr_db=35.0, min_agreement=0.995),
        "int8": Tolerance(min_snr_db=25.0, min_agreement=0.985, max_accuracy_drop=0.003),
    },
    # no face looks like these: INT8 ranges were not made for them, so only the arithmetic is judged, not the decision
    "adversarial": {
        "float": Tolerance(max_abs_logit=1e-4),
        "batch": Tolerance(max_abs_logit=1e-5),
        "quantize": Tolerance(),
        "fuse": Tolerance(min_snr_db=25.0),
        "int8": Tolerance(),
    },
}


def tolerances_to_dict(tolerances: Tolerances) -> dict[str, dict[str, dict[str, float | None]]]:
    """A JSON-ready dictionary."""
    return {inputs: {kind: asdict(limits) for kind, limits in kinds.items()} for inputs, kinds in tolerances.items()}


def tolerances_from_dict(data: object, source: str, base: Tolerances = TOLERANCES) -> Tolerances:
    """`base` with what `data` gives in its place; `source` names the file in messages.

    Raises:
        InputError: an unknown name, a limit that is not a number of at least 0, or a share above 1.
    """
    table: dict[Inputs, dict[Kind, Tolerance]] = {inputs: dict(kinds) for inputs, kinds in base.items()}
    known = [field.name for field in fields(Tolerance)]
    for inputs, kinds in _object(data, source, "the table").items():
        if inputs not in get_args(Inputs):
            raise InputError(f"{source}: no inputs '{inputs}'; one of: {', '.join(get_args(Inputs))}")
        for kind, limits in _object(kinds, source, f"[{inputs}]").items():
            place = f"[{inputs}.{kind}]"
            if kind not in get_args(Kind):
                raise InputError(f"{source}: {place} is no kind of step; one of: {', '.join(get_args(Kind))}")
            for name, limit in _object(limits, source, place).items():
                if name not in known:
                    raise InputError(f"{source}: {place} has no limit '{name}'; one of: {', '.join(known)}")
                is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
                if limit is not None and not (is_number and math.isfinite(limit) and limit >= 0):
                    raise InputError(f"{source}: {place} {name} is a number of at least 0, found {limit!r}")
                if name in _SHARES and limit is not None and limit > 1:
                    raise InputError(
                        f"{source}: {place} {name} is a share of the images, at most 1, found {limit!r};"
                        f" {limit:g} % is {limit / 100:g}"
                    )
            row: dict[Kind, Tolerance] = table[inputs]  # type: ignore[index]  # checked above; mypy keeps `str`
            row[kind] = replace(row[kind], **limits)  # type: ignore[index]
    return table


def read_tolerances(path: Path) -> Tolerances:
    """The frozen table with the limits of a TOML file in place of its own.

    Raises:
        InputError: unreadable, not TOML, or an unknown name.
    """
    return tolerances_from_dict(read_toml(path), str(path))


def _object(data: object, source: str, name: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise InputError(f"{source}: {name} is a table such as [faces.int8] with min_agreement = 0.985")
    return data
