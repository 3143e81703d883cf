"""Promise 15: memory manners and stable files.

Out of memory means smaller pieces, then the CPU, before an error; Cancel answers within a layer. Node ids, inputs and
their order are frozen, and every shipped graph fits the nodes. Packaged files carry SHA-256 sums that are verified
when they are read; files of every version ever shipped still load; a file that is replaced, deleted, slow or without
write permission is noticed or simply works. Not promised: files of newer versions, which are refused with a sentence,
and memory that other programs hold. Memory after hundreds of runs is measured by ``make soak``.
"""

from __future__ import annotations

import builtins
import hashlib
import io
import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import reganie_core as rc
from reganie_core.checkpoints import read_checkpoint
from reganie_core.editing.protocol import edit_latent
from reganie_core.errors import CorruptCheckpointError, NotFoundError, UnsupportedCheckpointError
from reganie_core.faces import Face
from reganie_core.latents import Latent, load_latent, synthesize
from tests.conftest import write_tiny_domain
from tests.host_stubs import ROOT, Interrupted, picture
from tests.promises.helpers import PACKAGED, chain, wires_of
from tests.schema_files import GOLDEN, schema
from tests.workflow_files import definition
from tests.workflow_graphs import GRAPHS
from trainer import package
from trainer.loop import state

pytest_plugins = ["tests.nodes_fixtures"]

WEIGHTS = ROOT / "reganie_core" / "portraits" / "weights"
NAMES = {told.title: name for name, told in GRAPHS.items()}
OLD = Path(__file__).parent / "old"


