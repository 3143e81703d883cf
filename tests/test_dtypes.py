"""Public functions on tensors: each float type, one picture and three, on the CPU and, where there is one, a GPU.

Two rules. Plain tensor functions (warp, estimate_flow, paste, modulation) answer in the type that they were given.
Functions that take pictures from outside (prepare, rectify with Carry, Delta) answer in float32 whatever came in.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import reganie_core as rc
from reganie_core.alignment import Carry, estimate_flow, trivial_rows, warp
from reganie_core.delta import difference, paste
from reganie_core.networks.modulation import GlobalModulation, SpatialModulation
from reganie_core.pipeline import prepare

SIZE = 32
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-6, torch.bfloat16: 0.05}

dtypes = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=lambda dtype: str(dtype).removeprefix("torch."))
batches = pytest.mark.parametrize("batch", [1, 3])
devices = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU here"))])


def pictures(batch: int, seed: int = 0) -> Tensor:
    """Smooth pictures [B,3,SIZE,SIZE] in [-1,1], so that neighbouring pixels resemble each other."""
    coarse = torch.rand(batch, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) * 1.8 - 0.9
    return torch.nn.functional.interpolate(coarse, size=SIZE, mode="bicubic", align_corners=False).clamp(-1, 1)


def check(found: Tensor, expected: Tensor, dtype: torch.dtype, device: str, tolerance: float) -> None:
    """Same type, device and shape, and the numbers of float32 within what the type can hold."""
    assert found.dtype == dtype and found.device.type == device and found.shape == expected.shape
    assert float((found.cpu().double() - expected.double()).abs().max()) <= tolerance


@devices
@batches
@dtypes
def test_warp(dtype: torch.dtype, batch: int, device: str) -> None:
    images, flow = pictures(batch), 2 * pictures(batch, 1)[:, :2]
    found = warp(images.to(device, dtype), flow.to(device, dtype))
    check(found, warp(images, flow), dtype, device, 4 * TOLERANCE[dtype])
    still = torch.zeros_like(flow)
    check(warp(images.to(device, dtype), still.to(device, dtype)), images, dtype, device, 4 * TOLERANCE[dtype])


@devices
@batches
@dtypes
def test_estimate_flow(dtype: torch.dtype, batch: int, device: str) -> None:
    source = pictures(batch)
    target = source.roll(2, dims=3)
    found = estimate_flow(source.to(device, dtype), target.to(device, dtype))
    # In bfloat16 a position in 32 pixels is known to an eighth of a pixel.
    check(found, estimate_flow(source, target), dtype, device, 1.5 if dtype == torch.bfloat16 else 1e-3)
    one = estimate_flow(source[:1].to(device, dtype), target[:1].to(device, dtype))
    check(one, found[:1].cpu(), dtype, device, 0.5 if dtype == torch.bfloat16 else 1e-3)


@devices
@batches
@dtypes
def test_paste_and_the_trivial_rows(dtype: torch.dtype, batch: int, device: str) -> None:
    edited, delta, inversion = pictures(batch), pictures(batch, 1), pictures(batch, 2)
    given = [x.to(device, dtype) for x in (edited, delta, inversion)]
    check(paste(*given[:2]), paste(edited, delta), dtype, device, 4 * TOLERANCE[dtype])
    for name, row in trivial_rows(edited, delta, inversion).items():
        found = trivial_rows(*given)[name]
        assert found.shape == row.shape and found.device.type == device
        if dtype != torch.bfloat16:
            assert float((found.cpu().double() - row.double()).abs().max()) <= 1e-3, name


@devices
@batches
@dtypes
def test_carry_answers_in_float32(dtype: torch.dtype, batch: int, device: str) -> None:
    edited, delta, inversion = ((0.4 * pictures(batch, seed)).to(dtype) for seed in range(3))
    expected = Carry()(edited.float(), delta.float(), inversion=inversion.float())
    found = Carry()(edited.to(device), delta.to(device), inversion=inversion.to(device))
    check(found, expected, torch.float32, device, 1e-3)
    lost = rc.Delta(edited.to(device), inversion.to(device))
    check(rc.rectify(Carry(), edited.to(device), lost), Carry()(
        edited.float(), lost.pixels.cpu(), inversion=inversion.float()), torch.float32, device, 1e-3)


@devices
@batches
@dtypes
def test_prepare_and_difference_answer_in_float32(dtype: torch.dtype, batch: int, device: str) -> None:
    image, inversion = pictures(batch).to(dtype), pictures(batch, 1).to(dtype)
    check(prepare(image.to(device), 16), prepare(image.float(), 16), torch.float32, device, 1e-5)
    check(difference(image.to(device), inversion.to(device)), image.float() - inversion.float(), torch.float32, device,
          1e-5)


@devices
@batches
@dtypes
@pytest.mark.parametrize("training", [True, False])
def test_modulation(dtype: torch.dtype, batch: int, device: str, training: bool) -> None:
    random = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        spatial, overall = SpatialModulation(4, 6), GlobalModulation(5, 6)
    x, sp, gl = (torch.randn(batch, *shape, generator=random) for shape in ((6, 8, 8), (4, 4, 4), (5,)))
    with torch.set_grad_enabled(training):
        expected = spatial(x, sp).detach(), overall.style(gl).detach()
        given = [value.to(device, dtype) for value in (x, sp, gl)]
        found = spatial.to(device, dtype)(*given[:2]).detach(), overall.to(device, dtype).style(given[2]).detach()
    for one, other in zip(found, expected, strict=True):
        check(one, other, dtype, device, 4 * TOLERANCE[dtype])
    rms = found[1].double().square().mean(1).sqrt()
    assert float((rms - 1).abs().max()) <= 4 * TOLERANCE[dtype]


def test_warp_and_flow_have_gradients_that_are_right() -> None:
    images = pictures(1)[:, :1, :5, :5].double().requires_grad_()
    flow = (0.3 + 0.2 * pictures(1, 1)[:, :2, :5, :5].double()).requires_grad_()      # between pixels, not on them
    assert torch.autograd.gradcheck(warp, (images, flow))
