"""Picture to network input: the ONLY implementation, used by training, calibration, parity, benchmark and prediction.

In memory a picture is uint8, gray [H, W] or colour [H, W, 3] in the order red, green, blue, whatever order a graph takes:
`model_input` alone turns the channels. OpenCV is loaded by the first picture that must be decoded or resized: checking a
bundle needs numpy alone.
"""

from collections.abc import Sequence
from typing import TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

from rarn_edge.boundary.image_header import check_image
from rarn_edge.boundary.limits import MAX_PIXELS
from rarn_edge.contract.spec import Interpolation, ModelSpec, Preprocess
from rarn_edge.errors import InputError

Picture = NDArray[np.uint8]
"""[H, W] gray, or [H, W, 3] red, green, blue."""

Number = TypeVar("Number", bound=np.generic)


def decode(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode an image file's bytes as they are, gray or colour, EXIF rotation applied; `name` is for the message.

    Raises:
        InputError: the bytes are no image or a broken one, or one of more than `max_pixels` (said before decoding).
    """
    import cv2

    image = _decode(content, name, max_pixels, cv2.IMREAD_ANYCOLOR)
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def decode_gray(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Picture:
    """`decode`, then gray [H, W] by the weights of `to_gray`: a file and the array of its pixels give the same gray.

    Raises:
        InputError: as `decode`.
    """
    return to_gray(decode(content, name, max_pixels))


def decode_colour(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """[H, W, 3] uint8 in OpenCV's order: blue, green, red; for drawing and face detectors.

    Raises:
        InputError: as `decode`.
    """
    import cv2

    return _decode(content, name, max_pixels, cv2.IMREAD_COLOR)


def _decode(content: bytes, name: str, max_pixels: int, mode: int) -> NDArray[np.uint8]:
    check_image(content, name, max_pixels)
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), mode)
    except cv2.error as error:
        raise InputError(f"{name}: cannot be decoded as an image ({error.err})") from error
    if image is None:
        raise InputError(f"{name}: cannot be decoded as an image; repair or remove it")
    return np.asarray(image, dtype=np.uint8)


def to_gray(picture: Picture) -> Picture:
    """[H, W] or [H, W, 3] -> [H, W]: OpenCV's integer weights of red, green and blue."""
    if picture.ndim == 2:
        return picture
    import cv2

    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def to_colour(picture: Picture) -> Picture:
    """[H, W] or [H, W, 3] -> [H, W, 3]; gray is repeated."""
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)


def resize(image: Picture, height_px: int, width_px: int, interpolation: Interpolation = "auto") -> Picture:
    """[H, W] or [H, W, 3] -> the same with [height_px, width_px]."""
    if image.shape[:2] == (height_px, width_px):
        return image
    import cv2

    image = np.ascontiguousarray(image)
    shrinks = image.shape[0] >= height_px and image.shape[1] >= width_px
    method = cv2.INTER_AREA if shrinks and interpolation == "auto" else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width_px, height_px), interpolation=method), dtype=np.uint8)


def cropped(image: Picture, preprocess: Preprocess) -> Picture:
    """The centred part of the output's shape, `crop` times as large as what fits; without a crop the whole."""
    if not preprocess.crop:
        return image
    height, width = image.shape[:2]
    scale = preprocess.crop * min(height / preprocess.height_px, width / preprocess.width_px)
    rows = max(1, min(height, int(scale * preprocess.height_px + 0.5)))
    columns = max(1, min(width, int(scale * preprocess.width_px + 0.5)))
    top, left = (height - rows) // 2, (width - columns) // 2
    return image[top : top + rows, left : left + columns]


def fit(picture: Picture, preprocess: Preprocess) -> Picture:
    """One picture of any size -> what the network is shown: [height_px, width_px], with 3 channels in colour."""
    coloured = to_colour(picture) if preprocess.in_colour else to_gray(picture)
    part = cropped(coloured, preprocess)
    return resize(part, preprocess.height_px, preprocess.width_px, preprocess.interpolation)


