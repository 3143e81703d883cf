"""The small encoder: e4e's code layout without batch statistics."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reganie_core import networks
from reganie_core.errors import InputError
from reganie_core.networks.light_encoder import LightEncoder, LightEncoderConfig


def make(**changes: object) -> LightEncoder:
    """A float64 encoder none of whose weights is zero."""
    torch.manual_seed(0)
    config = {"num_ws": 10, "w_dim": 12, "channels": (6, 8, 8, 10, 12), "tap_channels": 5, "features": 9, **changes}
    encoder = LightEncoder(LightEncoderConfig(**config)).double()
    encoder.compute_dtype = torch.float64
    for parameter in encoder.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    encoder.latent_avg.normal_()
    return encoder


def pictures(count: int, size: int = 64) -> Tensor:
    return 2 * torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 1


def test_a_batch_is_its_rows() -> None:
    encoder, images = make(), pictures(3)
    with torch.no_grad():
        codes = encoder(images)
        rows = torch.cat([encoder(images[i : i + 1]) for i in range(3)])
    assert codes.shape == (3, 10, 12)
    assert torch.allclose(codes, rows, atol=1e-12)
    assert (codes[0] - codes[1]).abs().max() > 1e-3


@pytest.mark.parametrize("stage", [0, 1, 2, 3, 6, 7, 9])
def test_stages_release_offsets_from_coarse_to_fine(stage: int) -> None:
    encoder, images = make(), pictures(2)
    with torch.no_grad():
        full = encoder(images) - encoder.latent_avg
        encoder.stage = stage
        codes = encoder(images) - encoder.latent_avg
        base, deltas = encoder.offsets(images)
    assert deltas.shape == (2, stage, 12)
    assert torch.allclose(codes[:, 1 : stage + 1], full[:, 1 : stage + 1], atol=1e-12)
    assert torch.allclose(codes[:, 1 : stage + 1], base[:, None] + deltas, atol=1e-12)
    assert torch.allclose(codes[:, stage + 1 :], base[:, None].expand(-1, 9 - stage, -1), atol=1e-12)
    assert torch.allclose(codes[:, 0], base, atol=1e-12)


def test_latent_avg_is_added_and_saved() -> None:
    encoder, images = make(), pictures(1)
    with torch.no_grad():
        codes = encoder(images)
        average = encoder.latent_avg.clone()
        encoder.latent_avg.zero_()
        assert torch.allclose(codes - average, encoder(images), atol=1e-12)
    assert "latent_avg" in encoder.state_dict()


def test_a_new_encoder_starts_with_one_code_for_all_layers() -> None:
    encoder = LightEncoder(LightEncoderConfig())
    codes = encoder(torch.rand(1, 3, 64, 64))
    assert torch.equal(codes, codes[:, :1].expand_as(codes)) and codes.std() > 0.1


def test_it_resizes_with_antialiasing_and_refuses_other_layouts() -> None:
    encoder, large = make(), pictures(1, 256)
    with torch.no_grad():
        blurred = F.interpolate(large, size=(64, 64), mode="bilinear", antialias=True)
        assert torch.allclose(encoder(large), encoder(blurred), atol=1e-10)
        assert (encoder(large) - encoder(large[:, :, ::4, ::4])).abs().max() > 1e-3
    with pytest.raises(InputError, match=r"\[B,3,H,W\]"):
        encoder(large[:, :1])
    with pytest.raises(InputError):
        encoder((large * 255).to(torch.uint8))


def test_every_released_weight_learns() -> None:
    encoder = make()
    encoder(pictures(2)).square().mean().backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None or p.grad.abs().max() == 0] == []


def test_bfloat16_is_close() -> None:
    encoder, images = make().float(), pictures(2).float()
    with torch.no_grad():
        encoder.compute_dtype = torch.float32
        exact = encoder(images)
        encoder.compute_dtype = torch.bfloat16
        rough = encoder(images)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.05 * exact.abs().max()


def test_size_and_configuration() -> None:
    encoder = LightEncoder(LightEncoderConfig())
    assert 1.5e6 < sum(p.numel() for p in encoder.parameters()) < 3e6
    assert (encoder.num_ws, encoder.w_dim, encoder.input_resolution) == (10, 128, 64)
    again = networks.build("encoder", networks.describe(encoder))
    assert again.config == encoder.config
    with pytest.raises(InputError, match="power of two"):
        LightEncoderConfig(input_resolution=96)
    with pytest.raises(InputError, match="One width|one width|channels"):
        LightEncoderConfig(channels=(32, 64))
    encoder.stage = 10
    with pytest.raises(InputError, match="stage"):
        encoder(torch.zeros(1, 3, 64, 64))
