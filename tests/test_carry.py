"""Carrying without a network: closed forms, sizes, batches, both directions of trust, and what it refuses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import reganie_core as rc
from reganie_core.alignment import Carry, trivial_rows
from reganie_core.alignment.trivial import PASTED, PLAIN, WARPED
from reganie_core.delta import Delta
from reganie_core.errors import MismatchError
from reganie_core.images import area_downsample, clamp, resize
from reganie_core.metrics import changed_region, l2, masked_l2
from reganie_core.rectification import load_rectifier, rectify, rectify_with_doubt


def smooth(count: int, size: int, seed: int = 0, cells: int = 6, scale: float = 0.4) -> Tensor:
    noise = torch.randn(count, 3, cells, cells, generator=torch.Generator().manual_seed(seed))
    return (scale * F.interpolate(noise, size=size, mode="bicubic")).clamp(-1, 1)


def spot(size: int, x: int, y: int, side: int, value: float = 0.5) -> Tensor:
    picture = torch.zeros(1, 3, size, size)
    picture[..., y:y + side, x:x + side] = value
    return picture


@pytest.fixture
def moved() -> tuple[Tensor, Tensor]:
    """X^ and Y^ of 64 px: the same texture, three pixels further right."""
    wide = smooth(1, 80, cells=12)
    return wide[..., 8:72, 8:72], wide[..., 8:72, 5:69]


def test_the_lost_detail_moves_with_the_picture(moved):
    x_hat, y_hat = moved
    delta = spot(64, 24, 24, 12)
    found = Carry()(y_hat, delta, inversion=x_hat)
    answer = clamp(y_hat + delta.roll(3, -1))
    pasted = trivial_rows(y_hat, delta, x_hat)[PASTED]
    inner = (..., slice(8, 56), slice(8, 56))
    assert (found - answer)[inner].square().mean() < 0.2 * (pasted - answer)[inner].square().mean()


def test_an_unedited_picture_comes_back_bit_for_bit():
    image, x_hat = smooth(2, 96, seed=1, cells=40), smooth(2, 32, seed=2)
    assert torch.equal(rectify(Carry(), x_hat, Delta(image, x_hat)), image)
    raw = rectify(Carry(), x_hat, Delta(image, x_hat).pixels, inversion=x_hat)
    assert (raw - image).abs().max() < 1e-5  # without X0 beside the difference, up to rounding


@pytest.mark.parametrize("size", [32, 48, 96])
def test_strength_zero_is_the_edit_and_strength_is_linear(size):
    x_hat, y_hat, image = smooth(1, 32, 1), smooth(1, 32, 2), smooth(1, size, 3, cells=20)
    delta = Delta(image, x_hat)
    up = y_hat if size == 32 else clamp(resize(y_hat, size))
    assert torch.equal(rectify(Carry(), y_hat, delta, 0.0), up)
    full = rectify(Carry(), y_hat, delta)
    assert full.shape == (1, 3, size, size)
    torch.testing.assert_close(rectify(Carry(), y_hat, delta, 0.25), torch.lerp(up, full, 0.25))
    assert rectify(Carry(), y_hat, delta, output="edited").shape == (1, 3, 32, 32)


def test_a_batch_gives_its_singles_and_one_picture_many_edits():
    x_hat, y_hat, image = smooth(2, 32, 1), smooth(6, 32, 2), smooth(2, 64, 3, cells=30)
    together = rectify(Carry(), y_hat, Delta(image, x_hat))
    for i in range(6):
        own = slice(i // 3, i // 3 + 1)
        assert torch.equal(together[i:i + 1], rectify(Carry(), y_hat[i:i + 1], Delta(image[own], x_hat[own])))
    torch.testing.assert_close(rectify(Carry(), y_hat, Delta(image, x_hat), chunk=6), together, atol=1e-4, rtol=0)
    with pytest.raises(MismatchError, match="5 edited pictures for 2"):
        rectify(Carry(), y_hat[:5], Delta(image, x_hat))


def test_what_the_inversion_had_not_seen_keeps_its_looks():
    """A red hat that X^ lacks: everything turns lighter in the edit, the hat does not."""
    x_hat = smooth(1, 64, cells=10)
    y_hat = clamp(x_hat + 0.4)
    hat = spot(64, 8, 4, 24, 1.0) * torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1)
    found = Carry()(y_hat, hat, inversion=x_hat)
    core, bare = (..., slice(10, 22), slice(14, 26)), (..., slice(48, 60), slice(40, 60))
    assert (found - clamp(x_hat + hat))[core].abs().mean() < 0.1, "the hat keeps its colour"
    assert (found - y_hat)[bare].abs().mean() < 0.05, "the rest follows the edit"


def test_where_the_edit_repaints_the_edit_wins():
    """A mouth opens: bright teeth appear in Y^; the photo's closed lips must not stay over them."""
    x_hat = smooth(1, 64, cells=5)
    lips = spot(64, 20, 46, 24, -0.1)
    y_hat = clamp(x_hat + 0.9 * (spot(64, 22, 44, 20) - spot(64, 26, 48, 12)))
    change = (y_hat - x_hat).abs().mean(1, keepdim=True) > 0.1
    found = Carry()(y_hat, lips, inversion=x_hat)
    to_edit, unedited = ((x - y_hat).abs()[change.expand_as(x)].mean() for x in (found, x_hat + lips))
    assert to_edit < 0.3 * unedited


