"""RARN is what the paper's section 3 says: five maps, fusion, an attention that turns with the face; the catalog does not lie."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rarn_edge.contract.artifact import open_unoptimised
from rarn_edge.errors import InputError
from rarn_edge.models.build import BUILDERS, build_model
from rarn_edge.models.catalog import CATALOG, find_model
from rarn_edge.models.count import bake, count_multiply_adds, count_parameters
from rarn_edge.models.rarn import RARN, AngleAttention, LiftedConv, TurnInvariantConv, rarn_n, rarn_s


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return build_model(name).eval()


@pytest.fixture
def attention() -> AngleAttention:
    torch.manual_seed(3)
    return AngleAttention(16, "lifted", 8).eval()


@pytest.fixture
def maps() -> Tensor:
    return torch.rand(3, 16, 12, 12, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize(
    ("name", "sizes", "channels"),
    [
        ("rarn-s", (24, 24, 12, 6, 3), (32, 32, 64, 128, 192)),
        ("rarn-n", (24, 12, 6, 3, 3), (16, 32, 64, 96, 80)),
        ("rarn-18", (24, 12, 6, 3, 2), (64, 64, 128, 256, 512)),
        ("rarn-152", (24, 12, 6, 3, 2), (64, 256, 512, 1024, 2048)),
    ],
)
def test_five_maps(name: str, sizes: tuple[int, ...], channels: tuple[int, ...]) -> None:
    model = on_meta(name)
    assert isinstance(model, RARN)
    found = model.backbone.forward_features(torch.empty(2, 1, 48, 48, device="meta"))  # type: ignore[operator]
    assert [tuple(a.shape) for a in found] == [(2, c, s, s) for c, s in zip(channels, sizes, strict=True)]


@pytest.mark.parametrize(
    ("name", "joined"), [("rarn-s", (64, 12)), ("rarn-n", (48, 6)), ("rarn-18", (256, 24)), ("rarn-152", (256, 24))]
)
def test_fusion_ends_at_one_width(name: str, joined: tuple[int, int]) -> None:
    model = on_meta(name)
    assert isinstance(model, RARN)
    found = model.backbone.forward_features(torch.empty(2, 1, 48, 48, device="meta"))  # type: ignore[operator]
    width, side = joined
    assert model.fusion(found).shape == (2, width, side, side)


@pytest.mark.parametrize("builder", [rarn_s, rarn_n])
def test_every_parameter_is_trained(builder: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = builder(7, 1)
    model(torch.randn(2, 1, 48, 48)).square().sum().backward()
    assert [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize(("name", "limit"), [("rarn-s", 2_000_000), ("rarn-n", 400_000)])
def test_edge_models_are_small(name: str, limit: int) -> None:
    assert count_parameters(on_meta(name)) <= limit


@pytest.mark.parametrize("name", CATALOG)
def test_catalog_states_the_counts(name: str) -> None:
    entry, model = CATALOG[name], on_meta(name)
    assert count_parameters(model) == entry.parameters
    assert count_multiply_adds(model, 1, entry.side_px, entry.side_px) == entry.multiply_adds


def test_multiply_adds_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1), nn.Flatten(), nn.Linear(8 * 4 * 4, 5))
    assert count_multiply_adds(model, 3, 8, 8) == 4 * 4 * 8 * 3 * 9 + 8 * 4 * 4 * 5


def test_every_model_of_the_issue_is_there() -> None:
    asked = "rarn-152 rarn-50 rarn-18 rarn-s rarn-n resnet-18 resnet-50 resnet-152 inception-v4 mobilenet-v1"
    ablations = {"rarn-n-none", "rarn-n-cbam", "rarn-n-conv"}
    assert set(CATALOG) == set(BUILDERS) == set(asked.split()) | ablations | {"rarn-l"}


def test_ablations_differ_from_rarn_n_in_the_angle_map_alone() -> None:
    """At equal size: within 1.5 % of its parameters and 5 % of its multiply-adds; every other parameter has its shape."""
    whole = CATALOG["rarn-n"]
    shapes = {n: v.shape for n, v in on_meta("rarn-n").state_dict().items() if not n.startswith("attention")}
    for name in ("rarn-n-none", "rarn-n-cbam", "rarn-n-conv"):
        assert CATALOG[name].parameters == pytest.approx(whole.parameters, rel=0.015)
        assert CATALOG[name].multiply_adds == pytest.approx(whole.multiply_adds, rel=0.05)
        state = on_meta(name).state_dict()
        assert {n: v.shape for n, v in state.items() if not n.startswith("attention")} == shapes


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_mask_turns_with_the_face(attention: AngleAttention, maps: Tensor, turns: int) -> None:
    with torch.no_grad():
        turned, mask = attention.attention(torch.rot90(maps, turns, (2, 3))), attention.attention(maps)
    assert mask.shape == (3, 1, 12, 12)
    assert mask.std() > 1e-3  # a constant mask would turn with anything
    torch.testing.assert_close(turned, torch.rot90(mask, turns, (2, 3)), atol=1e-5, rtol=0)


def test_a_plain_convolution_does_not_turn(maps: Tensor) -> None:
    """The control: the property is the lifted form's, not the test's."""
    torch.manual_seed(3)
    plain = AngleAttention(16, "conv", 8).eval()
    with torch.no_grad():
        difference = plain.attention(torch.rot90(maps, 1, (2, 3))) - torch.rot90(plain.attention(maps), 1, (2, 3))
    assert difference.abs().max() > 1e-3


class MaskOnly(nn.Module):
    """The attention's mask as a module's answer."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.inner = attention

    def forward(self, x: Tensor) -> Tensor:
        return self.inner.attention(x)  # type: ignore[operator, no-any-return]


def test_baked_mask_turns_in_onnx_runtime(attention: AngleAttention, maps: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "mask.onnx"
    torch.onnx.export(
        MaskOnly(bake(attention)).eval(),
        (maps,),
        path,
        dynamo=True,
        external_data=False,
        input_names=["x"],
        verbose=False,
    )
    session = open_unoptimised(path)
    (mask,) = session.run(None, {"x": maps.numpy()})
    (turned,) = session.run(None, {"x": np.ascontiguousarray(np.rot90(maps.numpy(), axes=(2, 3)))})
    np.testing.assert_allclose(turned, np.rot90(mask, axes=(2, 3)), atol=1e-5, rtol=0)
    np.testing.assert_allclose(mask, attention.attention(maps).detach().numpy(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["rarn-s", "rarn-n"])
def test_bake_changes_no_answer(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(name).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    plain = bake(model)
    x = torch.randn(2, 1, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(plain(x), model(x), atol=1e-5, rtol=1e-5)
    assert not any(isinstance(layer, LiftedConv | TurnInvariantConv) for layer in plain.modules())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "offered"),
    [("rarn_s", "rarn-s"), ("RARN-N", "rarn-n"), ("mobilenet", "mobilenet-v1"), ("resnet50", "resnet-50")],
)
def test_unknown_model_offers_close_names(name: str, offered: str) -> None:
    with pytest.raises(InputError, match=rf"no model '{name}'; did you mean .*{offered}"):
        find_model(name)


def test_unknown_model_lists_all() -> None:
    with pytest.raises(InputError, match="All models: " + ", ".join(CATALOG)):
        build_model("xyz")