def fit_all(images: Picture, preprocess: Preprocess) -> Picture:
    """Pictures of one size [N, H, W] or [N, H, W, 3] -> [N, *picture_shape]; those of that shape are taken as fitted already.

    Raises:
        InputError: no such array.
    """
    if images.ndim not in (3, 4) or images.dtype != np.uint8 or (images.ndim == 4 and images.shape[3] != 3):
        raise InputError(f"expected pictures [N, H, W] or [N, H, W, 3] uint8, got {list(images.shape)} {images.dtype}")
    return images if images.shape[1:] == preprocess.picture_shape else fit_originals(images, preprocess)


def fit_originals(images: Picture, preprocess: Preprocess) -> Picture:
    """The same of pictures that nothing was done to: one of the network's own size is cropped too."""
    shape = preprocess.picture_shape
    if images.shape[1:] == shape and not preprocess.crop:
        return images
    found = np.empty((len(images), *shape), dtype=np.uint8)
    for index, image in enumerate(images):
        found[index] = fit(image, preprocess)
    return found


def _channels(images: Picture, preprocess: Preprocess) -> NDArray[np.uint8]:
    """[N, *any] -> [N, H, W, C] in the graph's channel order."""
    pixels = fit_all(images, preprocess)
    if not preprocess.in_colour:
        return np.broadcast_to(pixels[..., None], (*pixels.shape, preprocess.channels))
    return pixels[..., ::-1] if preprocess.color == "bgr" else pixels


def to_input(images: Picture, preprocess: Preprocess) -> NDArray[np.float32]:
    """Pictures [N, H, W] or [N, H, W, 3] uint8 -> normalised [N, C, height_px, width_px] float32, as torch takes it."""
    pixels = np.moveaxis(_channels(images, preprocess), 3, 1)  # [N, C, H, W]
    mean = np.asarray(preprocess.mean, dtype=np.float32).reshape(1, -1, 1, 1)
    std = np.asarray(preprocess.std, dtype=np.float32).reshape(1, -1, 1, 1)
    return np.ascontiguousarray((pixels.astype(np.float32) - mean) / std)


def model_input(images: Picture, spec: ModelSpec) -> NDArray[np.float32] | NDArray[np.uint8]:
    """Pictures [N, H, W] or [N, H, W, 3] uint8 -> what the graph takes: normalised floats or pixels, in its layout."""
    if spec.input_dtype == "float32":
        return in_its_layout(to_input(images, spec.preprocess), spec)
    return in_its_layout(np.moveaxis(_channels(images, spec.preprocess), 3, 1), spec)


def in_its_layout(values: NDArray[Number], spec: ModelSpec) -> NDArray[Number]:
    """[N, C, H, W] as the graph takes it: in the order of its axes, contiguous."""
    return np.ascontiguousarray(values if spec.layout == "NCHW" else np.moveaxis(values, 1, 3))


def of_unit_pixels(mean: Sequence[float], std: Sequence[float]) -> bool:
    """Whether means and deviations are of pixels 0..1, where a contract has them of pixels 0..255.

    A mean of 0 with a deviation of 1 (the pixels as they are) or of 2 and more is of pixels 0..255.
    """
    if any(abs(value) >= 2 for value in mean):
        return False
    return any(mean) or not (all(value >= 2 for value in std) or all(value == 1 for value in std))


def in_byte_pixels(values: Sequence[float]) -> str:
    """Means or deviations of pixels 0..1, of pixels 0..255, with commas; those of 2 and more are of such pixels already."""
    return ",".join(f"{255 * value if abs(value) < 2 else value:.6g}" for value in values)


def check_pixel_values(mean: object, std: object, source: str, as_keys: bool = False) -> None:
    """Refuse means and deviations of pixels 0..1 (`of_unit_pixels`), and offer the converted ones.

    Raises:
        InputError: such values.
    """
    if not (_is_numbers(mean) and _is_numbers(std)) or not of_unit_pixels(mean, std):
        return
    new_mean, new_std = in_byte_pixels(mean), in_byte_pixels(std)
    offer = f"mean = [{new_mean}], std = [{new_std}]" if as_keys else f"--mean {new_mean} --std {new_std}"
    raise InputError(
        f"{source}: a mean of {', '.join(f'{value:g}' for value in mean)} is of pixels 0..1; here pixels are 0..255."
        f" Converted: {offer.replace(',', ', ') if as_keys else offer}"
    )


def _is_numbers(values: object) -> TypeGuard[Sequence[float]]:
    return (
        isinstance(values, Sequence)
        and bool(values)
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    )
