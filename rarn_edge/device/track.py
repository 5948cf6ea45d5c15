"""Following faces from frame to frame, so that a label does not flicker: probabilities are averaged over about a second."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rarn_edge.device.boxes import Box

MIN_OVERLAP = 0.3
SMOOTHING_S = 0.5  # a frame this old counts 1/e of the present one
FORGET_S = 1.0


@dataclass
class _Track:
    number: int
    box: Box
    probabilities: NDArray[np.float64]  # [classes], weighted sum over the past, divided by `weight` when read
    weight: float
    time_s: float


@dataclass
class Tracker:
    """The faces in view: numbers that stay with a face while its boxes overlap, and its smoothed probabilities."""

    smoothing_s: float = SMOOTHING_S
    _tracks: list[_Track] = field(default_factory=list)
    _next: int = 1

    def update(
        self, time_s: float, boxes: Sequence[Box], probabilities: Sequence[Sequence[float]]
    ) -> list[tuple[int, tuple[float, ...]]]:
        """(number, smoothed probabilities) of each box of one frame; frames come in the order of time.

        Boxes go to the track they overlap most, best pairs first; one left over starts a track, and a track without a box
        for a second ends.
        """
        self._tracks = [track for track in self._tracks if time_s - track.time_s <= FORGET_S]
        pairs = sorted(
            (
                (box.overlap(track.box), index, track)
                for index, box in enumerate(boxes)
                for track in self._tracks
                if box.overlap(track.box) >= MIN_OVERLAP
            ),
            key=lambda pair: (-pair[0], pair[1], pair[2].number),
        )
        matched: dict[int, _Track] = {}
        for _, index, track in pairs:
            if index not in matched and all(track is not other for other in matched.values()):
                matched[index] = track
        answers = []
        for index, (box, chances) in enumerate(zip(boxes, probabilities, strict=True)):
            now = np.asarray(chances, dtype=np.float64)
            track = matched.get(index)  # type: ignore[assignment]  # the loop above bound the name to a track
            if track is None:
                track = _Track(self._next, box, now, 1.0, time_s)
                self._next += 1
                self._tracks.append(track)
            else:
                fade = math.exp(-max(0.0, time_s - track.time_s) / self.smoothing_s) if self.smoothing_s > 0 else 0.0
                track.probabilities = fade * track.probabilities + now
                track.weight = fade * track.weight + 1.0
                track.box, track.time_s = box, time_s
            answers.append((track.number, tuple((track.probabilities / track.weight).tolist())))
        return answers
