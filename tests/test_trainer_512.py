"""Every shipped 512 px config checks itself and starts on public files, found where the config says they lie.

Quick: synthetic files of small networks at 64 px. `-m soak`: the real sizes, nothing overridden but the device.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import reganie_core as rc
from reganie_core.checkpoints import save_checkpoint
from reganie_core.images import save_image
from reganie_core.networks import build, describe
from tests import checkpoint_files as files
from tests.trainer_files import one_thread  # noqa: F401
from trainer import train

pytestmark = pytest.mark.filterwarnings("ignore:No editor")
CONFIGS = sorted((Path(__file__).parents[1] / "trainer" / "configs").glob("*-512/*.json"))
SMALL = {"encoder": ["encoder_type=light", "identity=", "batch=4"],
         "rectifier": ["resolution=64", "encoder_channels=8,12,16", "body_channels=16", "body_blocks=1", "gl_dim=16",
                       "decoder_channels=12,8", "sp_channels=8", "gl_channels=16", "d_channels=8,8,8,8,8", "batch=4"]}


def write_pictures(folder: Path, size: int) -> None:
    folder.mkdir(parents=True)
    random = torch.Generator().manual_seed(0)
    for number in range(4):
        coarse = torch.rand(1, 3, 8, 8, generator=random) * 2 - 1
        picture = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
        save_image(picture, folder / f"{number}.png")


def write_shared(root: Path) -> None:
    """LPIPS as torchvision and its authors publish it."""
    (root / "weights" / "lpips").mkdir(parents=True)
    tensors = files.weights("lpips_vgg")
    for name, prefix in (("vgg16-397923af.pth", "features"), ("lpips_vgg.pth", "lin")):
        torch.save({k: v for k, v in tensors.items() if k.startswith(prefix)}, root / "weights" / "lpips" / name)


def write_editor(root: Path, generator: torch.nn.Module) -> None:
    """Directions as encoder4editing publishes them: 18 equal rows, for a generator with fewer."""
    (root / "weights" / "e4e").mkdir()
    for name in ("age", "pose", "smile"):
        torch.save(torch.randn(1, generator.w_dim).repeat(18, 1), root / "weights" / "e4e" / f"{name}.pt")


def place(root: Path, names: list[str], generator: Path, encoder: Path, size: int) -> None:
    """The files where the configs of these folders look for them."""
    for name in names:
        for source, target in ((generator, f"weights/{name}/generator.pkl"),
                               (encoder, f"runs/{name}/encoder/encoder.safetensors")):
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            os.link(source, root / target)
        write_pictures(root / "data" / name, size)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("public")
    generator = files.nvidia_file(root / "g.pkl", G_ema=files.nvidia_generator(files.weights("nvada_g64_map2")))
    G = rc.load_generator(generator)
    E = build("encoder", {"type": "LightEncoder", "input_resolution": 64, "num_ws": G.num_ws, "w_dim": G.w_dim,
                          "channels": [8] * 5, "tap_channels": 8, "features": 8})
    save_checkpoint(root / "e.safetensors", "encoder", describe(E), E.state_dict(), {})
    place(root, ["ffhq-512"], generator, root / "e.safetensors", 64)
    write_shared(root)
    write_editor(root, G)
    return root


def preflight(path: Path, root: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.chdir(root)
    assert train.main([path.stem, "--config", str(path), "--out", str(out), "--preflight", "device=cpu", "threads=1",
                       *options]) == 0


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_configs_start_on_small_public_files(path: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    preflight(path, small, tmp_path / "run", monkeypatch, *SMALL[path.stem])
    assert "preflight: " in capsys.readouterr().out
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["config.json"]


def test_every_domain_has_an_encoder_stage_for_its_rectifier() -> None:
    for path in (p for p in CONFIGS if p.stem == "rectifier"):
        config = json.loads(path.read_text())
        domain = Path(config["generator"]).parts[1]
        encoder = json.loads((path.parents[1] / domain / "encoder.json").read_text())
        assert encoder["generator"] == config["generator"] and encoder["encoder_type"] == "e4e"
        assert config["encoder"] == f"runs/{domain}/encoder/encoder.safetensors"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of the published sizes: StyleGAN2 at 512, e4e, LPIPS, ArcFace."""
    root = tmp_path_factory.mktemp("published")
    attributes: dict[str, Any] = {"mapping": {"num_ws": 16, "lr_multiplier": 0.01},
                                  "": {"z_dim": 512, "img_resolution": 512}}
    network = files.nvidia_network(files.weights("nvada_g512_paper512"), "Generator", attributes,
                                   {"conv_clamp": 256, "use_fp16": False})
    generator = files.nvidia_file(root / "g.pkl", G_ema=network)
    E = build("encoder", {"type": "Encoder4Editing", "num_ws": 16, "w_dim": 512})
    save_checkpoint(root / "e.safetensors", "encoder", describe(E), E.state_dict(), {})
    place(root, ["ffhq-512"], generator, root / "e.safetensors", 512)
    write_shared(root)
    torch.save(files.weights("arcface_ir_se50"), root / "weights" / "model_ir_se50.pth")
    write_editor(root, rc.load_generator(generator))
    return root


@pytest.mark.soak
@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_configs_start_at_their_real_size(path: Path, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    preflight(path, large, tmp_path / "run", monkeypatch)
    with capsys.disabled():
        print(capsys.readouterr().out)
