"""Fault 4: what is wrong with one network of a file refuses that network, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reganie_core import checkpoints, networks
from reganie_core.errors import UnsupportedCheckpointError, WrongKindError
from tests import checkpoint_files as files
from tests import hostile


@pytest.fixture(scope="module")
def G() -> nn.Module:
    return hostile.tiny_generator(16)


def judge() -> dict[str, Tensor]:
    config = {"type": "Discriminator", "resolution": 16, "channels": [8] * 3}
    return networks.build("discriminator", config).state_dict()


def same(path: Path, G: nn.Module) -> None:
    found, wanted = checkpoints.load_generator(path).state_dict(), G.state_dict()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def bad_judges() -> dict[str, dict[str, Tensor]]:
    plain = judge()
    return {
        "conditional": {**plain, "mapping.fc0.weight": torch.zeros(8, 8), "mapping.fc0.bias": torch.zeros(8)},
        "architecture": {name: value for name, value in plain.items() if "skip" not in name},
        "12 channels": {**plain, "b16.fromrgb.weight": torch.zeros(8, 12, 1, 1)},
        "incomplete": {name: value for name, value in plain.items() if name != "b8.conv0.bias"},
    }


@pytest.mark.parametrize("what", list(bad_judges()))
def test_a_discriminator_that_is_not_wanted(G: nn.Module, tmp_path: Path, what: str) -> None:
    pickled = files.nvidia_discriminator(bad_judges()[what])
    path = files.nvidia_file(tmp_path / "n.pkl", G_ema=files.nvidia_generator(G.state_dict(), None), D=pickled)
    same(path, G)
    assert checkpoints.inspect(path)["contains"] == ["generator", "discriminator"]
    with pytest.raises(checkpoints.loading.CheckpointError, match=what):
        checkpoints.load_discriminator(path)


def test_a_wavelet_discriminator_beside_rosinalitys_generator(G: nn.Module, tmp_path: Path) -> None:
    d = {"convs.0.0.weight": torch.zeros(8, 12, 1, 1), "final_conv.0.weight": torch.zeros(8, 9, 3, 3),
         "final_linear.1.weight": torch.zeros(1, 8)}
    path = files.rosinality_file(tmp_path / "g.pt", files.to_rosinality(G.state_dict()), d=d, latent_avg=G.w_avg)
    same(path, G)
    with pytest.raises(UnsupportedCheckpointError, match="SWAGAN"):
        checkpoints.load_discriminator(path)


def test_a_generator_that_is_not_wanted(G: nn.Module, tmp_path: Path) -> None:
    origin = {name: value for name, value in G.state_dict().items() if "b8.torgb" not in name}
    d = judge()
    path = files.nvidia_file(tmp_path / "n.pkl", G_ema=files.nvidia_generator(origin),
                             D=files.nvidia_discriminator(d))
    assert torch.equal(checkpoints.load_discriminator(path).state_dict()["b4.out.weight"], d["b4.out.weight"])
    with pytest.raises(UnsupportedCheckpointError, match="skip"):
        checkpoints.load_generator(path)
    alias_free = {"synthesis.input.freqs": torch.zeros(8, 2), "mapping.fc0.weight": torch.zeros(8, 8)}
    path = files.nvidia_file(tmp_path / "s3.pkl", G_ema=files.nvidia_network(alias_free),
                             D=files.nvidia_discriminator(d))
    assert checkpoints.load_discriminator(path).resolution == 16  # StyleGAN3's is StyleGAN2's
    with pytest.raises(UnsupportedCheckpointError, match="alias-free"):
        checkpoints.load_generator(path)


def outline(channels: int = 3) -> dict[str, Tensor]:
    """What tells a pSp encoder of one code of 16 numbers; its other tensors are left out."""
    shapes = {"input_layer.0.weight": (64, channels, 3, 3), "body.0.res_layer.1.weight": (1,),
              "body.23.res_layer.1.weight": (1,), "linear.weight": (16, 512)}
    return {f"encoder.{name}": torch.zeros(shape) for name, shape in shapes.items()}


def with_decoder(G: nn.Module, path: Path, average: Any, channels: int = 3, **changes: Tensor) -> Path:
    decoder = {**files.to_rosinality(G.state_dict()), **changes}
    state = {f"decoder.{name}": value for name, value in decoder.items()}
    torch.save({"state_dict": {**state, **outline(channels)}, "latent_avg": average}, path)
    return path


@pytest.mark.parametrize("shape", [(1, 6, 16), (1, 16), (6, 1, 16), (96,), (1, 1, 16)])
def test_latent_avg_with_other_axes(G: nn.Module, tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = with_decoder(G, tmp_path / "e.pt", torch.full(shape, 2.0))
    assert torch.equal(checkpoints.load_generator(path).w_avg, torch.full((16,), 2.0))
    part = checkpoints.loading.choose(checkpoints.loading.open_source(path), "encoder")
    assert torch.equal(part.tensors["latent_avg"].read(), torch.full((6, 16), 2.0))


def test_each_half_of_an_encoders_file_alone(G: nn.Module, tmp_path: Path) -> None:
    path = with_decoder(G, tmp_path / "e.pt", G.w_avg, channels=1)
    same(path, G)
    with pytest.raises(UnsupportedCheckpointError, match="grey"):
        checkpoints.load_encoder(path)
    path = with_decoder(G, tmp_path / "g.pt", G.w_avg, **{"to_rgb1.conv.weight": torch.zeros(1, 1, 8, 1, 1)})
    found = checkpoints.inspect(path)
    assert found["kind"] == "encoder" and "problem" not in found["metadata"]
    with pytest.raises(UnsupportedCheckpointError, match="grey"):
        checkpoints.load_generator(path)
    with pytest.raises(WrongKindError):
        checkpoints.load_discriminator(path)


def test_latent_avg_that_fits_only_one_of_them(G: nn.Module, tmp_path: Path) -> None:
    """Different rows in another number than the encoder has: the generator needs one row, the encoder six."""
    rows = torch.randn(4, 16)
    path = with_decoder(G, tmp_path / "e.pt", rows)
    torch.testing.assert_close(checkpoints.load_generator(path).w_avg, rows.mean(0))
