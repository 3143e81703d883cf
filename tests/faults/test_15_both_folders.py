"""Fault 15: a file with an encoder and a generator is found by both loaders in both folders; kinds can be chosen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from reganie_core import checkpoints
from reganie_core.__main__ import main
from tests import checkpoint_files as files
from tests import hostile
from tests.host_stubs import call

pytest_plugins = ["tests.nodes_fixtures"]


@pytest.fixture
def models(pack: SimpleNamespace) -> Iterator[SimpleNamespace]:
    root = Path(pack.host.folder_paths.models_dir)
    folders = {name: root / name for name in ("stylegan", "reganie")}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    yield SimpleNamespace(**folders)
    for folder in folders.values():
        shutil.rmtree(folder)


def e4e_file(path: Path, G: nn.Module, **opts: str) -> Path:
    """The outline of an e4e file: names that tell what it is, a whole decoder, an encoder without most tensors."""
    shapes = {"input_layer.0.weight": (64, 3, 3, 3), "body.0.res_layer.1.weight": (1,),
              "body.23.res_layer.1.weight": (1,), "styles.0.linear.weight": (16, 16), "styles.5.linear.weight": (1,)}
    state = {f"encoder.{name}": torch.zeros(shape) for name, shape in shapes.items()}
    state |= {f"decoder.{name}": value for name, value in files.to_rosinality(G.state_dict()).items()}
    torch.save({"state_dict": state, "latent_avg": G.w_avg.repeat(6, 1), "opts": opts}, path)
    return path


def options(pack: SimpleNamespace, node: str) -> list[str]:
    return pack.nodes[node].INPUT_TYPES()["required"]["file"][1]["options"]


@pytest.mark.parametrize("folder", ["stylegan", "reganie"])
def test_both_loaders_list_it_wherever_it_lies(pack: SimpleNamespace, models: SimpleNamespace, folder: str) -> None:
    G = hostile.tiny_generator(16)
    e4e_file(getattr(models, folder) / "e4e.pt", G, encoder_type="Encoder4Editing")
    for node in ("LoadStyleGAN", "LoadE4E"):
        assert options(pack, node)[1:] == ["e4e.pt"]
        assert pack.nodes[node].VALIDATE_INPUTS(file="e4e.pt") is True
        assert pack.nodes[node].IS_CHANGED(file="e4e.pt") != "no file"
    assert options(pack, "LoadDirections")[1:] == []
    found = call(pack, "LoadStyleGAN", file="e4e.pt")[0].value
    assert torch.equal(found.synthesis.b4.const, G.synthesis.b4.const)


def test_of_the_other_folder_only_what_surely_is(pack: SimpleNamespace, models: SimpleNamespace,
                                                 tiny_domain: Path) -> None:
    shutil.copy(tiny_domain / "generator.safetensors", models.reganie / "g.safetensors")
    shutil.copy(tiny_domain / "rectifier.safetensors", models.stylegan / "r.safetensors")
    (models.reganie / "unsure.pkl").write_bytes(b"\x80\x02N.")
    (models.stylegan / "own.pkl").write_bytes(b"\x80\x02N.")
    assert options(pack, "LoadStyleGAN")[1:] == ["own.pkl", "g.safetensors"]
    assert "own.pkl" not in options(pack, "LoadE4E") and "unsure.pkl" in options(pack, "LoadE4E")
    assert "r.safetensors" not in options(pack, "LoadRectifier")


def test_one_name_in_both_folders_is_one_entry(pack: SimpleNamespace, models: SimpleNamespace) -> None:
    first, second = hostile.tiny_generator(16), hostile.tiny_generator(8)
    e4e_file(models.stylegan / "e4e.pt", first)
    e4e_file(models.reganie / "e4e.pt", second)
    assert options(pack, "LoadStyleGAN")[1:] == options(pack, "LoadE4E")[1:] == ["e4e.pt"]
    assert call(pack, "LoadStyleGAN", file="e4e.pt")[0].value.resolution == 16


def test_an_absent_file_is_asked_for_in_its_own_folder(pack: SimpleNamespace, models: SimpleNamespace) -> None:
    for node, folder in (("LoadStyleGAN", "stylegan"), ("LoadE4E", "reganie")):
        said = pack.nodes[node].VALIDATE_INPUTS(file="absent.pt")
        assert str(getattr(models, folder)) in said


def test_encoder_type_at_the_loader(pack: SimpleNamespace, models: SimpleNamespace,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    e4e_file(models.reganie / "e.pt", hostile.tiny_generator(16))
    with pytest.raises(pack.rc.ReganieError, match='encoder_type="e4e"'):
        call(pack, "LoadE4E", file="e.pt")
    choices = pack.nodes["LoadE4E"].INPUT_TYPES()["optional"]["encoder_type"][1]
    assert choices["options"] == ["as the file says", "e4e", "psp", "psp-w"]
    assert choices["default"] == "as the file says"
    asked = []

    def reader(path: Path, **given: str) -> nn.Module:
        asked.append(given)
        return nn.Identity()

    monkeypatch.setitem(pack.sub("_models").LOADERS, "encoder", reader)
    kept = [call(pack, "LoadE4E", file="e.pt", encoder_type=name)[0] for name in choices["options"]]
    assert asked == [{}, {"encoder_type": "e4e"}, {"encoder_type": "psp"}, {"encoder_type": "psp-w"}]
    assert len({id(model) for model in kept}) == 4  # not one network for all of them


@pytest.mark.parametrize(("short", "name"), [("e4e", "Encoder4Editing"), ("psp", "GradualStyleEncoder")])
def test_short_names_of_encoders(tmp_path: Path, short: str, name: str) -> None:
    path = e4e_file(tmp_path / "e.pt", hostile.tiny_generator(16))
    part = checkpoints.loading.choose(checkpoints.loading.open_source(path), "encoder", short)
    assert part.config["type"] == name


def test_convert_takes_the_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    G = hostile.tiny_generator(16)
    path = e4e_file(tmp_path / "e4e.pt", G)
    assert main(["convert", str(path), str(tmp_path / "g.safetensors"), "--kind", "generator"]) == 0
    assert "(generator," in capsys.readouterr().out
    assert torch.equal(checkpoints.load_generator(tmp_path / "g.safetensors").w_avg, G.w_avg)
    assert main(["convert", str(path), str(tmp_path / "e.safetensors")]) == 1
    assert "--encoder-type" in capsys.readouterr().err
    assert main(["convert", str(path), str(tmp_path / "e.safetensors"), "--encoder-type", "e4e"]) == 1
    said = capsys.readouterr().err  # of this outline: now it is known what is missing
    assert "Encoder4Editing" in said and "missing" in said
    assert main(["convert", str(path), str(tmp_path / "d.safetensors"), "--kind", "directions"]) == 1
    assert "not 'directions'" in capsys.readouterr().err
    assert main(["convert", str(path), str(tmp_path / "d.safetensors"), "--kind", "nonsense"]) == 2
