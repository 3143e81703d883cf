"""What every test shares: no network, and one tiny domain with random weights."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

os.environ.setdefault("REGANIE_PRECISION", "float32")   # the same numbers on every processor
TINY_RESOLUTION = 32
TINY_CONTROLS = [
    {"name": "yaw", "kind": "numeric", "minimum": -40.0, "maximum": 40.0, "unit": "degrees", "default": 0.0,
     "description": "Turn of the head."},
    {"name": "age", "kind": "numeric", "minimum": -1.0, "maximum": 1.0},
    {"name": "smile", "kind": "numeric", "minimum": -1.0, "maximum": 1.0},
    {"name": "glasses", "kind": "binary", "minimum": 0.0, "maximum": 1.0},
]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt to reach another machine fails the test that makes it."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: object) -> None:
        if self.family in (getattr(socket, "AF_UNIX", None),) or str(address[0]) in ("127.0.0.1", "::1"):  # type: ignore[index]
            return real(self, address)  # type: ignore[arg-type]
        raise AssertionError(f"A test tried to connect to {address}.")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect)


def make_tiny_networks(seed: int = 0, resolution: int = TINY_RESOLUTION) -> SimpleNamespace:
    """Random networks that fit together: generator, encoder, rectifier, and directions as tensors."""
    from reganie_core import networks

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        levels = resolution.bit_length() - 2  # sizes 4, 8, ..., resolution
        generator = networks.build("generator", {
            "type": "Generator", "resolution": resolution, "channels": [12] * levels, "z_dim": 16, "w_dim": 16,
            "mapping_layers": 2,
        })
        encoder = networks.build("encoder", {
            "type": "LightEncoder", "input_resolution": resolution, "num_ws": generator.num_ws, "w_dim": 16,
            "channels": [8] * levels, "tap_channels": 8, "features": 16,
        })
        rectifier = networks.build("rectifier", {
            "type": "Rectifier", "resolution": resolution, "encoder_channels": [8, 12, 16], "body_channels": 16,
            "body_blocks": 1, "decoder_channels": [12, 8], "sp_channels": 8, "gl_channels": [16], "gl_dim": 16,
        })
        for parameter in rectifier.parameters():  # some start at zero, which would make every picture Y^
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        directions = {f"direction.{c['name']}": 0.1 * torch.randn(generator.num_ws, 16) for c in TINY_CONTROLS}
    for network in (generator, encoder, rectifier):
        network.eval().requires_grad_(False)
    return SimpleNamespace(generator=generator, encoder=encoder, rectifier=rectifier, directions=directions)


def write_tiny_domain(folder: Path, seed: int = 0, resolution: int = TINY_RESOLUTION) -> Path:
    """Save :func:`make_tiny_networks` as a domain folder with one example picture."""
    from reganie_core import networks
    from reganie_core.checkpoints import fingerprint, save_checkpoint
    from reganie_core.images import save_image

    nets = make_tiny_networks(seed, resolution)
    folder.mkdir(parents=True, exist_ok=True)
    prints = {kind: fingerprint(getattr(nets, kind).state_dict()) for kind in ("generator", "encoder")}
    for kind in ("generator", "encoder", "rectifier"):
        network = getattr(nets, kind)
        provenance = {"command": "tests", "fingerprints": prints if kind == "rectifier" else {}}
        save_checkpoint(folder / f"{kind}.safetensors", kind, networks.describe(network), network.state_dict(),
                        provenance)
    save_checkpoint(folder / "directions.safetensors", "directions", {"controls": TINY_CONTROLS, "space": "w+"},
                    nets.directions, {"command": "tests"})
    (folder / "examples").mkdir(exist_ok=True)
    ramp = torch.linspace(-1, 1, resolution)
    across = ramp.expand(resolution, -1)
    picture = torch.stack([across.T, across, -across])
    save_image(picture, folder / "examples" / "one.png")
    manifest = {"format_version": "1", "name": "tiny", "resolution": resolution, "examples": ["examples/one.png"],
                **{kind: f"{kind}.safetensors" for kind in ("generator", "encoder", "directions", "rectifier")}}
    (folder / "domain.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="session")
def tiny_networks() -> SimpleNamespace:
    """Random networks in memory: .generator .encoder .rectifier .directions; do not modify them."""
    return make_tiny_networks()


@pytest.fixture(scope="session")
def tiny_domain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A domain folder with random weights at 32 px; read only."""
    return write_tiny_domain(tmp_path_factory.mktemp("domain") / "tiny")


@pytest.fixture(scope="session")
def make_domain() -> Callable[..., Path]:
    """``make_domain(folder, seed=0, resolution=32)`` writes another domain."""
    return write_tiny_domain


@pytest.fixture(scope="session")
def make_networks() -> Callable[..., SimpleNamespace]:
    """``make_networks(seed=0, resolution=32)`` gives other random networks."""
    return make_tiny_networks
