"""The one way from pixels to network input: exact values, shapes, and what is refused."""

import cv2
import numpy as np
import pytest

from rarn_edge.contract.preprocess import decode_gray, resize, to_input
from rarn_edge.contract.spec import Preprocess
from rarn_edge.errors import InputError


def every_pixel_value() -> np.ndarray:
    return (np.arange(48 * 48) % 256).astype(np.uint8).reshape(1, 48, 48)


def test_default_values_are_exact() -> None:
    images = every_pixel_value()
    result = to_input(images, Preprocess())
    assert result.dtype == np.float32
    assert result.shape == (1, 1, 48, 48)
    assert result.flags.c_contiguous
    assert (result[:, 0].astype(np.float64) == (images.astype(np.float64) - 128) / 64).all()
    assert result[0, 0, 0, [0, 1]].tolist() == [-2.0, -1.984375]


def test_gray_is_repeated_for_three_channels_each_with_its_own_mean() -> None:
    images = every_pixel_value()
    result = to_input(images, Preprocess(mean=(128.0, 0.0, 64.0), std=(64.0, 1.0, 32.0)))
    assert result.shape == (1, 3, 48, 48)
    for channel, (mean, std) in enumerate([(128, 64), (0, 1), (64, 32)]):
        assert (result[0, channel] == (images[0].astype(np.float32) - mean) / std).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_other_sizes(channels: int) -> None:
    preprocess = Preprocess(height_px=75, width_px=75, mean=(0.0,) * channels, std=(1.0,) * channels)
    images = np.full((4, 48, 48), 200, dtype=np.uint8)
    result = to_input(images, preprocess)
    assert result.shape == (4, channels, 75, 75)
    assert (result == 200).all()


def test_height_and_width_are_not_mixed_up() -> None:
    assert to_input(np.zeros((2, 48, 48), dtype=np.uint8), Preprocess(height_px=32, width_px=64)).shape == (
        2,
        1,
        32,
        64,
    )


def test_no_images() -> None:
    assert to_input(np.zeros((0, 48, 48), dtype=np.uint8), Preprocess()).shape == (0, 1, 48, 48)


@pytest.mark.parametrize(
    "images",
    [np.zeros((48, 48), dtype=np.uint8), np.zeros((1, 48, 48), dtype=np.float32), np.zeros((1, 1, 48, 48), np.uint8)],
)
def test_other_arrays_are_refused(images: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"expected pictures \[N, H, W\] or \[N, H, W, 3\] uint8, got "):
        to_input(images, Preprocess())


def test_reducing_averages_and_enlarging_interpolates() -> None:
    stripes = np.tile(np.array([0, 200], dtype=np.uint8), (96, 48))  # [96, 96]
    assert (resize(stripes, 48, 48) == 100).all()
    edge = np.tile(np.array([0, 200], dtype=np.uint8), (2, 1))  # [2, 2]
    assert resize(edge, 2, 4)[0].tolist() == [0, 50, 150, 200]


def test_decode_gray() -> None:
    image = every_pixel_value()[0]
    assert (decode_gray(cv2.imencode(".png", image)[1].tobytes(), "x.png") == image).all()


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n" + bytes(50), b"\xff\xd8\xff\xe0" + bytes(50)])
def test_decode_gray_names_what_is_no_image(content: bytes) -> None:
    with pytest.raises(InputError, match=r"a/b\.jpg: cannot be decoded as an image"):
        decode_gray(content, "a/b.jpg")
