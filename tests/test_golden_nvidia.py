"""NVIDIA's networks: outputs of the original code on synthetic weights, through real ``.pkl`` files."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

from reganie_core import checkpoints
from tests import checkpoint_files as files


def load(folder: Path, name: str, protocol: int, clamp: float | None) -> nn.Module:
    path = folder / f"{name}.pkl"
    network = files.nvidia_generator(files.weights(name), clamp)
    files.nvidia_file(path, protocol, G_ema=network)
    return checkpoints.load_generator(path)


@pytest.mark.parametrize(
    ("name", "protocol", "clamp"), [("nvada_g64", 2, 256), ("nvada_g64", 4, None), ("nvada_g64_clamp", 4, 2.0)]
)
@torch.no_grad()
def test_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, protocol: int, clamp: float | None
) -> None:
    monkeypatch.chdir(tmp_path)
    network = load(tmp_path, name, protocol, clamp)
    assert network.config.clamp == clamp
    stored = files.golden(name)

    def check(found: torch.Tensor, key: str) -> None:
        assert files.error_over_scale(found, stored, key) <= 1.0, key

    z = files.given("nvz", 2, 512)
    ws = network.mapping(z)
    check(ws[:, 0], "ws")
    check(network.mapping(z, truncation_psi=0.7)[:, 0], "ws_psi07")
    check(network.mapping(z, truncation_psi=0.7, truncation_cutoff=4), "ws_psi07_cutoff4")
    for noise, psi in itertools.product(("const", "none"), (1, 0.7)):
        check(network.synthesis(network.mapping(z, truncation_psi=psi), noise=noise), f"img_{noise}_psi{psi}")
    check(network.synthesis(ws + 0.1 * files.given("nvwplus", 2, 10, 512), noise="const"), "img_wplus_const")
    assert not (tmp_path / "executed_module_src").exists()


@torch.no_grad()
def test_discriminator(tmp_path: Path) -> None:
    network = files.nvidia_discriminator(files.weights("nvada_d64"))
    loaded = checkpoints.load_discriminator(files.nvidia_file(tmp_path / "d.pkl", D=network))
    assert (loaded.config.clamp, loaded.config.mbstd_group) == (256, 4)
    images = [torch.from_numpy(files.fill.make_image(name, (2, 3, 64, 64))) for name in ("d64a", "d64b")]
    assert files.error_over_scale(loaded(torch.cat(images)), files.golden("nvada_d64"), "logits_b4") <= 1.0


@pytest.mark.parametrize(
    ("name", "resolution", "layers"),
    [("nvada_g1024_ffhq", 1024, 8), ("nvada_g512_paper512", 512, 8), ("nvada_g256_paper256", 256, 8),
     ("nvada_g64_map2", 64, 2), ("nvada_g64_full", 64, 8), ("nvada_g32_cond10", 32, 2)],
)
@torch.no_grad()
def test_other_sizes(tmp_path: Path, name: str, resolution: int, layers: int) -> None:
    network = load(tmp_path, name, 4, 256)
    assert (network.resolution, network.config.mapping_layers) == (resolution, layers)
    weights = {key: value for key, value in files.weights(name).items() if not key.endswith("resample_filter")}
    found = network.state_dict()
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], value) for key, value in weights.items())
    if resolution <= 64:
        labels = torch.eye(10)[:1] if network.c_dim else None
        assert torch.isfinite(network(files.given("nvz", 1, 512), labels)).all()
