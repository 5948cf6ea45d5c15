"""A ledger as JSON: what `rarn-edge parity --json` prints and `--from` judges again."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rarn_edge.boundary.documents import read_json
from rarn_edge.boundary.paths import reason
from rarn_edge.errors import InputError
from rarn_edge.parity.hops import Hop, judge, measurement_from_dict, would_pass
from rarn_edge.parity.tolerances import Tolerances

SCHEMA_VERSION = 1


def ledger_to_dict(hops: list[Hop], description: str, classes: tuple[str, ...]) -> dict[str, Any]:
    """Everything measured and judged; each hop with the tightest limits that it would pass."""
    return {
        "schema_version": SCHEMA_VERSION,
        "faces": description,
        "classes": list(classes),
        "hops": [{**hop.to_dict(), "would_pass": asdict(would_pass(hop))} for hop in hops],
    }


def judge_again(path: Path, tolerances: Tolerances) -> tuple[list[Hop], str, tuple[str, ...]]:
    """Hops of a saved ledger held against `tolerances`, its faces and its classes; nothing is run.

    Raises:
        InputError: not a ledger of this version.
    """
    try:
        data = read_json(path)
        version = data["schema_version"]
        saved, description, classes = list(data["hops"]), str(data["faces"]), tuple(map(str, data["classes"]))
    except InputError as error:
        raise InputError(f"{path}: not what `rarn-edge parity --json` prints ({reason(error, path)})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not what `rarn-edge parity --json` prints ({error!r})") from error
    if version != SCHEMA_VERSION or not saved:
        raise InputError(
            f"{path}: a ledger of schema {version} with {len(saved)} hops; run rarn-edge parity --json anew"
        )
    measured = [measurement_from_dict(hop, str(path)) for hop in saved]
    return [judge(each, tolerances[each.inputs][each.kind]) for each in measured], description, classes
