"""Fault 8: a run is not resumed with other networks than it was trained with, unless that is asked for."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from reganie_core import checkpoints, networks
from reganie_core.checkpoints import read_checkpoint, save_checkpoint
from tests import hostile
from tests.toy_stage import ToyConfig, ToyStage
from trainer import train
from trainer.frozen import Features
from trainer.loop.used import changes, networks_of


@dataclass
class Config(ToyConfig):
    generator: str = ""


class Stage(ToyStage):
    config_class = Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.modules["painter"] = self.modules.pop("G")
        self.optimizers["painter"] = self.optimizers.pop("G")
        self.painter, self.G = self.G, checkpoints.load_generator(config.generator)

    def step(self, seen: int) -> dict[str, float | torch.Tensor]:
        return {"painter": float(self.painter.weight.detach().sum())}

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        super().export(path, {**provenance, "fingerprints": {"generator": self.G.fingerprint}})


def write(path: Path, size: int = 16, change: float = 0.0) -> str:
    network = hostile.tiny_generator(size)
    network.synthesis.b4.const.add_(change)
    save_checkpoint(path, "generator", networks.describe(network), network.state_dict(), {})
    return checkpoints.load_generator(path).fingerprint


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """``go`` trains to some number of steps of a stage that trains something small with a generator."""
    monkeypatch.setattr(train, "stage_class", lambda name: Stage)
    fixed = ["batch=4", "device=cpu", f"generator={tmp_path / 'g.safetensors'}"]

    def go(steps: int, *more: str) -> tuple[int, str]:
        code = train.main(["encoder", "--out", str(tmp_path / "run"), *fixed, f"total_kimg={steps * 0.004}", *more])
        said = capsys.readouterr()
        return code, said.out + said.err

    return go


def test_another_generator_under_the_same_name(run, tmp_path: Path) -> None:
    first = write(tmp_path / "g.safetensors")
    assert run(1)[0] == 0
    second = write(tmp_path / "g.safetensors", change=0.5)
    state = (tmp_path / "run" / "state.safetensors").read_bytes()
    code, said = run(2, "--resume")
    assert code == 1
    assert f"generator '{first}' (now '{second}')" in said and "g.safetensors" in said and "--other-networks" in said
    assert (tmp_path / "run" / "state.safetensors").read_bytes() == state, "a refusal changes nothing"
    code, said = run(2, "--resume", "--other-networks")
    assert code == 0 and "as asked" in said
    made = read_checkpoint(tmp_path / "run" / "attributes.safetensors").provenance
    assert made["fingerprints"]["generator"] == second
    assert [(entry["kimg"], entry["generator"]) for entry in made["former_networks"]] == [(0.004, first)]
    assert run(3, "--resume")[0] == 0, "the second one is now the run's own"


def test_the_same_generator_elsewhere_is_the_same(run, tmp_path: Path) -> None:
    write(tmp_path / "g.safetensors")
    assert run(1)[0] == 0
    shutil.copy(tmp_path / "g.safetensors", tmp_path / "moved.safetensors")
    code, said = run(2, "--resume", f"generator={tmp_path / 'moved.safetensors'}")
    assert code == 0 and "changed options" in said


def test_runs_from_before_are_resumed(run, tmp_path: Path) -> None:
    """Their states say nothing of networks."""
    write(tmp_path / "g.safetensors")
    assert run(1)[0] == 0
    path = tmp_path / "run" / "state.safetensors"
    old = read_checkpoint(path)
    counters = {key: value for key, value in json.loads(old.provenance["counters"]).items() if "networks" not in key}
    save_checkpoint(path, "training", old.config, old.tensors, {"counters": json.dumps(counters)})
    write(tmp_path / "g.safetensors", change=0.5)
    assert run(2, "--resume")[0] == 0


def test_every_network_that_is_only_used_counts() -> None:
    class Several:
        def __init__(self) -> None:
            net = torch.nn.Identity()
            self.modules = {"E": net}
            self.E, self.G = net, torch.nn.Identity()
            self.E.fingerprint, self.G.fingerprint = "trained", "g0"
            self.features = Features(torch.nn.Identity(), "f0")
            self.editors = [Features(torch.nn.Identity(), "e0"), Features(torch.nn.Identity(), "e1")]
            self.average = None

    assert networks_of(Several()) == {"generator": "g0", "attributes": "f0", "editor": "e0+e1"}
    assert changes({"generator": "g0", "attributes": "x"}, networks_of(Several())) == ["attributes 'x' (now 'f0')"]
