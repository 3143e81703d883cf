"""The rectifier that carries the difference along the flow to where it belongs."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from reganie_core.alignment.flow import estimate_flow, resize_flow, warp
from reganie_core.errors import InputError, MismatchError
from reganie_core.networks.rectifier import MASK_START, Rectifier, RectifierConfig
from reganie_core.rectification import rectify
from tests.test_rectifier import TINY, make, pictures

CARRYING = dataclasses.replace(TINY, carry_channels=(5, 6))


def shift(pixels: float) -> torch.Tensor:
    flow = torch.zeros(2, 2, 32, 32)
    flow[:, 0] = pixels
    return flow


def test_a_flow_shifts_and_grows_with_the_picture() -> None:
    x = pictures(1, 16)
    flow = torch.zeros(1, 2, 8, 8, dtype=x.dtype)
    assert torch.allclose(warp(x, flow), x)
    flow[:, 0], flow[:, 1] = 1.0, -0.5            # 2 px to the right, 1 px up in a picture of twice the size
    moved = warp(x, flow)
    assert torch.allclose(moved[..., 1:, :-2], x[..., :-1, 2:])
    assert torch.allclose(moved[..., 0, :-2], x[..., 0, 2:]), "edges are repeated"
    assert torch.allclose(resize_flow(flow, 4), flow[..., ::2, ::2] / 2)
    assert resize_flow(flow, 8) is flow


def test_it_starts_as_the_pasted_difference_carried_along_the_flow() -> None:
    torch.manual_seed(0)
    network = Rectifier(CARRYING)
    edited, delta = pictures(2).float(), pictures(2, seed=2).float()
    share = torch.sigmoid(torch.tensor(MASK_START))
    assert torch.allclose(network(edited, delta, inversion=edited), edited + share * delta, atol=1e-5)
    with pytest.raises(MismatchError, match="give inversion"):
        network(edited, delta)
    moved = network(edited, delta, flow=shift(4.0))
    assert torch.allclose(moved[..., :-4], (edited[..., :-4] + share * delta[..., 4:]), atol=1e-5)
    assert torch.equal(network(edited, delta, strength=0.0, flow=shift(4.0)), edited)


def test_a_batch_is_its_rows_and_strength_is_linear() -> None:
    network = make(carry_channels=(5, 6))
    edited, delta, flow = pictures(4), pictures(2, seed=2), torch.randn(4, 2, 32, 32).double()
    together = network(edited, delta, flow=flow)
    for i in range(4):
        rows = slice(i, i + 1)
        alone = network(edited[rows], delta[i // 2:i // 2 + 1], flow=flow[rows])
        assert torch.allclose(together[rows], alone, atol=1e-5)
    code = network.encode_delta(delta)
    assert torch.allclose(network.render(edited, code, 0.5, flow), torch.lerp(edited, together, 0.5))


def test_rectify_finds_the_flow_from_the_inversion() -> None:
    torch.manual_seed(0)
    network = Rectifier(CARRYING)
    smooth = torch.nn.functional.interpolate(torch.randn(2, 3, 6, 6), size=40, mode="bicubic").mul(0.4).clamp(-1, 1)
    inversion, edited = smooth[..., 4:36, 4:36], smooth[..., 4:36, 2:34]      # all moved to the right by 2 px
    delta = torch.zeros(2, 3, 32, 32)
    delta[..., 12:20, 12:20] = 0.5
    plain = rectify(network, edited, delta, inversion=edited)
    found = rectify(network, edited, delta, inversion=inversion)
    expected = network(edited, delta, flow=estimate_flow(inversion, edited)).clamp(-1, 1)
    assert torch.allclose(found, expected, atol=1e-6)
    answer = (edited + torch.sigmoid(torch.tensor(MASK_START)) * delta.roll(2, -1)).clamp(-1, 1)
    assert (found - answer).abs().mean() < 0.5 * (plain - answer).abs().mean()
    # Nothing moved: the flow of a picture to itself is zero, exactly.
    flow = torch.zeros(2, 2, 32, 32)
    assert torch.equal(rectify(network, inversion, delta, inversion=inversion),
                       network(inversion, delta, flow=flow).clamp(-1, 1))
    with pytest.raises(MismatchError, match="needs X"):
        rectify(network, edited, delta)
    with pytest.raises(MismatchError, match="1 inversions for 2 differences"):
        rectify(network, edited, delta, inversion=inversion[:1])


def test_the_correction_learns_what_the_flow_misses() -> None:
    """Everything is shifted by two pixels more than the flow says."""
    torch.manual_seed(0)
    network = Rectifier(CARRYING)
    optimizer = torch.optim.Adam(network.flow.parameters(), 0.02)
    spots = torch.nn.functional.interpolate(torch.randn(8, 3, 8, 8), size=32, mode="bicubic")
    delta = spots.clamp(-1, 1)
    edited, target = torch.zeros_like(delta), delta.roll(2, dims=-1)
    losses = []
    for _ in range(80):
        loss = (network(edited, delta, inversion=edited) - target)[..., 4:].abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.4 * losses[0]


@pytest.mark.parametrize("changes", [{"modulation": "global"}, {"output": "literal"}, {"carry_channels": (4,) * 6}])
def test_what_cannot_be_carried_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InputError, match="carry_channels"):
        RectifierConfig(**{**CARRYING.__dict__, **changes})
