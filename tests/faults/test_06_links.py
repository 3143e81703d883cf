"""Fault 6: what the owner of the machine has linked into a model folder is used; names from graphs cannot leave it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from reganie_core.errors import NotFoundError, UnsafePathError
from reganie_core.paths import placed, safe_join
from tests.host_stubs import call

pytest_plugins = ["tests.nodes_fixtures"]
PACKAGED = "portraits (packaged)"


@pytest.fixture
def models(pack: SimpleNamespace) -> Iterator[SimpleNamespace]:
    root = Path(pack.host.folder_paths.models_dir)
    folders = {name: root / name for name in ("stylegan", "reganie")}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    yield SimpleNamespace(**folders, root=root)
    for folder in folders.values():
        shutil.rmtree(folder)


@pytest.fixture
def elsewhere(tiny_domain: Path, tmp_path: Path) -> Path:
    """A domain on another disk."""
    return Path(shutil.copytree(tiny_domain, tmp_path / "disk" / "tiny"))


@pytest.fixture
def snapshot(tiny_domain: Path, tmp_path: Path) -> Path:
    """A domain as a model hub's cache holds it: every file of a snapshot is a link to a blob."""
    repository = tmp_path / "hub" / "models--somebody--tiny"
    (repository / "blobs").mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(path for path in tiny_domain.rglob("*") if path.is_file()):
        link = repository / "snapshots" / "4f2a" / file.relative_to(tiny_domain)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, repository / "blobs" / f"{number:064x}")
        link.symlink_to(repository / "blobs" / f"{number:064x}")
    return repository / "snapshots" / "4f2a"


def options(pack: SimpleNamespace, node: str, name: str = "file") -> list[str]:
    return pack.nodes[node].INPUT_TYPES()["required"][name][1]["options"]


def test_a_linked_file_and_a_linked_folder(pack: SimpleNamespace, models: SimpleNamespace, elsewhere: Path) -> None:
    (models.stylegan / "link.safetensors").symlink_to(elsewhere / "generator.safetensors")
    (models.reganie / "disk").symlink_to(elsewhere.parent, target_is_directory=True)
    for node, name in (("LoadStyleGAN", "link.safetensors"), ("LoadE4E", "disk/tiny/encoder.safetensors"),
                       ("LoadRectifier", "disk/tiny/rectifier.safetensors")):
        assert name in options(pack, node)
        assert pack.nodes[node].VALIDATE_INPUTS(file=name) is True
        assert call(pack, node, file=name)[0].label == name
    assert options(pack, "LoadReGANIE", "domain") == [PACKAGED, "disk/tiny"]
    assert call(pack, "LoadReGANIE", domain="disk/tiny")[0].value.resolution == 32


def test_a_hub_snapshot(pack: SimpleNamespace, models: SimpleNamespace, snapshot: Path) -> None:
    (models.reganie / "hub").symlink_to(snapshot, target_is_directory=True)
    assert "hub/encoder.safetensors" in options(pack, "LoadE4E")
    assert call(pack, "LoadE4E", file="hub/encoder.safetensors")[0].value.num_ws == 8
    assert options(pack, "LoadReGANIE", "domain") == [PACKAGED, "hub"]
    assert pack.nodes["LoadReGANIE"].VALIDATE_INPUTS(domain="hub") is True
    assert call(pack, "LoadReGANIE", domain="hub")[0].value.resolution == 32


@pytest.mark.parametrize("name", ["../secret.pt", "disk/../../secret.pt", "/secret.pt", "C:\\secret.pt",
                                  "..\\secret.pt"])
def test_names_still_cannot_leave(pack: SimpleNamespace, models: SimpleNamespace, elsewhere: Path, name: str) -> None:
    (models.root / "secret.pt").write_bytes(b"x")
    (models.reganie / "disk").symlink_to(elsewhere, target_is_directory=True)
    for node in ("LoadStyleGAN", "LoadE4E", "LoadDirections"):
        said = str(pack.nodes[node].VALIDATE_INPUTS(file=name))
        assert "leaves its folder" in said or "absolute" in said
        with pytest.raises(pack.rc.errors.UnsafePathError):
            call(pack, node, file=name)
    with pytest.raises(pack.rc.errors.UnsafePathError):
        call(pack, "LoadReGANIE", domain=name)
    with pytest.raises(UnsafePathError):
        placed(models.reganie, name)


def test_a_linked_face_detector(pack: SimpleNamespace, models: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "yunet_final.pth").write_bytes(b"x")
    (models.reganie / "yunet.pth").symlink_to(tmp_path / "yunet_final.pth")
    choices = pack.sub("_choices")
    assert "yunet.pth" in choices.detectors()
    assert choices.detector_path("yunet.pth").read_bytes() == b"x"
    with pytest.raises(pack.rc.errors.UnsafePathError):
        choices.detector_path("../yunet.pth")


def test_links_to_nothing_and_in_circles(pack: SimpleNamespace, models: SimpleNamespace) -> None:
    (models.stylegan / "gone.safetensors").symlink_to(models.root / "nothing.safetensors")
    (models.stylegan / "round.safetensors").symlink_to(models.stylegan / "round.safetensors")
    assert options(pack, "LoadStyleGAN") == [PACKAGED]
    for name in ("gone.safetensors", "round.safetensors"):
        with pytest.raises(pack.rc.errors.NotFoundError):
            call(pack, "LoadStyleGAN", file=name)


def test_what_a_manifest_names_stays_in_its_folder(elsewhere: Path, snapshot: Path, tmp_path: Path) -> None:
    """A domain may have come from anybody; only the hub's own layout is followed."""
    from reganie_core import domains

    (tmp_path / "secret.safetensors").write_bytes(b"x")
    (elsewhere / "generator.safetensors").unlink()
    (elsewhere / "generator.safetensors").symlink_to(tmp_path / "secret.safetensors")
    with pytest.raises(UnsafePathError):
        domains.load_manifest(elsewhere)
    assert domains.load_manifest(snapshot)[1]["name"] == "tiny"
    (snapshot / "generator.safetensors").unlink()
    (snapshot / "generator.safetensors").symlink_to(tmp_path / "secret.safetensors")
    with pytest.raises(UnsafePathError):
        domains.load_manifest(snapshot)


def test_nothing_is_written_through_links(pack: SimpleNamespace, tmp_path: Path) -> None:
    host, outside = pack.sub("_host"), tmp_path / "outside"
    outside.mkdir(exist_ok=True)
    (host.output_directory() / "reganie").mkdir(parents=True, exist_ok=True)
    (link := host.output_directory() / "reganie" / "out").symlink_to(outside, target_is_directory=True)
    try:
        with pytest.raises(pack.rc.errors.UnsafePathError):
            pack.sub("_outputs").free_output("reganie", "out/latent", ".safetensors")
        with pytest.raises(UnsafePathError):
            safe_join(host.output_directory(), "reganie/out/latent.safetensors")
    finally:
        link.unlink()


def test_a_name_in_no_folder_says_where_files_go(pack: SimpleNamespace, models: SimpleNamespace) -> None:
    with pytest.raises(pack.rc.errors.NotFoundError, match="models"):
        call(pack, "LoadStyleGAN", file="absent.pt")
    assert issubclass(NotFoundError, FileNotFoundError)
