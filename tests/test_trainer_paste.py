"""Pasted shapes and the flow that carries them from a picture to its edit."""

from __future__ import annotations

import math

import pytest
import torch

from reganie_core.alignment.flow import estimate_flow, warp
from trainer.data import pasted_shapes
from trainer.data.pasted_shapes import paste_shapes
from trainer.loop.randomness import generator_at


def smooth_pictures(count: int, shift: float = 0.0) -> torch.Tensor:
    """Sums of slow waves over 64 px, moved right by `shift` pixels: a picture whose motion is known exactly."""
    x, y = torch.meshgrid(torch.arange(64.0) - shift, torch.arange(64.0), indexing="xy")
    waves = [torch.sin(2 * math.pi * (a * x + b * y) / 64 + c) for a, b, c in ((2, 1, 0.0), (1, -3, 1.0), (3, 2, 2.0))]
    return (torch.stack(waves) * 0.5).expand(count, 3, 64, 64)


def test_warp_by_whole_pixels_is_a_shift() -> None:
    x = torch.rand(1, 3, 8, 8, generator=generator_at(0, 0))
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0] = 2
    assert torch.allclose(warp(x, flow)[..., :-2], x[..., 2:], atol=1e-5)


def test_shapes_stay_where_nothing_moves_and_share_is_respected() -> None:
    pictures = torch.zeros(8, 3, 32, 32)
    changed = paste_shapes(pictures, 4, 1.0, generator_at(0, 0))
    assert torch.allclose(changed[:4], changed[4:], atol=1e-3)
    assert changed.abs().amax(dim=(1, 2, 3)).min() > 0
    assert torch.equal(paste_shapes(pictures, 4, 0.0, generator_at(0, 0)), pictures)


def test_a_disc_follows_the_picture_under_it() -> None:
    x, y = smooth_pictures(1), smooth_pictures(1, shift=4.0)
    columns, rows = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="xy")
    disc = ((columns - 28).square() + (rows - 32).square() < 64).float()[None, None]
    carried = warp(disc, estimate_flow(x, y))
    centre = [float((d * columns).sum() / d.sum()) for d in (disc, carried)]
    assert abs(centre[1] - centre[0] - 4.0) < 0.5


def test_below_what_an_edit_adds_shapes_do_not_cover_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Y is X with a bright square. Shapes above hide part of it. Shapes below are hidden by it or seen through it, and
    then they change it as they change X; elsewhere nothing differs."""
    monkeypatch.setattr(pasted_shapes, "estimate_flow", lambda x, y: torch.zeros(len(x), 2, 64, 64))
    x = smooth_pictures(96) * 0.3
    y = x.clone()
    y[:, :, 28:38, 28:38] = 1.0
    both = torch.cat([x, y])
    above, below = (paste_shapes(both, 96, 1.0, generator_at(4, 0), below=share)[96:] for share in (0.0, 1.0))
    square = torch.zeros(64, 64, dtype=torch.bool)
    square[28:38, 28:38] = True
    inner = torch.zeros(64, 64, dtype=torch.bool)
    inner[30:36, 30:36] = True
    pasted = paste_shapes(x, 96, 1.0, generator_at(4, 0))
    through = (1 + pasted - x).clamp_max(1)[:, :, inner]
    seen, is_hidden = ((below[:, :, inner] - wanted).abs().amax(dim=(1, 2)) < 1e-5 for wanted in (through, 1.0))
    assert (seen | is_hidden).all()
    covered = (above[:, :, inner] - 1).abs().amax(dim=(1, 2)) > 0.1
    assert (covered & is_hidden & ~seen).any() and (covered & seen & ~is_hidden).any()
    around = torch.nn.functional.max_pool2d(square[None, None].float(), 9, 1, 4)[0, 0] > 0
    assert torch.equal(above[:, :, ~around], below[:, :, ~around])


def test_a_turned_head_is_no_addition() -> None:
    """Where most of the picture differs, what the flow missed must not punch holes into shapes."""
    x = smooth_pictures(4)
    y = -x
    both = torch.cat([x, y])
    above, below = (paste_shapes(both, 4, 1.0, generator_at(4, 0), below=share) for share in (0.0, 1.0))
    assert torch.equal(above, below)
