"""Fault 5: class-conditional generators are usable: a class where one is given, the mean over classes otherwise."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import nn

import reganie_core as rc
from reganie_core import checkpoints, networks
from reganie_core.editing.ganspace import ganspace
from reganie_core.editing.sefa import sefa
from reganie_core.errors import InputError, MismatchError, UnsupportedCheckpointError
from reganie_core.inversion import invert_with
from tests import checkpoint_files as files
from tests.host_stubs import call
from trainer.classes import map_random
from trainer.loop.config import build
from trainer.stages.directions import DirectionsStage, DirectionsStageConfig
from trainer.stages.encoder import EncoderStage, EncoderStageConfig

pytest_plugins = ["tests.nodes_fixtures"]
CLASSES = 5


@pytest.fixture(scope="module")
def G() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = networks.build("generator", {
            "type": "Generator", "resolution": 16, "channels": [8] * 3, "z_dim": 16, "w_dim": 16, "c_dim": CLASSES,
            "embed_features": 16, "mapping_layers": 2})
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def path(G: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files.nvidia_file(tmp_path_factory.mktemp("g") / "cifar.pkl",
                             G_ema=files.nvidia_generator(G.state_dict(), None))


def test_the_mean_over_classes_and_one_class(G: nn.Module) -> None:
    z = torch.randn(3, 16)
    each = [G.mapping(z, torch.eye(CLASSES)[k].expand(3, -1)) for k in range(CLASSES)]
    torch.testing.assert_close(G.mapping(z), torch.stack(each).mean(0))
    torch.testing.assert_close(G.mapping(z, 3), each[3])
    assert not torch.allclose(each[3], each[2], atol=1e-4)
    assert G(z).shape == (3, 3, 16, 16)
    for number in (-1, CLASSES):
        with pytest.raises(InputError, match="classes 0 to 4"):
            G.mapping(z, number)
    with pytest.raises(MismatchError, match=r"\[B,5\]"):
        G.mapping(z, torch.zeros(3, 4))
    plain = networks.build("generator", {"type": "Generator", "resolution": 8, "channels": [8] * 2, "z_dim": 16,
                                         "w_dim": 16, "mapping_layers": 1})
    with pytest.raises(InputError, match="no classes"):
        plain.mapping(z, 0)


def test_the_nodes(pack: SimpleNamespace, path: Path) -> None:
    wire = pack.sub("_models").load("generator", path, "cifar.pkl")
    mean = call(pack, "SampleLatent", generator=wire, seed=1, truncation_psi=1.0)[0]
    one = call(pack, "SampleLatent", generator=wire, seed=1, truncation_psi=1.0, class_index=2)[0]
    z = torch.randn(1, 16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(one.ws, wire.value.mapping(z, 2))
    torch.testing.assert_close(mean.ws, wire.value.mapping(z))
    assert call(pack, "Synthesize", generator=wire, latent=one)[0].shape == (1, 16, 16, 3)
    with pytest.raises(pack.rc.errors.InputError, match="classes 0 to 4"):
        call(pack, "SampleLatent", generator=wire, seed=1, class_index=9)
    assert pack.nodes["SampleLatent"].INPUT_TYPES()["optional"]["class_index"][1]["default"] == -1


def test_inversion_and_directions(path: Path) -> None:
    G = rc.load_generator(path)
    settings = rc.inversion.ProjectionSettings(steps=2)
    found = invert_with("w", G, torch.zeros(1, 3, 16, 16), settings=settings)
    assert found.latent.ws.isfinite().all()
    components = ganspace(G, count=4, samples=2000)
    w = G.mapping.w(torch.randn(2000, 16, generator=torch.Generator().manual_seed(5)))
    assert (components.mean - w.mean(0)).norm() < 0.2 * w.std(0).norm()
    assert sefa(G, count=3)[0].shape == (3, G.num_ws, 16)


def test_training_draws_every_class(G: nn.Module) -> None:
    z = torch.randn(CLASSES, 16)
    drawn = map_random(G, z, lambda: torch.arange(CLASSES) / CLASSES + 0.01)
    torch.testing.assert_close(drawn, torch.cat([G.mapping.w(z[k : k + 1], k) for k in range(CLASSES)]))


@pytest.mark.filterwarnings("ignore::reganie_core.errors.ReganieWarning")
def test_the_stages(path: Path, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for i in range(4):
        Image.effect_noise((16, 16), 60).convert("RGB").save(tmp_path / "p" / f"{i}.png")
    quick = ["batch=4", "device=cpu", f"generator={path}"]
    stage = EncoderStage(build(EncoderStageConfig, None, [
        *quick, f"images={tmp_path / 'p'}", "latent_weight=0.1"]))
    assert all(torch.as_tensor(value).isfinite() for value in stage.step(0).values())
    found = DirectionsStage(build(DirectionsStageConfig, None, [*quick, "method=sefa"]))
    found.sheet(tmp_path / "sheet.png")
    assert found.directions()


def test_in_rosinalitys_names(G: nn.Module, tmp_path: Path) -> None:
    renamed = files.to_rosinality(G.state_dict())
    assert renamed["style.1.weight"].shape == (16, 32)  # z and the embedded class
    without = {name: value for name, value in renamed.items() if "embed" not in name}
    path = files.rosinality_file(tmp_path / "g.pt", without, latent_avg=G.w_avg)
    with pytest.raises(UnsupportedCheckpointError, match="class-conditional"):
        checkpoints.load_generator(path)
    embed = {f"mapping.embed.{name}": getattr(G.mapping.embed, name) for name in ("weight", "bias")}
    files.rosinality_file(path, {**without, **embed}, latent_avg=G.w_avg)
    loaded = checkpoints.load_generator(path)
    z = torch.randn(2, 16)
    assert (loaded.z_dim, loaded.c_dim) == (16, CLASSES)
    assert torch.equal(loaded(z, 1), G(z, 1))
