"""A generator that starts from a narrower one shows the same pictures, and its new channels learn."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from reganie_core.checkpoints import save_checkpoint
from reganie_core.errors import InputError, MismatchError
from reganie_core.networks.stylegan2 import Generator, GeneratorConfig
from trainer.loop.config import build
from trainer.stages.generator import GeneratorStage, GeneratorStageConfig
from trainer.stages.widening import widen


@pytest.fixture
def narrow(tmp_path: Path) -> tuple[Generator, str]:
    torch.manual_seed(0)
    config = GeneratorConfig(32, (8, 8, 12, 6), 16, 16, mapping_layers=2)
    net = Generator(config)
    path = tmp_path / "narrow.safetensors"
    save_checkpoint(path, "generator", {"type": "Generator", **asdict(config)}, net.state_dict(), {})
    return net, str(path)


@pytest.mark.parametrize("channels", [(8, 8, 12, 6), (16, 8, 12, 6), (8, 8, 12, 12), (12, 16, 20, 10)])
def test_pictures_hardly_change(narrow: tuple[Generator, str], channels: tuple[int, ...]) -> None:
    net, path = narrow
    torch.manual_seed(1)
    wide = Generator(GeneratorConfig(32, channels, 16, 16, mapping_layers=2))
    widen(wide, path)
    z = torch.randn(6, 16)
    with torch.no_grad():
        ws = net.mapping(z)
        assert torch.equal(wide.mapping(z), ws)
        before, after = net.synthesis(ws, noise="const"), wide.synthesis(ws, noise="const")
    if channels == net.synthesis.config.channels:
        assert torch.equal(before, after)
    assert (after - before).square().mean() < 0.02 * before.var()


def test_what_is_not_narrower_is_refused(narrow: tuple[Generator, str]) -> None:
    for config in (GeneratorConfig(32, (8, 8, 8, 6), 16, 16, mapping_layers=2),
                   GeneratorConfig(64, (8, 8, 12, 6, 6), 16, 16, mapping_layers=2),
                   GeneratorConfig(32, (8, 8, 12, 6), 16, 24, mapping_layers=2),
                   GeneratorConfig(32, (8, 8, 12, 6), 16, 16, mapping_layers=3)):
        with pytest.raises(MismatchError, match="widen_from"):
            widen(Generator(config), narrow[1])


def test_the_stage_trains_on_from_there(narrow: tuple[Generator, str], tmp_path: Path) -> None:
    options = ["resolution=32", "channels=12,12,16,8", "w_dim=16", "mapping_layers=2", "mapping_lr=0.01", "batch=4",
               "data_count=12", f"data={tmp_path / 'data'}", f"widen_from={narrow[1]}", "frozen=mapping",
               "grow_warmup_kimg=0"]
    stage = GeneratorStage(build(GeneratorStageConfig, None, options))
    new = stage.G.synthesis.b32.conv1.weight[:6, 6:].detach().clone()
    assert 0 < new.std() < 0.2
    stage.step(0)
    assert (stage.G.synthesis.b32.conv1.weight[:6, 6:] != new).all()
    with pytest.raises(InputError, match="starts from one file"):
        build(GeneratorStageConfig, None, [*options, "init_from=x.safetensors"])