@pytest.fixture
def packaged(pack: SimpleNamespace, tiny_domain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The nodes' packaged domain, in a folder that may be damaged."""
    folder = Path(shutil.copytree(tiny_domain, tmp_path / "packaged"))
    monkeypatch.setitem(pack.rc.domains.PACKAGED, "portraits", folder)
    return folder


def damage(path: Path) -> None:
    """Change one of the last numbers a little: still a perfect file of finite weights."""
    raw = bytearray(path.read_bytes())
    raw[-4] ^= 1
    path.write_bytes(raw)


# --------------------------------------------------------------------------------------------------- memory and Cancel
def test_out_of_memory_means_smaller_pieces_then_the_cpu(pack: SimpleNamespace,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    on, image, sizes = wires_of(pack), picture(8), []
    monkeypatch.setattr(pack.sub("_host"), "chunk_size", lambda resolution: 16)  # as on a GPU
    whole = chain(pack, image, wires=on).inversion
    invert, host, room = pack.rc.inversion.invert, pack.sub("_host"), {"pictures": 2}

    def short_of_memory(generator: Any, encoder: Any, images: torch.Tensor, **more: Any) -> Any:
        sizes.append(len(images))
        if more["chunk"] > room["pictures"] and not host._fallback.active:
            raise torch.OutOfMemoryError("no memory")
        return invert(generator, encoder, images, **more)

    monkeypatch.setattr(pack.rc.inversion, "invert", short_of_memory)
    torch.testing.assert_close(chain(pack, image, wires=on).inversion, whole, atol=1e-5, rtol=0)
    assert len(sizes) > 1
    texts = [notice["text"] for _, notice in pack.host.state.notices]
    assert any("too much" in text for text in texts), "it must be said"
    room["pictures"] = 0
    monkeypatch.setattr(host, "can_fall_back", lambda: True)
    torch.testing.assert_close(chain(pack, image, wires=on).inversion, whole, atol=1e-5, rtol=0)
    assert any("computed on the CPU" in notice["text"] for _, notice in pack.host.state.notices)


def test_cancel_answers_within_a_layer(pack: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    on = wires_of(pack)
    layers = [m for m in on.generator.value.modules() if not list(m.children())]
    seen = []

    def press(*_: Any) -> None:
        seen.append(1)
        pack.host.state.cancel = len(seen) >= 2

    hooks = [layer.register_forward_hook(press) for layer in layers]
    try:
        with pytest.raises(Interrupted):
            chain(pack, picture(8), wires=on)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(seen) <= 3


# ------------------------------------------------------------------------------------------------------- frozen schema
def test_ids_inputs_and_their_order_are_frozen(pack: SimpleNamespace) -> None:
    golden, found = json.loads(GOLDEN.read_text(encoding="utf-8")), schema(pack.nodes)
    assert len(golden) > 20
    for name, node in golden.items():
        assert name in found, f"{name} was removed or renamed"
        assert found[name]["outputs"] == node["outputs"], name
        for group in ("required", "optional"):
            frozen, now = ([entry for entry in side["inputs"] if entry[0] == group] for side in (node, found[name]))
            assert now[: len(frozen)] == frozen, f"{name}: inputs are only ever appended"


@pytest.mark.parametrize("path", sorted((ROOT / "workflows").glob("*.json")), ids=lambda path: path.stem)
def test_every_shipped_graph_fits_the_nodes(pack: SimpleNamespace, path: Path) -> None:
    for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]:
        known = definition(pack, node["type"])
        assert len(node.get("widgets_values") or []) == len(known["widgets"]), node["type"]
        assert [item["name"] for item in node["inputs"] if "widget" not in item] == list(known["sockets"])
    for node in json.loads((path.parent / "api" / f"{NAMES[path.stem]}.json").read_text(encoding="utf-8")).values():
        known = definition(pack, node["class_type"])
        assert set(node["inputs"]) <= {*known["sockets"], *known["widgets"]}, node["class_type"]


# --------------------------------------------------------------------------------------------------------- SHA-256 sums
def test_the_packaged_files_have_sums_and_provenance() -> None:
    sums = json.loads((WEIGHTS / "domain.json").read_text(encoding="utf-8"))["sha256"]
    files = sorted(WEIGHTS.glob("*.safetensors"))
    assert sums == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    for file in files:
        assert {"command", "commit", "seed", "config"} <= set(read_checkpoint(file).provenance), file.name


@pytest.mark.parametrize("name", ["generator", "rectifier"])
def test_a_packaged_file_that_is_damaged_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """One bit, which no other check could find, however it is read: as a domain, alone, by its kind."""
    folder = Path(shutil.copytree(WEIGHTS, tmp_path / "copy"))
    rc.load_domain(folder)
    damage(folder / f"{name}.safetensors")
    for reader in (lambda: rc.load_domain(folder), lambda: read_checkpoint(folder / f"{name}.safetensors"),
                   lambda: getattr(rc, f"load_{name}")(folder / f"{name}.safetensors")):
        with pytest.raises(CorruptCheckpointError, match=rf"{name}\.safetensors.*domain\.json.*damaged"):
            reader()


def test_packaging_writes_the_sums_and_repackaging_writes_new_ones(pack: SimpleNamespace, tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in (1, 2):
        source = write_tiny_domain(tmp_path / f"source{seed}", seed=seed)
        parts = [f"{part}={source / part}.safetensors" for part in ("generator", "encoder", "directions", "rectifier")]
        assert package.main([*parts, "--out", str(tmp_path / "domain"), "--name", "mine"]) == 0
    monkeypatch.setitem(pack.rc.domains.PACKAGED, "portraits", tmp_path / "domain")
    chain(pack, picture())
    damage(tmp_path / "domain" / "encoder.safetensors")
    with pytest.raises(pack.rc.errors.CorruptCheckpointError, match="encoder"):
        wires_of(pack)


# --------------------------------------------------------------------------------------------------------- old versions
def test_the_first_files_ever_shipped_still_give_their_pictures() -> None:
    expected = json.loads((OLD / "first" / "expected.json").read_text())
    x = torch.linspace(-1, 1, 768).reshape(1, 3, 16, 16)
    with pytest.warns(rc.ReganieWarning, match="hardly resembles"):
        found = rc.edit(x, {"yaw": 9.0}, domain=OLD / "first")
    for name, values in expected.items():
        torch.testing.assert_close(getattr(found, name).flatten()[::37], torch.tensor(values), atol=1e-4, rtol=0)
    latent = load_latent(OLD / "first" / "latent.safetensors")
    torch.testing.assert_close(latent.ws, found.edited_latent.ws, atol=1e-4, rtol=1e-4)
    assert latent.generator == rc.load_generator(OLD / "first" / "generator.safetensors").fingerprint


def test_the_first_editor_and_face_still_load() -> None:
    domain = rc.load_domain(OLD / "dystyle")
    g = domain.generator
    codes = torch.linspace(-1, 1, g.num_ws * g.w_dim).reshape(1, g.num_ws, g.w_dim)
    edited = edit_latent(domain.dystyle, Latent(codes, generator=g.fingerprint), {"yaw": 9.0})
    expected = json.loads((OLD / "dystyle" / "expected.json").read_text())["edited"]
    with torch.no_grad():
        found = synthesize(g, edited).flatten()[::37]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-4, rtol=0)
    assert Face.from_json((OLD / "dystyle" / "face.json").read_text()).photo_size == (48, 32)


def test_the_first_training_state_is_resumed() -> None:
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(network.parameters())
    counters = state.load_state(OLD / "first" / "state.safetensors", {"G": network}, {"G": optimizer})
    assert counters == {"seen": 24, "elapsed": 1.5} and len(optimizer.state_dict()["state"]) == 2


def test_a_newer_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    raw = (OLD / "first" / "generator.safetensors").read_bytes()
    (tmp_path / "g.safetensors").write_bytes(raw.replace(b'"format_version":"1"', b'"format_version":"2"'))
    with pytest.raises(UnsupportedCheckpointError, match="format_version 2.*Update ReGANIE"):
        rc.load_generator(tmp_path / "g.safetensors")


# ------------------------------------------------------------------------------------------ files that change meanwhile
def test_a_replaced_file_is_read_again(pack: SimpleNamespace, packaged: Path, tmp_path: Path) -> None:
    image, loader = picture(2), pack.nodes["LoadReGANIE"]
    before, mark = chain(pack, image), loader.IS_CHANGED(domain=PACKAGED)
    assert loader.IS_CHANGED(domain=PACKAGED) == mark and torch.equal(chain(pack, image).result, before.result)
    other = write_tiny_domain(tmp_path / "other", seed=4)
    for name in ("generator", "encoder", "directions", "rectifier"):
        shutil.copy(other / f"{name}.safetensors", packaged)
    assert loader.IS_CHANGED(domain=PACKAGED) != mark, "ComfyUI would not run the loader again"
    after = chain(pack, image)
    expected = rc.edit(image.permute(0, 3, 1, 2) * 2 - 1, {"yaw": 15.0}, domain=other).rectified
    torch.testing.assert_close(after.result.permute(0, 3, 1, 2) * 2 - 1, expected, atol=1e-4, rtol=0)
    assert not torch.equal(after.result, before.result)


def test_a_deleted_file_is_a_sentence_and_what_is_loaded_goes_on(pack: SimpleNamespace, packaged: Path) -> None:
    on = wires_of(pack)
    (packaged / "rectifier.safetensors").unlink()
    assert chain(pack, picture(), wires=on).result.shape == (1, 32, 32, 3)
    with pytest.raises(pack.rc.errors.NotFoundError, match="rectifier"):
        wires_of(pack)
    with pytest.raises(NotFoundError, match="rectifier"):
        rc.load_domain(packaged)
    assert isinstance(pack.nodes["LoadRectifier"].VALIDATE_INPUTS(file=PACKAGED), str)
    for node in pack.nodes.values():
        node.INPUT_TYPES()  # the lists of the page survive it


class Slow(io.BufferedReader):
    """A disk that hands out a little at a time, and stalls."""

    def readinto(self, buffer: Any) -> int:
        time.sleep(0.001)
        return super().readinto(memoryview(buffer)[: max(1, len(buffer) // 3)])


def test_a_slow_disk_changes_nothing(tiny_domain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, image = builtins.open, picture(2).permute(0, 3, 1, 2) * 2 - 1
    wanted = rc.edit(image, {"yaw": 9.0}, domain=tiny_domain).rectified
    slow: list[Path] = []

    def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        handle = plain(file, mode, *args, **kwargs)
        if mode != "rb" or not str(file).endswith(".safetensors"):
            return handle
        slow.append(Path(file))
        return Slow(handle.detach())

    monkeypatch.setattr(builtins, "open", opened)
    found = rc.edit(image, {"yaw": 9.0}, domain=tiny_domain).rectified
    assert len(slow) >= 4 and torch.equal(found, wanted)


def test_read_only_folders_are_enough_to_work_with(pack: SimpleNamespace, packaged: Path) -> None:
    """Nothing is written beside the models: neither caches nor marks."""
    for path in (*packaged.rglob("*"), packaged):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in (packaged, *packaged.rglob("*"))}
    try:
        chain(pack, picture())
        for node in pack.nodes.values():
            node.INPUT_TYPES()
    finally:
        for path in (packaged, *packaged.rglob("*")):
            path.chmod(0o755)
    assert {path: path.stat().st_mtime_ns for path in (packaged, *packaged.rglob("*"))} == before
