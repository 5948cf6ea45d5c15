"""What every form of a model is shown: faces, and images made to break things.

The latter are extremes of every kind that a camera, a decoder or an attacker can produce. None looks like a face: they test
the arithmetic, not the decision.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.preprocess import fit_all
from rarn_edge.contract.spec import Preprocess
from rarn_edge.parity.tolerances import Inputs

if TYPE_CHECKING:
    from rarn_edge.data import Faces

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """Images [N, H, W] or [N, H, W, 3] uint8 at the network's own size: the first `faces` are faces, the rest adversarial.

    labels: [faces], where they mean something; names: [N].
    """

    images: Image
    names: tuple[str, ...]
    faces: int
    labels: NDArray[np.int64] | None
    description: str  # of the faces

    @property
    def parts(self) -> tuple[Inputs, ...]:
        """Which kinds of input there are."""
        return ("faces", "adversarial") if self.faces < len(self.images) else ("faces",)

    def part(self, inputs: Inputs) -> slice:
        """Where in the arrays one kind of input is."""
        return slice(0, self.faces) if inputs == "faces" else slice(self.faces, len(self.images))


def show(faces: "Faces", labels: NDArray[np.int64] | None, description: str, preprocess: Preprocess) -> Shown:
    """The faces, resized as the model wants them, and the adversarial images of that size."""
    images = fit_all(faces.in_memory().pixels, preprocess)
    names, adversarial = adversarial_images(preprocess.height_px, preprocess.width_px)
    if preprocess.in_colour:
        names, adversarial = (*names, *COLOURS), np.concatenate([fit_all(adversarial, preprocess), _flat(preprocess)])
    return Shown(np.concatenate([images, adversarial]), (*faces.names, *names), len(images), labels, description)


COLOURS = {"all red": (255, 0, 0), "all green": (0, 255, 0), "all blue": (0, 0, 255), "all yellow": (255, 255, 0)}


def _flat(preprocess: Preprocess) -> Image:
    """[colours, H, W, 3] of `COLOURS`."""
    return np.stack([np.full(preprocess.picture_shape, colour, dtype=np.uint8) for colour in COLOURS.values()])


def adversarial_images(height_px: int = 48, width_px: int = 48) -> tuple[tuple[str, ...], Image]:
    """Names [N] and images [N, height_px, width_px] uint8, always the same for one size."""
    named = list(_images(height_px, width_px))
    return tuple(name for name, _ in named), np.stack([image for _, image in named])


def _images(height_px: int, width_px: int) -> Iterator[tuple[str, Image]]:
    size = (height_px, width_px)
    y, x = np.mgrid[0:height_px, 0:width_px]
    rng = np.random.default_rng(5)
    for value in (0, 1, 64, 127, 128, 129, 192, 254, 255):
        yield f"flat {value}", np.full(size, value, dtype=np.uint8)
    for cell in (1, 2, 8):
        board = ((y // cell + x // cell) % 2 * 255).astype(np.uint8)
        yield f"checkerboard of {cell} px", board
        yield f"checkerboard of {cell} px, inverted", np.asarray(255 - board, dtype=np.uint8)
    for place, (row, column) in {"middle": (height_px // 2, width_px // 2), "corner": (0, 0), "last": (-1, -1)}.items():
        for ink in (0, 255):
            pixel = np.full(size, 255 - ink, dtype=np.uint8)
            pixel[row, column] = ink
            yield f"single pixel of {ink}, {place}", pixel
    for level in (1, 4, 16, 64, 127):
        noise = 128 + rng.integers(-level, level + 1, size)
        yield f"noise of +-{level}", np.clip(noise, 0, 255).astype(np.uint8)
    yield "noise of 0 and 255", rng.integers(0, 2, size).astype(np.uint8) * 255
    yield "noise over all values", rng.integers(0, 256, size).astype(np.uint8)
    yield "every value, row by row", (np.arange(height_px * width_px) % 256).reshape(size).astype(np.uint8)
    yield (
        "every value, column by column",
        (np.arange(height_px * width_px) % 256).reshape(size, order="F").astype(np.uint8),
    )
    yield "left dark, right bright", np.where(x < width_px // 2, 0, 255).astype(np.uint8)
    yield "top dark, bottom bright", np.where(y < height_px // 2, 0, 255).astype(np.uint8)
    yield "stripes across", np.where(y % 2 == 0, 0, 255).astype(np.uint8)
    yield "stripes down", np.where(x % 2 == 0, 0, 255).astype(np.uint8)
    yield "hardly any contrast", (127 + (x + y) % 2).astype(np.uint8)
    yield "ramp", (x * 255 // max(1, width_px - 1)).astype(np.uint8)
