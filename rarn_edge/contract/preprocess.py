"""Image to network input: the ONLY implementation, used by training, calibration, parity, benchmark and prediction.

OpenCV is loaded by the first image that must be decoded or resized: checking a bundle needs numpy alone.
"""

import numpy as np
from numpy.typing import NDArray

from rarn_edge.boundary.image_header import check_image
from rarn_edge.boundary.limits import MAX_PIXELS
from rarn_edge.contract.spec import ModelSpec, Preprocess
from rarn_edge.errors import InputError


def decode_gray(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode an image file's bytes to gray [H, W] uint8, EXIF rotation applied; `name` is for the message.

    Raises:
        InputError: the bytes are no image or a broken one, or one of more than `max_pixels` (said before decoding).
    """
    return _decode(content, name, max_pixels, colour=False)


def decode_colour(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """As `decode_gray`, but [H, W, 3] uint8 in OpenCV's order: blue, green, red.

    Raises:
        InputError: as `decode_gray`.
    """
    return _decode(content, name, max_pixels, colour=True)


def _decode(content: bytes, name: str, max_pixels: int, colour: bool) -> NDArray[np.uint8]:
    check_image(content, name, max_pixels)
    import cv2

    mode = cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE
    try:
        image = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), mode)
    except cv2.error as error:
        raise InputError(f"{name}: cannot be decoded as an image ({error.err})") from error
    if image is None:
        raise InputError(f"{name}: cannot be decoded as an image; repair or remove it")
    return np.asarray(image, dtype=np.uint8)


def resize(image: NDArray[np.uint8], height_px: int, width_px: int) -> NDArray[np.uint8]:
    """[H, W] -> [height_px, width_px]: area average when both sides shrink, bilinear otherwise."""
    if image.shape == (height_px, width_px):
        return image
    import cv2

    shrinks = image.shape[0] >= height_px and image.shape[1] >= width_px
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width_px, height_px), interpolation=method), dtype=np.uint8)


def to_input(images: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.float32]:
    """Gray faces [N, H, W] uint8 -> network input [N, C, height_px, width_px] float32 (gray repeated for C = 3)."""
    pixels = _resized(images, preprocess)
    mean = np.asarray(preprocess.mean, dtype=np.float32).reshape(1, -1, 1, 1)
    std = np.asarray(preprocess.std, dtype=np.float32).reshape(1, -1, 1, 1)
    return np.ascontiguousarray((pixels[:, None].astype(np.float32) - mean) / std)  # [N, C, H, W]


def model_input(images: NDArray[np.uint8], spec: ModelSpec) -> NDArray[np.float32] | NDArray[np.uint8]:
    """Gray faces [N, H, W] uint8 -> what the graph takes: `to_input`, or the pixels [N, C, H, W] uint8 themselves."""
    if spec.input_dtype == "float32":
        return to_input(images, spec.preprocess)
    return np.repeat(_resized(images, spec.preprocess)[:, None], spec.preprocess.channels, axis=1)  # [N, C, H, W]


def _resized(images: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    """[N, H, W] -> [N, height_px, width_px]."""
    if images.ndim != 3 or images.dtype != np.uint8:
        raise InputError(f"expected gray images [N, H, W] uint8, got {list(images.shape)} {images.dtype}")
    height_px, width_px = preprocess.height_px, preprocess.width_px
    if images.shape[1:] == (height_px, width_px):
        return images
    resized = np.empty((len(images), height_px, width_px), dtype=np.uint8)
    for index, image in enumerate(images):
        resized[index] = resize(image, height_px, width_px)
    return resized
