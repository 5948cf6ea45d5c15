"""Scoring over a cluster with Ray Data: the same function per unit, in one actor a worker.

Inputs, model and output folder are on storage that every node sees under the same path; workers write their parts there.
"""

import json
from collections.abc import Iterator
from typing import Any

from rarn_edge.decode import decode, encode
from rarn_edge.errors import RarnEdgeError, first_line, require_extra
from rarn_edge.score.parts import Done
from rarn_edge.score.units import Unit
from rarn_edge.score.work import Job, score_unit


class _Scorer:
    """What an actor runs on a batch of units, each as JSON."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {
            "done": [_to_text(score_unit(decode(Unit, json.loads(str(text))), self._job)) for text in batch["unit"]]
        }


def run_on_ray(units: Iterator[Unit], job: Job, workers: int) -> Iterator[Done]:
    """The finished units, in whatever order they finish; connects to RAY_ADDRESS, or starts a local cluster."""
    ray = require_extra("ray", "ray")
    data = require_extra("ray.data", "ray")
    rows = [{"unit": _to_text(unit)} for unit in units]
    if not rows:
        return
    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False)
    try:
        data.DataContext.get_current().enable_progress_bars = False
        blocks = data.from_items(rows, override_num_blocks=min(len(rows), 8 * workers))
        scored = blocks.map_batches(
            _Scorer,
            fn_constructor_args=(job,),
            batch_size=1,
            compute=data.ActorPoolStrategy(size=workers),
            num_cpus=1,
        )
        for row in scored.iter_rows():
            yield decode(Done, json.loads(str(row["done"])))
    except ray.exceptions.RayError as error:
        raise RarnEdgeError(
            f"Ray could not finish: {first_line(error)}\nWhat is done is kept: run the same command again"
        ) from error
    finally:
        if started:
            ray.shutdown()


def _to_text(value: Unit | Done) -> str:
    """Ray moves columns of text between machines."""
    return json.dumps(encode(value))
