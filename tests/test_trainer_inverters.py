"""The stages of ReStyle, HFGI and HyperStyle on tiny random networks: they learn, export, and their files invert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import reganie_core as rc
from reganie_core.inversion import load_inverter
from tests.trainer_files import write_attributes
from trainer.compare.hfgi import bent
from trainer.loop.config import build as build_config
from trainer.stages import stage_class

SMALL = {
    "restyle": ["iterations=2"], "hfgi": ["lr=0.001"], "hyperstyle": ["iterations=2"],
}


def make(name: str, options: list[str], *more: str) -> Any:
    """The stage with these options and its own; ReStyle has no encoder."""
    cls = stage_class(name)
    own = [o for o in options if name != "restyle" or not o.startswith("encoder=")]
    return cls(build_config(cls.config_class, None, [*own, *SMALL[name], *more]))


@pytest.fixture
def options(tiny_domain: Any, tmp_path: Path) -> list[str]:
    """Options naming the files of the tiny domain, a small attribute network and a few pictures."""
    write_attributes(tmp_path / "attributes.safetensors")
    return [f"generator={Path(tiny_domain) / 'generator.safetensors'}", f"data={tmp_path / 'data'}",
            f"encoder={Path(tiny_domain) / 'encoder.safetensors'}", "device=cpu", "data_count=8", "batch=4",
            f"attributes={tmp_path / 'attributes.safetensors'}", "lr=0.01", "ema_kimg=0.001"]


@pytest.mark.parametrize("name", SMALL)
def test_stage_learns_and_its_file_inverts(name: str, options: list[str], tmp_path: Path) -> None:
    stage = make(name, options)
    first = stage.validate()
    terms = [stage.step(0) for _ in range(12)]          # one batch, over and over
    assert all(torch.isfinite(torch.as_tensor(v)).all() for t in terms for v in t.values())
    assert float(terms[-1]["l2"]) < 0.97 * float(terms[0]["l2"])
    assert stage.validate() != first
    stage.export(tmp_path / f"{name}.safetensors", {"command": "tests"})
    stage.sheet(tmp_path / "sheet.png")
    inverter = load_inverter(tmp_path / f"{name}.safetensors", encoder=stage.E)
    x = stage.data.batch(torch.arange(2))
    found = inverter(stage.G, x)
    again = stage.inverter()(stage.G, x)
    assert (found.inversion - again.inversion).abs().max() < 0.05        # the file is in half precision
    assert inverter.provenance["fingerprints"]["generator"] == stage.G.fingerprint


def test_untrained_methods_start_from_the_plain_inversion(options: list[str]) -> None:
    for name in ("hfgi", "hyperstyle"):
        stage = make(name, options)
        x = stage.data.batch(torch.arange(2))
        plain = rc.inversion.invert_with("e4e", stage.G, x, encoder=stage.E).inversion
        assert torch.allclose(stage.inverter()(stage.G, x).inversion, plain, atol=1e-5), name


def test_bent_pictures() -> None:
    """Rate 0 moves nothing; otherwise what is inside stays inside, each picture by itself, and it repeats."""
    random = torch.Generator().manual_seed(0)
    x = torch.rand(3, 3, 32, 32, generator=random) + 1
    assert torch.allclose(bent(x, 0.15, 0.0, random), x, atol=1e-4)
    a, b = (bent(x, 0.3, 1.0, torch.Generator().manual_seed(5)) for _ in "ab")
    assert torch.equal(a, b) and not torch.allclose(a, x, atol=0.1)
    assert (a[:, :, 16, 16] > 0.9).all() and a.min() == 0 and a.max() <= x.max() + 1e-5
    corner = bent(torch.ones(64, 1, 32, 32), 0.5, 1.0, random)[:, 0, 0, 0]
    assert (corner < 0.5).float().mean() > 0.8              # corners are moved inwards, not outwards


def test_configs_of_the_portraits_name_known_options() -> None:
    folder = Path(__file__).parents[1] / "trainer" / "configs" / "portraits-128"
    for name in SMALL:
        cls = stage_class(name)
        config = build_config(cls.config_class, folder / f"{name}.json", ["device=cpu"])
        assert json.loads((folder / f"{name}.json").read_text())["generator"] == config.generator
