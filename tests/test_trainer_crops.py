"""Crops that are off: by how much, all versions of a picture alike, and in the stages that offer them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainer.data.crops import displace
from trainer.loop.randomness import Draws, generator_at

SIDE = 96


def ramps(count: int) -> Tensor:
    """Pictures [count,3,96,96] whose first two channels say where a pixel is, in halves of the side."""
    x = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    picture = torch.stack([x.expand(SIDE, SIDE), x[:, None].expand(SIDE, SIDE), torch.zeros(SIDE, SIDE)])
    return (0.7 * picture).expand(count, 3, SIDE, SIDE)


def affine_of(pictures: Tensor) -> Tensor:
    """[B,2,3]: the least-squares affine map from places of a picture to the places that it shows, off the borders."""
    inner = slice(18, -18)
    places = (pictures[:, :2, inner, inner] / 0.7).flatten(2).double()
    x = ramps(1)[0, :2, inner, inner].flatten(1).double() / 0.7
    design = torch.cat([x, torch.ones(1, x.shape[1], dtype=torch.float64)]).T
    return torch.linalg.lstsq(design.expand(len(places), -1, -1), places.transpose(1, 2)).solution.transpose(1, 2)


def test_turn_scale_and_shift_have_the_stated_deviations() -> None:
    error = 0.03
    maps = affine_of(displace(ramps(800), error, generator_at(0, 0)))
    (a, b, dx), (c, d, dy) = maps[:, 0].unbind(1), maps[:, 1].unbind(1)
    # torch's bicubic interpolation bends ramps by a few hundredths of a pixel.
    assert torch.allclose(a, d, atol=5e-3) and torch.allclose(b, -c, atol=5e-3), "similarities, no shear"
    turn, log_scale = torch.atan2(c, a), 0.5 * torch.log(a * d - b * c)
    clamped = 0.9599     # deviation of a standard normal number clamped to [-2,2]
    for found, wanted in ((turn, error), (log_scale, error), (dx, error / 2), (dy, error / 2)):
        assert float(found.std()) == pytest.approx(clamped * wanted, rel=0.1)
        assert abs(float(found.mean())) < 4 * wanted / 800**0.5
        assert float(found.abs().max()) < 2.05 * wanted + 1e-3


def test_no_error_is_the_picture_itself() -> None:
    x = torch.rand(3, 3, SIDE, SIDE, generator=generator_at(0, 0)) * 2 - 1
    assert torch.allclose(displace(x, 0.0, generator_at(0, 1)), x, atol=1e-5)


def test_versions_of_a_picture_are_framed_alike_and_a_share_of_a_batch_like_the_batch() -> None:
    x = torch.rand(6, 3, SIDE, SIDE, generator=generator_at(0, 0)) * 2 - 1
    both = displace(x.repeat(2, 1, 1, 1), 0.05, generator_at(0, 1), count=6)
    assert torch.equal(both[:6], both[6:]) and both.abs().max() <= 1
    assert (both[0] - x[0]).abs().mean() > 0.01
    rows = torch.tensor([4, 1])
    assert torch.equal(displace(x[rows], 0.05, Draws(generator_at(0, 1), 6, rows)), both[rows])
