"""Figures as text: SI inside the package, pretty units here. None is a dash."""

from rarn_edge.report.table import UNKNOWN


def milliseconds(seconds: float | None) -> str:
    """At least three significant digits: 0.0831, 0.585, 1.25, 48.2, 1,240."""
    if seconds is None:
        return UNKNOWN
    value = seconds * 1e3
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3 if value >= 0.1 else 4
    return f"{value:,.{digits}f}"


def megabytes(value: int | None, digits: int = 1) -> str:
    """Of 10^6 bytes."""
    return UNKNOWN if value is None else f"{value / 1e6:.{digits}f}"


def gigabytes(value: int | None) -> str:
    """`16.8 GB`."""
    return "?" if value is None else f"{value / 1e9:.1f} GB"


def giga(value: float | None) -> str:
    """10^9 of something."""
    return UNKNOWN if value is None else f"{value / 1e9:.2f}"


def millions(value: int | None, digits: int) -> str:
    """`1.60 M`."""
    return UNKNOWN if value is None else f"{value / 1e6:.{digits}f} M"


def percent(value: float | None, digits: int = 0) -> str:
    """Of a share: 0.25 is `25%`."""
    return UNKNOWN if value is None else f"{value:.{digits}%}"


def points(share: float) -> str:
    """A difference of two shares in percentage points: `+0.25`."""
    return f"{share * 100:+.2f}"


def count(number: int, what: str) -> str:
    """`1 thread`, `2 threads`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
