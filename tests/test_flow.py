"""Optical flow between two pictures: motions are found, and what only appears has not moved."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reganie_core import portraits
from reganie_core.alignment.flow import estimate_flow, warp
from tests.test_trainer_paste import smooth_pictures


def turned(count: int, size: int) -> tuple[Tensor, Tensor]:
    """Portraits and the same people turned by 15 degrees."""
    p = portraits.sample(count, 500_000_100)
    return portraits.render(p, size), portraits.render(portraits.edit(p, {"yaw": 15.0}), size)


def test_flow_of_a_shift_is_that_shift() -> None:
    flow = estimate_flow(smooth_pictures(1), smooth_pictures(1, shift=3.0))
    inner = flow[0, :, 12:-12, 12:-12]
    assert abs(float(inner[0].mean()) + 3.0) < 0.3 and abs(float(inner[1].mean())) < 0.2


@pytest.mark.parametrize("size", [64, 256])
def test_flow_explains_most_of_a_turned_head(size: int) -> None:
    x, y = turned(4, size)
    before, after = (x - y).square().mean(), (warp(x, estimate_flow(x, y)) - y).square().mean()
    assert after < 0.35 * before


def test_from_a_picture_to_itself_it_is_zero() -> None:
    x, _ = turned(2, 64)
    assert torch.equal(estimate_flow(x, x), torch.zeros(2, 2, 64, 64))


def test_rows_that_are_the_same_do_not_disturb_the_others() -> None:
    x, y = turned(2, 64)
    flow = estimate_flow(x.repeat_interleave(2, 0), torch.stack([x, y], dim=1).flatten(0, 1))
    assert torch.equal(flow[0::2], torch.zeros(2, 2, 64, 64))
    assert torch.allclose(flow[1::2], estimate_flow(x, y), atol=1e-4)


def test_rows_do_not_depend_on_their_company() -> None:
    x, y = turned(3, 64)
    together = estimate_flow(x, y)
    for i in range(3):
        assert torch.allclose(estimate_flow(x[i:i + 1], y[i:i + 1])[0], together[i], atol=1e-4)


def test_what_appears_has_not_moved() -> None:
    """Glasses that are put on come from nowhere: what is seen through them stays where it was."""
    p = portraits.sample(40, 500_000_200)
    p = p[torch.where(p.values["glasses"] < 0.5)[0][:8]]
    x, y = portraits.render(p, 128), portraits.render(portraits.edit(p, {"glasses": 1.0}), 128)
    changed = (x - y).abs().amax(dim=1) > 0.1
    assert estimate_flow(x, y).norm(dim=1)[changed].mean() < 0.2        # pixels; least squares alone say 1


def test_an_object_that_appears_does_not_stop_the_rest() -> None:
    """A shift by three pixels, and a square that is nowhere in the first picture: the rest is found all the same."""
    x, y = smooth_pictures(2), smooth_pictures(2, shift=3.0).clone()
    y[:, :, 24:36, 24:36] = torch.tensor([1.0, -1.0, 1.0])[:, None, None]
    flow = estimate_flow(x, y)
    away = torch.ones(64, 64, dtype=torch.bool)
    away[16:44, 16:44] = away[:8] = away[-8:] = away[:, :8] = away[:, -8:] = False
    assert abs(float(flow[:, 0, away].mean()) + 3.0) < 0.5