def test_a_small_generator_edits_a_large_photo_that_stays_sharp(moved):
    x_hat, y_hat = moved
    fine = clamp(resize(x_hat, 256) + 0.2 * torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(3)))
    found = rectify(Carry(), y_hat, Delta(fine, x_hat))

    def sharpness(x: Tensor) -> float:
        return float((x - F.avg_pool2d(x, 3, 1, 1)).abs().mean())

    assert found.shape[-1] == 256 and sharpness(found) > 0.6 * sharpness(fine) > 3 * sharpness(resize(y_hat, 256))


def test_it_is_as_first_class_as_a_trained_one(tiny_domain):
    domain = rc.load_domain(tiny_domain)
    assert isinstance(load_rectifier("carry"), Carry) and isinstance(rc.load_rectifier("carry"), Carry)
    picture = smooth(1, 48, 5, cells=20)
    result = rc.edit(picture, {"yaw": 10.0}, domain=domain, rectifier="carry")
    assert result.used == "carry (no network)" and result.rectified.shape == (1, 3, 48, 48)
    assert rc.edit(picture, {"yaw": 10.0}, domain=domain).used == "rectifier.safetensors"
    again = rc.edit(result, {"yaw": 10.0}, domain=domain, rectifier="carry")
    torch.testing.assert_close(again.rectified, result.rectified, atol=1e-4, rtol=0)
    with pytest.raises(MismatchError, match="needs X"):
        rectify(Carry(), result.edited, result.delta)
    assert torch.equal(result.reconstruction, result.image), "no edit, and so X0: no merit"


def test_the_packaged_domain_prefers_it_and_its_rows_can_be_compared():
    """On people that no constant was chosen on, carrying is below every trivial row where the picture has to change."""
    people = rc.portraits.sample(6, 950_000_000, items=("hat",))
    image, exact = (rc.portraits.render(p, 128) for p in (people, rc.portraits.edit(people, {"yaw": 15.0})))
    with torch.inference_mode():
        result = rc.edit(image, {"yaw": 15.0})
        rows = trivial_rows(result.edited, result.delta, result.inversion) | {"unchanged": image, "Y^": result.edited}
    region = changed_region(image, exact)
    own = masked_l2(result.rectified, exact, region).mean()
    assert result.used == "carry (no network)"
    for name in ("unchanged", "Y^", PASTED, WARPED):
        assert own < masked_l2(rows[name], exact, region).mean(), name
    assert l2(result.rectified, exact).mean() < 1.01 * l2(rows[PLAIN], exact).mean()


def test_doubt_lies_where_the_errors_are():
    people = rc.portraits.sample(6, 950_000_100, items=("earrings",))
    image, exact = (rc.portraits.render(p, 128) for p in (people, rc.portraits.edit(people, {"yaw": 15.0})))
    with torch.inference_mode():
        result = rc.edit(image, {"yaw": 15.0})
        found = rectify_with_doubt(Carry(), result.edited, result.difference)
    error = (found.picture - exact).square().mean(1, keepdim=True).flatten(1)
    doubt = found.doubt.flatten(1)
    assert found.doubt.shape == (6, 1, 128, 128) and 0 <= doubt.min() and doubt.max() <= 1
    doubted = doubt > 0.5
    assert doubted.float().mean() < 0.3
    assert (error * doubted).sum() / error.sum() > 0.5, "less than a third of the picture, more than half of the error"
    still = rectify_with_doubt(Carry(), result.inversion, result.difference)
    assert still.doubt.max() < 1e-3, "nothing edited, no doubt"


def test_a_learned_rectifier_gains_the_photos_detail_by_carrying(tiny_networks):
    network = tiny_networks.rectifier
    x_hat, y_hat, image = smooth(1, 32, 1), smooth(1, 32, 2), smooth(1, 128, 3, cells=60)
    delta = Delta(image, x_hat)
    with torch.inference_mode():
        small = rectify(network, y_hat, delta, output="rectifier")
        large = rectify(network, y_hat, delta)
        carried = rectify(Carry(), y_hat, delta)
    assert large.shape == (1, 3, 128, 128)
    to_network, to_carried = ((area_downsample(x, 32) - small).abs().mean() for x in (large, carried))
    assert to_network < 0.4 * to_carried, "what the network painted"
    detail = [(x - resize(area_downsample(x, 32), 128)).abs().mean() for x in (large, carried, resize(small, 128))]
    assert detail[0] > 0.9 * detail[1] and detail[0] > 3 * detail[2], "the photo's detail, which the network has not"
