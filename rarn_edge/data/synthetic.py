"""Drawn faces with drawn expressions, for the demo, the tests and parity checks: no data set and no licence needed.

Cartoons, not data: nothing is trained on them and no accuracy on them says anything about real faces. What they share
with FER-2013 is size, brightness and contrast (pixel mean about 130, deviation about 60), so that a network's
activations are exercised as real faces would.
"""

from dataclasses import astuple, dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.spec import CLASSES, Preprocess
from rarn_edge.data.faces import Faces, Split
from rarn_edge.errors import InputError

SIDE_PX = 48
_ZOOM = 4  # drawn this much larger and then averaged down: smooth edges
_CENTRE = np.array([SIDE_PX / 2, SIDE_PX / 2])


@dataclass(frozen=True)
class _Expression:
    """How a face differs from a neutral one; heights and lengths in pixels of the 48x48 image, y downwards."""

    brow_inner: float = 0.0  # shift of the brow's end near the nose
    brow_outer: float = 0.0
    brow_gap: float = 0.0  # shift of both brows away from the nose
    eye_open: float = 0.0  # added to the height of half an eye
    mouth_curve: float = 0.0  # how far the corners lie below the middle
    mouth_open: float = 0.0  # height of the opening
    mouth_half_width: float = 0.0
    mouth_lift: float = 0.0  # shift of the whole mouth
    teeth: float = 0.0  # part of the opening that teeth fill
    cheek_fold: float = 0.0  # strength of the line from nostril to mouth corner
    nose_wrinkle: float = 0.0
    forehead_line: float = 0.0


_EXPRESSIONS = {
    "angry": _Expression(2.9, -0.7, -0.9, -0.4, 1.1, 0.9, -0.6, -0.3, 0.8, 0.3, 0.7, 0.0),
    "disgust": _Expression(1.9, 0.6, -0.4, -0.7, 1.9, 1.3, -0.3, -1.3, 0.6, 1.0, 1.0, 0.0),
    "fear": _Expression(-1.9, 0.2, -0.7, 1.0, 0.7, 2.9, 0.4, 0.4, 0.4, 0.2, 0.0, 0.8),
    "happy": _Expression(-0.3, -0.3, 0.2, -0.6, -3.2, 3.4, 2.4, -0.2, 0.65, 0.8, 0.0, 0.0),
    "neutral": _Expression(),
    "sad": _Expression(-2.0, 1.5, -0.3, -0.5, 2.4, 0.0, -0.9, 0.3, 0.0, 0.3, 0.0, 0.3),
    "surprise": _Expression(-2.6, -2.6, 0.3, 1.3, 0.3, 6.2, -1.9, 0.9, 0.2, 0.0, 0.0, 1.0),
}


def synthetic_faces(count: int, seed: int) -> Faces:
    """`count` gray faces [count, 48, 48], the classes in turn; face i depends on `seed` and i alone.

    Raises:
        InputError: `count` is not positive, or `seed` is negative.
    """
    if count < 1 or seed < 0:
        raise InputError(f"synthetic faces: count {count} and seed {seed}; expected count >= 1 and seed >= 0")
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    images = np.stack([_face(CLASSES[label], np.random.default_rng([seed, i])) for i, label in enumerate(labels)])
    names = tuple(f"synthetic-{seed}-{index}" for index in range(count))
    return Faces(images, labels, np.full(count, Split.UNSPLIT.value), names, f"synthetic faces (seed {seed})")


def drawn_for(preprocess: Preprocess, count: int, seed: int) -> Faces:
    """`synthetic_faces` as a network with this input sees them; in colour each face and its background have tints of their own.

    Raises:
        InputError: as `synthetic_faces`.
    """
    faces = synthetic_faces(count, seed)
    if preprocess.in_colour:
        tints = np.random.default_rng(seed).uniform(0.4, 1.0, (count, 2, 1, 1, 3)).astype(np.float32)
        light = (faces.pixels.astype(np.float32) / 255)[..., None]  # [N, H, W, 1]
        dark = 1 - light
        mixed = 255 * (light * tints[:, 0] + 0.5 * dark * tints[:, 1])
        faces = replace(faces, images=np.clip(np.rint(mixed), 0, 255).astype(np.uint8))
    return faces.shown_to(preprocess)


