"""Encoders and editors of a generator go on with the larger one that grew from it."""

from __future__ import annotations

import torch

from reganie_core.networks.dystyle import DyStyle, DyStyleConfig
from reganie_core.networks.light_encoder import LightEncoder, LightEncoderConfig
from trainer.stages.longer_codes import longer_codes


def randomised(network: torch.nn.Module) -> torch.nn.Module:
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random))
    return network.eval()


def test_an_encoder_repeats_its_last_vector() -> None:
    def encoder(num_ws: int) -> LightEncoder:
        return LightEncoder(LightEncoderConfig(16, num_ws, 8, (4, 6, 8), 4, 8, 1, 2))

    small, large = randomised(encoder(4)), encoder(6)
    small.latent_avg.normal_()
    large.load_state_dict(longer_codes("encoder", small.state_dict(), large))
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        codes, longer = small(images), large(images)
    torch.testing.assert_close(longer[:, :4], codes)
    torch.testing.assert_close(longer[:, 4:], codes[:, 3:].expand(-1, 2, -1))


def test_an_editor_moves_the_last_vectors_alike_and_reads_the_first_ones() -> None:
    def editor(num_ws: int) -> DyStyle:
        kinds = ("numeric", "binary")
        return DyStyle(DyStyleConfig(num_ws, 8, ("a", "b"), kinds, (1.0, 0.0), (2.0, 1.0), 8, 8, 4, 3, 4))

    small, large = randomised(editor(4)), editor(6)
    large.load_state_dict(longer_codes("dystyle", small.state_dict(), large))
    ws = torch.randn(5, 4, 8)
    longer = torch.cat([ws, ws[:, 3:].expand(-1, 2, -1)], dim=1)
    change = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, -1.0], [0.0, 0.0], [-2.0, 0.3]])
    with torch.no_grad():
        torch.testing.assert_close(large.read(longer), small.read(ws))
        moved, wanted = large(longer, change), small(ws, change)
    torch.testing.assert_close(moved[:, :4], wanted, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(moved[:, 4:], wanted[:, 3:].expand(-1, 2, -1), atol=1e-5, rtol=1e-4)


def test_others_stay_as_they_are() -> None:
    tensors = {"x": torch.zeros(2)}
    assert longer_codes("rectifier", tensors, torch.nn.Linear(2, 2)) is tensors
