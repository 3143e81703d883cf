"""Names from graphs are data: what the lists offer, what is accepted, and what is refused with a useful sentence."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.host_stubs import call, host_modules, load_pack

pytest_plugins = ["tests.nodes_fixtures"]

PACKAGED = "portraits (packaged)"
LOADERS = {"LoadStyleGAN": "stylegan", "LoadE4E": "reganie", "LoadDirections": "reganie", "LoadRectifier": "reganie"}
HOSTILE = [
    "../secret.pt",
    "a/../../secret.pt",
    "/etc/passwd.pt",
    "C:\\secret.pt",
    "..\\secret.pt",
    "sub/\x00.pt",
    "~/../x.pt",
    "",
]


@pytest.fixture
def models(pack: SimpleNamespace):
    """models/stylegan and models/reganie of the stand-in host, emptied afterwards."""
    root = Path(pack.host.folder_paths.models_dir)
    folders = {name: root / name for name in ("stylegan", "reganie")}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    yield SimpleNamespace(**folders, root=root)
    for folder in folders.values():
        shutil.rmtree(folder)


def _options(pack: SimpleNamespace, node: str, name: str = "file") -> list[str]:
    types = pack.nodes[node].INPUT_TYPES()
    return (types["required"] | types.get("optional", {}))[name][1]["options"]


def _copy(source: Path, target: Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
    return target.name


@pytest.mark.parametrize("node", LOADERS)
def test_an_empty_folder_offers_the_packaged_model_and_says_where_files_go(pack, node):
    assert _options(pack, node) == [PACKAGED]
    folder = str(Path(pack.host.folder_paths.models_dir) / LOADERS[node])
    sentence = pack.nodes[node].VALIDATE_INPUTS(file="not-there.pt")
    assert "not-there.pt" in sentence and folder in sentence and ".safetensors" in sentence
    wrong = pack.nodes[node].VALIDATE_INPUTS(file="picture.png")
    assert "accepted are" in wrong and folder in wrong
    assert pack.nodes[node].VALIDATE_INPUTS(file=PACKAGED) is True


def test_without_packaged_weights_the_lists_survive_and_the_nodes_explain(pack, monkeypatch, tmp_path):
    monkeypatch.setitem(pack.rc.domains.PACKAGED, "portraits", tmp_path / "nowhere")
    for cls in pack.nodes.values():
        cls.INPUT_TYPES()
    assert "domain.json is missing" in pack.nodes["LoadStyleGAN"].VALIDATE_INPUTS(file=PACKAGED)
    with pytest.raises(pack.rc.errors.NotFoundError):
        call(pack, "LoadReGANIE", domain=PACKAGED)


def test_the_lists_sort_files_by_what_they_hold(pack, models, tiny_domain):
    _copy(tiny_domain / "generator.safetensors", models.stylegan / "mine" / "g.safetensors")
    _copy(tiny_domain / "encoder.safetensors", models.stylegan / "e.safetensors")
    for kind in ("encoder", "directions", "rectifier"):
        _copy(tiny_domain / f"{kind}.safetensors", models.reganie / f"{kind[:3]}.safetensors")
    (models.reganie / "e4e_ffhq_encode.pt").write_bytes(b"x")
    (models.reganie / "notes.txt").write_text("no model")
    (models.stylegan / ".hidden.pkl").write_bytes(b"x")
    (models.reganie / "torn.safetensors").write_bytes(b"not a header")
    assert _options(pack, "LoadStyleGAN") == [PACKAGED, "mine/g.safetensors"]
    unsure = [
        "e4e_ffhq_encode.pt",
        "torn.safetensors",
    ]  # named in every list; what is in them is said when they are loaded
    for node, name in (("LoadE4E", "enc"), ("LoadDirections", "dir"), ("LoadRectifier", "rec")):
        other = {"e.safetensors"} if node == "LoadE4E" else set()  # an encoder is found in either folder
        assert set(_options(pack, node)) == {PACKAGED, f"{name}.safetensors", *unsure, *other}
        assert pack.nodes[node].VALIDATE_INPUTS(file=f"{name}.safetensors") is True
        assert call(pack, node, file=f"{name}.safetensors")[0].label == f"{name}.safetensors"
    assert _options(pack, "E4EInvert", "encoder_name") == _options(pack, "LoadE4E")
    assert _options(pack, "DirectionEdit", "direction") == ["yaw", "age", "smile", "glasses"]
    with pytest.raises(pack.rc.ReganieError):
        call(pack, "LoadStyleGAN", file="e.safetensors")
    with pytest.raises(pack.rc.ReganieError):
        call(pack, "LoadRectifier", file="torn.safetensors")


@pytest.mark.parametrize("controls", [5, "yaw", [5], [{"name": ["x"]}], [{"name": f"c{i}"} for i in range(5000)]])
def test_odd_controls_take_no_list_away(pack, models, controls):
    directions = {"direction.a": torch.zeros(1, 16)}
    pack.rc.checkpoints.save_checkpoint(models.reganie / "d.safetensors", "directions", {"controls": controls},
                                        directions, {})
    names = _options(pack, "DirectionEdit", "direction")
    assert 0 < len(names) <= 1000 and all(isinstance(name, str) for name in names)


def test_public_files_are_sorted_as_well(pack, models):
    torch.save(torch.randn(8, 16), models.reganie / "beard.pt")
    np.save(models.reganie / "hair.npy", np.ones((1, 16), np.float32))
    torch.save({"something": torch.zeros(3)}, models.reganie / "else.pt")
    assert set(_options(pack, "LoadDirections")) == {PACKAGED, "beard.pt", "hair.npy", "else.pt"}
    assert _options(pack, "LoadE4E") == [PACKAGED, "else.pt"]  # nothing reads it; choosing it tells why
    assert {"beard", "hair"} < set(_options(pack, "DirectionEdit", "direction"))
    wires = call(pack, "LoadReGANIE", domain=PACKAGED)
    latent = call(pack, "SampleLatent", generator=wires[0], seed=0)[0]
    edit = {"generator": wires[0], "latent": latent, "strength": 2.0, "layers": "all"}
    moved = call(pack, "DirectionEdit", direction="hair", editor_name="hair.npy", **edit)[0]
    torch.testing.assert_close(moved.ws, latent.ws + 2.0)
    with pytest.raises(pack.rc.ReganieError, match="not read here"):
        call(pack, "LoadE4E", file="else.pt")


def test_a_domain_folder_of_the_users(pack, models, tiny_domain):
    shutil.copytree(tiny_domain, models.reganie / "people" / "tiny")
    assert _options(pack, "LoadReGANIE", "domain") == [PACKAGED, "people/tiny"]
    assert pack.nodes["LoadReGANIE"].VALIDATE_INPUTS(domain="people/tiny") is True
    wires = call(pack, "LoadReGANIE", domain="people/tiny")
    assert wires[0].value.resolution == 32
    assert "There is no folder 'gone'" in pack.nodes["LoadReGANIE"].VALIDATE_INPUTS(domain="gone")


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_leave_the_folder_are_refused_everywhere(pack, models, name):
    (models.root / "secret.pt").write_bytes(b"x")
    for node in LOADERS:
        assert isinstance(pack.nodes[node].VALIDATE_INPUTS(file=name), str)
        with pytest.raises(pack.rc.ReganieError):
            call(pack, node, file=name)
    for node, inputs in (
        ("E4EInvert", {"encoder_name": name}),
        ("Rectify", {"rectifier_name": name}),
        ("LoadReGANIE", {"domain": name}),
        ("PortraitExample", {"example": name}),
    ):
        assert isinstance(pack.nodes[node].VALIDATE_INPUTS(**inputs), str)
    with pytest.raises(pack.rc.ReganieError):
        call(pack, "LoadReGANIE", domain=name)
    with pytest.raises(pack.rc.ReganieError):
        call(pack, "PortraitExample", example=name)


def test_values_that_are_no_names_get_a_sentence(pack):
    for value in (None, 3, ["a", "b", "c"], {"a": 1}, "x" * 10_000):
        for node in LOADERS:
            assert isinstance(pack.nodes[node].VALIDATE_INPUTS(file=value), str)
        assert isinstance(pack.nodes["LoadReGANIE"].VALIDATE_INPUTS(domain=value), str)
        assert value not in _options(pack, "DirectionEdit", "direction")
        assert isinstance(pack.nodes["Rectify"].VALIDATE_INPUTS(rectifier_name=value), str)


def test_model_folders_join_what_others_registered(tmp_path):
    host = host_modules(tmp_path)
    table = host.folder_paths.folder_names_and_paths
    theirs, shared = ["/data/gans"], {".pkl"}
    table["stylegan"] = (theirs, shared)
    table["reganie"] = ([str(tmp_path / "extra")], set())  # as extra_model_paths.yaml registers it
    others = {name: (list(paths), set(extensions)) for name, (paths, extensions) in table.items()}
    load_pack(host, suffix="_second")
    assert table["checkpoints"] == others["checkpoints"]
    assert table["stylegan"][0] is theirs and theirs == ["/data/gans", str(tmp_path / "models" / "stylegan")]
    assert table["stylegan"][1] == {".pkl", ".pt", ".pth", ".safetensors"} and shared == {".pkl"}
    assert table["reganie"] == ([str(tmp_path / "extra"), str(tmp_path / "models" / "reganie")], set())


def test_files_of_extra_model_paths_are_found(pack, models, tiny_domain, tmp_path):
    extra = tmp_path / "extra"
    _copy(tiny_domain / "generator.safetensors", extra / "elsewhere.safetensors")
    pack.host.folder_paths.add_model_folder_path("stylegan", str(extra))
    try:
        assert _options(pack, "LoadStyleGAN") == [PACKAGED, "elsewhere.safetensors"]
        assert call(pack, "LoadStyleGAN", file="elsewhere.safetensors")[0].kind == "generator"
    finally:
        pack.host.folder_paths.folder_names_and_paths["stylegan"][0].remove(str(extra))


@pytest.mark.parametrize("name", HOSTILE)
def test_editor_and_method_files_are_names_too(pack, models, name):
    (models.root / "secret.pt").write_bytes(b"x")
    for node in ("LoadDyStyle", "LoadStyleCLIP"):
        assert isinstance(pack.nodes[node].VALIDATE_INPUTS(file=name), str)
        with pytest.raises(pack.rc.ReganieError):
            call(pack, node, file=name)
    for node, key in (("DyStyleEdit", "editor_name"), ("StyleCLIPEdit", "editor_name"), ("EditSweep", "editor_name"),
                      ("DirectionEdit", "editor_name")):
        assert name not in _options(pack, node, key) and "an/older.pt" in _options(pack, node, key)
    assert name not in _options(pack, "InvertImage", "network_name")
    for kind in pack.sub("_routes").KINDS:
        assert pack.sub("_routes").controls({"kind": kind, "name": name})[0] == 404


def test_a_folder_of_public_text_tables_is_listed(pack, models):
    (models.reganie / "ffhq").mkdir()
    (models.reganie / "ffhq" / "fs3.npy").write_bytes(b"x")
    assert _options(pack, "LoadStyleCLIP")[:2] == [PACKAGED, "ffhq"]
    assert _options(pack, "StyleCLIPEdit", "editor_name")[:2] == [PACKAGED, "ffhq"]
    assert pack.nodes["LoadStyleCLIP"].VALIDATE_INPUTS(file="ffhq") is True
    assert "S_mean_std" in str(pytest.raises(pack.rc.ReganieError, call, pack, "LoadStyleCLIP", file="ffhq").value)
    assert isinstance(pack.nodes["LoadDyStyle"].VALIDATE_INPUTS(file="ffhq"), str)