def _face(name: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """[48, 48] uint8."""
    strength = rng.uniform(0.75, 1.2)
    values = np.array(astuple(_EXPRESSIONS[name]))
    change = _Expression(*(values * strength + rng.normal(0, 0.15, len(values)) * (values != 0)))
    skin = rng.uniform(165, 245) if rng.random() < 0.82 else rng.uniform(95, 150)
    canvas = _head(skin, rng)
    _draw_lines(canvas, skin, change)
    _draw_nose(canvas, skin, rng)
    _draw_mouth(canvas, skin, change, rng)
    ink = min(skin - 50, rng.uniform(10, 75))
    for side in (-1, 1):
        _draw_eye(canvas, side, change, rng)
        _draw_brow(canvas, side, ink, change)
    if rng.random() < 0.12:
        _draw_glasses(canvas, rng)
    return _photograph(canvas, rng)


def _head(skin: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Background, hair, neck and a shaded head, [192, 192] float32 pixel values."""
    y, x = (np.mgrid[0 : SIDE_PX * _ZOOM, 0 : SIDE_PX * _ZOOM].astype(np.float32) + 0.5) / _ZOOM - SIDE_PX / 2
    background = rng.uniform(20, 115) if rng.random() < 0.6 else rng.uniform(140, 250)
    slope_x, slope_y = rng.uniform(-1.2, 1.2, 2)
    hair = rng.uniform(20, 85) if rng.random() < 0.75 else rng.uniform(90, 170)
    half_width, half_height = rng.uniform(16.5, 20.0), rng.uniform(23.5, 26.5)
    forehead = rng.uniform(-19.0, -14.0)  # the hairline's height at the middle
    length = rng.uniform(-8.0, 26.0)  # how far down the hair reaches at the sides
    fringe = rng.uniform(-0.25, 0.25)

    def inside(centre_y: float, half_w: float, half_h: float) -> NDArray[np.float32]:
        return np.asarray((x / half_w) ** 2 + ((y - centre_y) / half_h) ** 2, dtype=np.float32)

    canvas = background + slope_x * x + slope_y * y
    canvas = np.where((np.abs(x) < half_width * 0.62) & (y > 10), skin * 0.62, canvas)  # neck
    canvas = np.where((inside(-2, half_width + 3.5, half_height + 4) < 1) & (y < length), hair, canvas)
    jaw = np.where(y > 4, 1 + 0.011 * (y - 4), 1)  # narrower towards the chin
    radius = inside(0, half_width, half_height) * jaw**2
    light = rng.uniform(-0.16, 0.16)
    canvas = np.where(radius < 1, skin * (1.04 - 0.30 * radius**2 + light * x / half_width), canvas)
    on_head = (radius < 1) & (y < forehead + fringe * x + 0.028 * x**2)
    return np.asarray(np.where(on_head, hair * (1 + 0.15 * light * x), canvas), dtype=np.float32)


def _draw_lines(canvas: NDArray[np.float32], skin: float, change: _Expression) -> None:
    """Cheek folds, wrinkles on the nose and forehead lines, as dark as they are strong."""

    def shade(strength: float) -> float:
        return skin * (1 - 0.32 * min(max(strength, 0.0), 1.2))

    for side in (-1, 1):
        corner = 8.0 + change.mouth_half_width
        fold = [(side * 4.2, 4.0), (side * (corner - 0.6), 7.0), (side * (corner + 1.0), 11.0 + change.mouth_lift)]
        _stroke(canvas, fold, shade(change.cheek_fold), 1.0)
        _stroke(canvas, [(side * 1.5, -6.5), (side * 1.1, -3.0)], shade(change.nose_wrinkle), 0.9)
        _stroke(canvas, [(side * 2.6, -1.5), (side * 0.6, -0.6)], shade(change.nose_wrinkle), 0.8)
    for height in (-14.5, -12.3):
        _stroke(canvas, [(-8, height + 0.6), (0, height), (8, height + 0.6)], shade(change.forehead_line * 0.6), 0.8)


def _draw_nose(canvas: NDArray[np.float32], skin: float, rng: np.random.Generator) -> None:
    half_width, tip = rng.uniform(2.6, 3.8), rng.uniform(3.6, 5.2)
    side = rng.choice([-1.0, 1.0])
    _stroke(canvas, [(side * 1.7, -5.0), (side * 1.9, 0.0), (side * half_width, tip - 0.8)], skin * 0.80, 1.1)
    _stroke(canvas, [(0.0, -3.0), (0.0, tip - 1.6)], min(skin * 1.10, 250), 1.3)
    _stroke(canvas, [(-half_width, tip - 0.8), (0.0, tip + 0.6), (half_width, tip - 0.8)], skin * 0.66, 0.9)
    for nostril in (-1, 1):
        _stroke(canvas, [(nostril * 1.3, tip), (nostril * (half_width - 1.0), tip - 0.3)], skin * 0.35, 1.0)


def _draw_mouth(canvas: NDArray[np.float32], skin: float, change: _Expression, rng: np.random.Generator) -> None:
    half_width = 7.0 + change.mouth_half_width + rng.normal(0, 0.3)
    middle = 11.5 + change.mouth_lift + rng.normal(0, 0.3)
    opening, lip = max(change.mouth_open, 0.0), rng.uniform(1.0, 1.6)
    t = np.linspace(-1, 1, 17)
    arch = 1 - t**2
    line = middle + change.mouth_curve * (t**2 - 0.5)
    upper, lower = line - 0.4 * opening * arch, line + 0.6 * opening * np.sqrt(arch)
    x = t * half_width

    def fill(top: NDArray[np.float64], bottom: NDArray[np.float64], value: float) -> None:
        outline = np.concatenate([np.stack([x, top], axis=1), np.stack([x, bottom], axis=1)[::-1]])
        cv2.fillPoly(canvas, [_pixels(outline)], value)

    fill(upper - lip * arch, lower + 1.2 * lip * arch, skin * 0.55)
    if opening > 0.4:
        fill(upper, lower, 18.0)
        if change.teeth > 0:
            fill(upper, upper + min(change.teeth, 1.0) * (lower - upper), min(skin * 1.3, 250))
    else:
        _stroke(canvas, list(zip(x, line, strict=True)), skin * 0.28, 0.9)
    _stroke(canvas, [(-half_width * 0.4, lower[8] + 2.6), (half_width * 0.4, lower[8] + 2.6)], skin * 0.82, 1.0)


def _draw_eye(canvas: NDArray[np.float32], side: int, change: _Expression, rng: np.random.Generator) -> None:
    x, y, half_width = side * 8.2, -4.0, 4.0
    height = max(1.9 + change.eye_open + rng.normal(0, 0.12), 0.5)
    t = np.linspace(-1, 1, 13)
    top, bottom = y - height * (1 - t**2), y + 0.65 * height * (1 - t**2)
    across = x + t * half_width
    socket = np.stack([np.append(across, across[::-1]), np.append(top, bottom[::-1])], axis=1)
    skin = float(canvas[_row(y + 5), _row(x)])
    cv2.ellipse(canvas, _pixels(np.array([x, y - 0.8])).tolist(), (22, 15), 0, 0, 360, skin * 0.86, -1)
    eye = np.zeros(canvas.shape, dtype=np.uint8)
    cv2.fillPoly(eye, [_pixels(socket)], 1)
    iris = np.zeros(canvas.shape, dtype=np.uint8)
    cv2.circle(iris, _pixels(np.array([x, y - 0.2])).tolist(), round(1.9 * _ZOOM), 1, -1)
    canvas[eye == 1] = min(skin * 1.15, 238)
    canvas[(eye == 1) & (iris == 1)] = 22
    _stroke(canvas, list(zip(across, top, strict=True)), skin * 0.25, 1.0)
    _stroke(canvas, list(zip(across, bottom, strict=True)), skin * 0.62, 0.6)


def _draw_brow(canvas: NDArray[np.float32], side: int, ink: float, change: _Expression) -> None:
    inner = (side * (3.8 + change.brow_gap), -8.6 + change.brow_inner)
    outer = (side * (13.0 + change.brow_gap), -8.2 + change.brow_outer)
    middle = ((inner[0] + outer[0]) / 2, (inner[1] + outer[1]) / 2 - 1.1)
    _stroke(canvas, [inner, middle], ink, 1.9)
    _stroke(canvas, [middle, outer], ink, 1.4)


def _draw_glasses(canvas: NDArray[np.float32], rng: np.random.Generator) -> None:
    ink = rng.uniform(10, 60)
    for side in (-1, 1):
        cv2.ellipse(canvas, _pixels(np.array([side * 8.2, -3.6])).tolist(), (24, 20), 0, 0, 360, ink, 3)
        _stroke(canvas, [(side * 14.2, -4.2), (side * 19.0, -5.0)], ink, 0.8)
    _stroke(canvas, [(-2.2, -4.0), (2.2, -4.0)], ink, 0.8)


def _photograph(canvas: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Pose, focus, light and noise; [192, 192] float32 -> [48, 48] uint8."""
    middle = SIDE_PX * _ZOOM / 2
    pose = cv2.getRotationMatrix2D((middle, middle), rng.normal(0, 7), rng.uniform(0.98, 1.22))
    shear = rng.normal(0, 0.04)  # a head a little turned
    pose += np.array([[0, shear, rng.normal(0, 1.3) * _ZOOM - shear * middle], [0, 0, rng.normal(0, 1.3) * _ZOOM]])
    size = (SIDE_PX * _ZOOM, SIDE_PX * _ZOOM)
    posed = cv2.warpAffine(canvas, pose, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    small = cv2.resize(posed, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.3, 0.75))
    ramp = np.linspace(-1, 1, SIDE_PX, dtype=np.float32)
    light = rng.uniform(0.84, 1.12) + rng.normal(0, 0.13) * ramp[None, :] + rng.normal(0, 0.08) * ramp[:, None]
    noise = rng.normal(0, rng.uniform(1.0, 5.0), blurred.shape)
    return np.asarray(np.clip(np.rint(blurred * light + noise), 0, 255), dtype=np.uint8)


def _stroke(canvas: NDArray[np.float32], points: list[tuple[float, float]], value: float, width: float) -> None:
    """A line through points (x, y) relative to the face's middle; `width` in final pixels."""
    cv2.polylines(canvas, [_pixels(np.array(points))], False, float(value), max(round(width * _ZOOM), 1))


def _pixels(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Points relative to the middle of the 48x48 image -> pixels of the drawing."""
    return np.asarray(np.rint((points + _CENTRE) * _ZOOM), dtype=np.int32)


def _row(offset: float) -> int:
    return int(np.clip((offset + SIDE_PX / 2) * _ZOOM, 0, SIDE_PX * _ZOOM - 1))
