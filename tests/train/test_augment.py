"""Batch augmentation: what each range does on its own, and that equal generators draw equal images."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.train.augment import augment
from rarn_edge.train.recipe import EDGE, PAPER, RECIPES, Augmentation

NOTHING = Augmentation(flip_horizontal=0.0)
EXACT = 1e-2  # pixel values 0..255: the warp samples at exact positions up to float32 rounding


@pytest.fixture(scope="module")
def images() -> Tensor:
    """[N, 48, 48] uint8 faces."""
    return torch.from_numpy(synthetic_faces(28, seed=5).images)


def draw(images: Tensor, recipe: Augmentation, seed: int = 0) -> Tensor:
    return augment(images, recipe, torch.Generator().manual_seed(seed))


def plain(images: Tensor) -> Tensor:
    return images[:, None].float()


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=EXACT, rtol=0)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_uint8_in_pixel_values_out(images: Tensor, recipe: object) -> None:
    augmentation = recipe.augmentation  # type: ignore[attr-defined]
    before = images.clone()
    pixels = draw(images, augmentation)
    assert pixels.shape == (28, 1, 48, 48)
    assert pixels.dtype == torch.float32
    assert pixels.min() >= 0
    assert pixels.max() <= 255
    assert (pixels - plain(images)).abs().mean() > 5
    assert torch.equal(images, before)


def test_a_turn_keeps_shapes_where_sides_differ() -> None:
    """A disc on a picture twice as wide as high is a disc when turned."""
    y, x = torch.meshgrid(torch.arange(48) - 23.5, torch.arange(96) - 47.5, indexing="ij")
    disc = (255 * (x**2 + y**2 <= 15**2)).to(torch.uint8)[None]
    turned = draw(disc.repeat(32, 1, 1), replace(NOTHING, rotation_deg=90.0), seed=3)[:, 0]  # [32, 48, 96]
    shown = turned > 127
    heights, widths = shown.any(dim=2).sum(dim=1), shown.any(dim=1).sum(dim=1)
    assert (heights - 30).abs().max() <= 2
    assert (widths - 30).abs().max() <= 2


def test_follows_the_generator_alone(images: Tensor) -> None:
    first = draw(images, EDGE.augmentation, seed=1)
    torch.manual_seed(99)
    assert torch.equal(first, draw(images, EDGE.augmentation, seed=1))
    assert not torch.equal(first, draw(images, EDGE.augmentation, seed=2))


def test_each_image_has_its_own_draw(images: Tensor) -> None:
    same = images[:1].repeat(8, 1, 1)
    pixels = draw(same, EDGE.augmentation)
    assert all(not torch.equal(pixels[0], other) for other in pixels[1:])


def test_zero_ranges_change_nothing(images: Tensor) -> None:
    assert_close(draw(images, NOTHING), plain(images))


@pytest.mark.parametrize(
    ("option", "axis"), [({"flip_horizontal": 1.0}, 3), ({"flip_vertical": 1.0}, 2)], ids=["horizontal", "vertical"]
)
def test_flip_mirrors(images: Tensor, option: dict[str, float], axis: int) -> None:
    assert_close(draw(images, replace(NOTHING, **option)), plain(images).flip(axis))


@pytest.mark.parametrize("axis", ["flip_horizontal", "flip_vertical"])
def test_flip_is_a_probability(images: Tensor, axis: str) -> None:
    many = images.repeat(20, 1, 1)
    pixels = draw(many, replace(NOTHING, **{axis: 0.25}))
    share = ((pixels - plain(many)).abs().amax(dim=(1, 2, 3)) > 1).float().mean().item()
    assert share == pytest.approx(0.25, abs=0.08)


@pytest.mark.parametrize(("direction", "turns"), [(1.0, 1), (-1.0, -1)])
def test_rotation_reaches_its_range(
    images: Tensor, monkeypatch: pytest.MonkeyPatch, direction: float, turns: int
) -> None:
    """The paper's 90 degrees, drawn at the end of the range, is a quarter turn."""
    monkeypatch.setattr(
        "rarn_edge.train.augment._uniform", lambda count, reach, _generator: torch.full((count,), direction * reach)
    )
    assert_close(
        draw(images, replace(NOTHING, rotation_deg=PAPER.augmentation.rotation_deg)),
        torch.rot90(plain(images), turns, (2, 3)),
    )


@pytest.mark.parametrize(("option", "axis"), [("shift_x", 3), ("shift_y", 2)])
def test_shift_is_a_fraction_of_the_side(
    images: Tensor, monkeypatch: pytest.MonkeyPatch, option: str, axis: int
) -> None:
    """A quarter of 48 is 12 pixels; what comes in repeats the border."""
    monkeypatch.setattr(
        "rarn_edge.train.augment._uniform", lambda count, reach, _generator: torch.full((count,), reach)
    )
    pixels = draw(images, replace(NOTHING, **{option: 0.25}))
    expected = plain(images).roll(-12, axis)
    edge = plain(images).narrow(axis, 47, 1)
    expected.narrow(axis, 36, 12).copy_(edge.expand_as(expected.narrow(axis, 36, 12)))
    assert_close(pixels, expected)


@pytest.mark.parametrize("option", ["rotation_deg", "scale", "shift_x", "shift_y"])
def test_a_mirrored_draw_stays_in_range(images: Tensor, option: str) -> None:
    """Geometry moves pixels: it makes no new extremes."""
    pixels = draw(images, replace(NOTHING, **{option: 0.3 if option != "rotation_deg" else 45.0}))
    low, high = plain(images).amin(dim=(1, 2, 3)), plain(images).amax(dim=(1, 2, 3))
    assert (pixels.amin(dim=(1, 2, 3)) >= low - EXACT).all()
    assert (pixels.amax(dim=(1, 2, 3)) <= high + EXACT).all()
    assert ((pixels - plain(images)).abs().amax(dim=(1, 2, 3)) > 1).float().mean() > 0.8


