"""rosinality's generator and discriminator: outputs of the original code on synthetic weights, in ``.pt`` files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from reganie_core import checkpoints
from tests import checkpoint_files as files


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    path = tmp_path_factory.mktemp("rosinality") / "g64.pt"
    files.rosinality_file(path, files.weights("rosinality_g64"), latent_avg=files.latent_avg(512))
    return checkpoints.load_generator(path)


def check(found: torch.Tensor, name: str, of: str = "rosinality_g64") -> None:
    assert files.error_over_scale(found, files.golden(of), name) <= 1.0


@torch.no_grad()
def test_mapping_and_truncation(generator: nn.Module) -> None:
    z = files.given("z", 2, 512)
    check(generator.mapping(z)[:, 0], "w_from_z")
    check(generator.mapping(z, truncation_psi=0.7)[:, 0], "z_trunc07_latent0")


@torch.no_grad()
def test_images(generator: nn.Module) -> None:
    z = files.given("z", 2, 512)
    ws = generator.mapping(z)
    check(generator.synthesis(ws, noise="const"), "z_to_image")
    check(generator.synthesis(generator.mapping(z, truncation_psi=0.7)), "z_trunc07_image")
    shifted = ws + 0.1 * files.given("wplus", 2, 10, 512)
    check(generator.synthesis(shifted, noise="const"), "wplus_image")
    check(generator.synthesis(shifted, noise="none"), "wplus_nonoise_image")
    check(generator.synthesis(torch.cat([ws[:1, :4], ws[1:, 4:]], dim=1)), "mix4_image")


def test_discriminator(tmp_path: Path) -> None:
    path = tmp_path / "d64.pt"
    torch.save({"d": files.weights("rosinality_d64")}, path)
    network = checkpoints.load_discriminator(path)
    a, b, c = (torch.from_numpy(files.fill.make_image(name, (n, 3, 64, 64)))
               for name, n in (("d64a", 2), ("d64b", 2), ("d64c", 4)))
    four = torch.cat([a, b]).requires_grad_(True)
    logits = network(four)
    check(logits, "logits_b4", "rosinality_d64")
    (gradient,) = torch.autograd.grad(logits.sum(), four)
    for name, values in files.fill.summary("input_grad_b4", gradient.numpy()).items():
        if name.endswith((".grid", ".crop")):
            check(torch.from_numpy(values), name, "rosinality_d64")
    check(gradient.square().sum(dim=(1, 2, 3)).mean(), "r1_b4", "rosinality_d64")
    with torch.no_grad():
        check(network(a[:1]), "logits_b1", "rosinality_d64")
        check(network(torch.cat([a, b, c])), "logits_b8", "rosinality_d64")


@pytest.mark.parametrize(
    ("name", "resolution", "top"),
    [("g1024", 1024, 32), ("g512", 512, 64), ("g256", 256, 128), ("g256_cm1", 256, 64)],
)
@torch.no_grad()
def test_full_size_files(tmp_path: Path, name: str, resolution: int, top: int) -> None:
    path = tmp_path / "full.pt"
    layers = 2 * resolution.bit_length() - 4
    weights = files.weights(f"rosinality_{name}")
    average = files.latent_avg(512)
    files.rosinality_file(path, weights, latent_avg=average.repeat(layers, 1) if resolution == 512 else average)
    network = checkpoints.load_generator(path)
    assert (network.resolution, network.num_ws, network.config.channels[-1]) == (resolution, layers, top)
    assert torch.equal(network.w_avg, average)
    # Every value has arrived, in the place that the table of the format notes gives it.
    back = files.to_rosinality(network.state_dict())
    assert all(torch.equal(back[key].flatten(), value.flatten()) for key, value in weights.items()
               if not key.endswith("kernel"))
    assert len(back) == sum(not key.endswith("kernel") for key in weights)


@pytest.mark.parametrize(("name", "resolution"), [("d1024", 1024), ("d256", 256)])
def test_full_size_discriminators(tmp_path: Path, name: str, resolution: int) -> None:
    weights = files.weights(f"rosinality_{name}")
    torch.save({"d": weights}, tmp_path / "d.pt")
    network = checkpoints.load_discriminator(tmp_path / "d.pt")
    assert network.resolution == resolution
    last = weights[f"convs.{resolution.bit_length() - 3}.conv2.1.weight"]
    assert torch.equal(network.state_dict()["b8.conv1.weight"], last)
