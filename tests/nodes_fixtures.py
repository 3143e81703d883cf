"""Fixtures of the node tests: the pack loaded against stand-ins, with the tiny domain as the packaged one."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.host_stubs import host_modules, load_pack


@pytest.fixture(scope="session")
def loaded_pack(tmp_path_factory: pytest.TempPathFactory, tiny_domain: Path) -> SimpleNamespace:
    """.nodes (the mapping), .rc (the pack's own copy of the core), .host, .sub(name) (a file of nodes/)."""
    base = tmp_path_factory.mktemp("comfy")
    host = host_modules(base)
    module = load_pack(host)
    rc = importlib.import_module(module.__name__ + ".reganie_core")
    rc.domains.PACKAGED.clear()
    rc.domains.PACKAGED["portraits"] = tiny_domain
    return SimpleNamespace(
        module=module,
        nodes=module.NODE_CLASS_MAPPINGS,
        rc=rc,
        host=host,
        base=base,
        sub=lambda name: importlib.import_module(f"{module.__name__}.nodes.{name}"),
    )


@pytest.fixture
def pack(loaded_pack: SimpleNamespace) -> Iterator[SimpleNamespace]:
    """The loaded pack with a clean record of what the host saw."""
    state = loaded_pack.host.state
    state.loads.clear(), state.bars.clear(), state.notices.clear()
    state.cancel = False
    yield loaded_pack
    state.cancel = False


def add_dystyle(folder: Path, seed: int = 0) -> Path:
    """Give a tiny domain a DyStyle editor of random weights, with the controls of its directions."""
    from reganie_core import load_domain, networks
    from reganie_core.checkpoints import save_checkpoint

    domain = load_domain(folder)
    controls = domain.directions.controls
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = networks.build("dystyle", {
            "type": "DyStyle", "num_ws": domain.generator.num_ws, "w_dim": domain.generator.w_dim,
            "names": [c.name for c in controls], "kinds": [c.kind for c in controls], "mean": [0.0] * len(controls),
            "std": [1.0] * len(controls), "reader": 8, "trunk": 8, "expert": 8, "bank": 2, "attention": 4,
        })
        network.experts.direction.data.normal_().mul_(0.1)
    config = {**networks.describe(network), "controls": [c.to_dict() for c in controls]}
    save_checkpoint(folder / "dystyle.safetensors", "dystyle", config, network.state_dict(), {"command": "tests"})
    manifest = json.loads((folder / "domain.json").read_text())
    (folder / "domain.json").write_text(json.dumps(manifest | {"dystyle": "dystyle.safetensors"}))
    return folder


@pytest.fixture(scope="session")
def edit_domain(tmp_path_factory: pytest.TempPathFactory, tiny_domain: Path) -> Path:
    """The tiny domain with a DyStyle editor; read only."""
    return add_dystyle(Path(shutil.copytree(tiny_domain, tmp_path_factory.mktemp("edits") / "tiny")))