@pytest.mark.parametrize(
    "change", [{}, {"rotation_deg": 30.0, "scale": 0.2}, {"shift_x": 0.1, "shift_y": 0.1}], ids=str
)
def test_a_crop_is_the_middle_of_the_whole(images: Tensor, change: dict[str, float]) -> None:
    """At the same scale, after the same draw: 4 pixels of 48 fall away on each side."""
    recipe = replace(NOTHING, **change)
    crop = augment(images, recipe, torch.Generator().manual_seed(3), crop_px=40)
    assert_close(crop, draw(images, recipe, seed=3)[:, :, 4:44, 4:44])


@pytest.mark.parametrize(("sign", "factor"), [(1.0, 1.25), (-1.0, 0.75)])
def test_scale_zooms(monkeypatch: pytest.MonkeyPatch, sign: float, factor: float) -> None:
    """A centred square of 16 pixels has factor x 16 after zooming by factor."""
    monkeypatch.setattr(
        "rarn_edge.train.augment._uniform", lambda count, reach, _generator: torch.full((count,), sign * reach)
    )
    square = torch.zeros(1, 48, 48, dtype=torch.uint8)
    square[:, 16:32, 16:32] = 200
    pixels = draw(square, replace(NOTHING, scale=0.25))
    assert (pixels[0, 0, 24] / 200).sum().item() == pytest.approx(16 * factor, abs=0.5)


def test_a_crop_of_the_area_is_stretched_to_the_whole() -> None:
    """A ramp shows which part was cut: its slope is the crop's side, its ends lie within the image."""
    ramp = torch.arange(48, dtype=torch.uint8).mul(5).expand(64, 48, 48).contiguous()
    recipe = replace(NOTHING, least_area=0.25, most_area=0.49)
    drawn = draw(ramp, recipe)[:, 0]  # [64, 48, 48]
    inner = drawn[:, :, 4:-4]
    slopes = (inner[..., -1] - inner[..., 0]).mean(dim=1) / (39 * 5)
    assert 0.49 < slopes.min() < 0.55
    assert 0.65 < slopes.max() < 0.71
    assert drawn.min() < 20
    assert drawn.max() > 215


def test_bicubic_turns_keep_faces_sharp(images: Tensor) -> None:
    """Differences between neighbours, which bilinear turns average away."""

    def sharpness(pixels: Tensor) -> Tensor:
        return pixels.diff(dim=3).square().mean()

    turns = replace(NOTHING, rotation_deg=30.0)
    grain = torch.randint(0, 256, (28, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    kept = {mode: sharpness(draw(grain, replace(turns, interpolation=mode))) for mode in ("bilinear", "bicubic")}
    assert kept["bilinear"] < 0.55 * sharpness(plain(grain))
    assert kept["bicubic"] > 1.4 * kept["bilinear"]
    assert_close(draw(images, replace(NOTHING, interpolation="bicubic")), plain(images))


def test_brightness_is_a_factor(images: Tensor) -> None:
    dark = images // 2  # nothing reaches 255, so that the factor is exact
    ratio = draw(dark, replace(NOTHING, brightness=0.2)) / plain(dark).clamp_min(1)
    bright = plain(dark) >= 20
    factors = torch.stack([ratio[i][bright[i]].mean() for i in range(len(dark))])
    spread = torch.stack([ratio[i][bright[i]].std() for i in range(len(dark))])
    assert spread.max() < 1e-2
    assert factors.min() >= 0.8 - 1e-3
    assert factors.max() <= 1.2 + 1e-3
    assert factors.std() > 0.05


def test_contrast_keeps_the_mean(images: Tensor) -> None:
    flat = images // 4 + 96  # far from 0 and 255
    pixels = draw(flat, replace(NOTHING, contrast=0.5))
    torch.testing.assert_close(pixels.mean(dim=(1, 2, 3)), plain(flat).mean(dim=(1, 2, 3)), atol=0.05, rtol=0)
    factor = pixels.std(dim=(1, 2, 3)) / plain(flat).std(dim=(1, 2, 3))
    assert factor.min() >= 0.5 - 1e-3
    assert factor.max() <= 1.5 + 1e-3
    assert factor.std() > 0.1


def test_erase_fills_one_rectangle(images: Tensor) -> None:
    changed = (draw(images, replace(NOTHING, erase=1.0)) - plain(images)).abs()[:, 0] > 1
    for hole in changed:
        rows, columns = hole.any(1).nonzero().flatten(), hole.any(0).nonzero().flatten()
        area = int(rows[-1] - rows[0] + 1) * int(columns[-1] - columns[0] + 1)
        assert 0 < area <= 0.25 * 48 * 48
        assert hole.sum() > 0.9 * area  # noise equals a pixel now and then


def test_noise_has_every_byte_alike() -> None:
    """Eight bytes of each draw, and a number of pixels that is no multiple of eight."""
    size, erased = 45, 399
    plain_gray = torch.full((erased, size, size), 7, dtype=torch.uint8)
    pixels = draw(plain_gray, replace(NOTHING, erase=1.0))
    counts = torch.bincount(pixels[pixels != 7].long().flatten(), minlength=256)
    others = torch.cat((counts[:7], counts[8:])).double()
    assert counts[7] == 0
    assert others.sum() > 20_000
    spread = ((others - others.mean()) ** 2 / others.mean()).sum()  # chi-square with 254 degrees of freedom
    assert 160 < spread < 360
