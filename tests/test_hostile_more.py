"""Ways to be slow, large or confusing that a reader has to survive: each test is one attack on one assumption."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from reganie_core import belonging, checkpoints, domains, images, inversion, latents
from reganie_core.__main__ import main
from reganie_core.checkpoints import nvidia, psp
from reganie_core.checkpoints.parts import Part
from reganie_core.checkpoints.source import open_source
from reganie_core.editing import Control, Target, load_editor
from reganie_core.errors import (
    CheckpointError,
    CorruptCheckpointError,
    InputError,
    NotFoundError,
    ReganieError,
    UnsafePathError,
    UnsupportedCheckpointError,
)
from reganie_core.networks import describe
from tests import checkpoint_files as files
from tests import hostile

MANY = 50_000


@contextmanager
def quickly(seconds: float = 5.0) -> Iterator[None]:
    start = process_time()
    yield
    assert process_time() - start < seconds


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


STORAGE = b"(" + text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + b"K\x04tQ"
TENSOR = named("torch._utils", "_rebuild_tensor_v2")
# (1,), ((1,), (1,)), ... : sixty steps make a tuple whose text would fill any memory.
DOUBLED = b"K\x01\x85q\x10" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(0x10, 0x10 + 60))


def slow_pickles() -> dict[str, bytes]:
    prime = (1 << 61) - 1  # what Python's hash of a number is taken modulo of
    numbers = [(1 + prime * i).to_bytes(16, "little") for i in range(20_000)]
    zeros = b"(" + b"K\x00" * MANY
    array = named("numpy", "dtype") + text("f4") + b"\x85Rq\x050" + zeros + b"lq\x060"
    array += named("numpy.core.multiarray", "_reconstruct") + named("numpy", "ndarray") + b"K\x00\x85C\x01b\x87Rq\x070"
    storm = files_legacy(b"\x80\x02" + b"N0" * MANY + b"N.", b"\x80\x02].")
    return {
        "long tuple as a key": b"(" + b"N" * MANY + b"tq\x000}q\x01" + b"h\x00Ns" * 20_000 + b".",
        "numbers of one hash": b"}(" + b"".join(b"\x8a\x10" + n + b"N" for n in numbers) + b"u.",
        "array of many axes": array + b"(K\x01h\x06h\x05\x89C\x00tq\x080" + b"h\x07h\x08b0" * 10_000 + b"N.",
        "storages without end": b"B" + struct.pack("<I", len(storm)) + storm + b"q\x000"
        + named("torch.storage", "_load_from_bytes") + b"q\x010" + b"h\x01h\x00\x85R0" * 5000 + b"N.",
        "one list many times": b"(" + b"]" * MANY + b"lq\x000(" + b"h\x00" * MANY + b"l.",
    }


def files_legacy(root: bytes, keys: bytes) -> bytes:
    head = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})
    return b"".join(pickle.dumps(part, protocol=2) for part in head) + root + keys


@pytest.mark.parametrize("name", list(slow_pickles()))
def test_small_pickles_take_little_time(tmp_path: Path, name: str) -> None:
    path = tmp_path / "slow.pkl"
    path.write_bytes(b"\x80\x02" + slow_pickles()[name])
    with quickly():
        try:
            checkpoints.inspect(path)
        except CheckpointError:
            pass
        with pytest.raises(CheckpointError):
            checkpoints.load_generator(path)


@pytest.mark.parametrize("axes", [DOUBLED + b"\x85", b"K\x01" + b"\x85" * 5000, b"(" + b"K\x00" * MANY + b"t"])
def test_messages_do_not_write_out_containers(tmp_path: Path, axes: bytes) -> None:
    path = tmp_path / "text.pt"
    path.write_bytes(hostile.archive_bytes_with(b"\x80\x02" + STORAGE + b"q\x010" + TENSOR + b"(h\x01K\x00" + axes
                                                + axes + b"\x89}tR."))
    with quickly(), pytest.raises(CorruptCheckpointError) as caught:
        checkpoints.inspect(path)
    assert len(str(caught.value)) < 500


def test_legacy_keys_that_are_no_names(tmp_path: Path) -> None:
    path = tmp_path / "keys.pt"
    path.write_bytes(files_legacy(b"\x80\x02N.", b"\x80\x02(" + DOUBLED + b"l."))
    with quickly(), pytest.raises(CorruptCheckpointError, match="list of storages"):
        checkpoints.inspect(path)


@pytest.mark.parametrize("filler", [b"[],", b"{},"])
def test_a_header_of_empty_tables(tmp_path: Path, filler: bytes) -> None:
    header = b'{"a":[' + filler * 1_000_000 + b"0]}"
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with quickly(1.0), pytest.raises(CorruptCheckpointError):
        checkpoints.inspect(tmp_path / "a.safetensors")


def test_numbers_that_no_float_holds(tmp_path: Path) -> None:
    network = hostile.tiny_generator(8)
    with files.nvidia_modules():
        module = files.nvidia_network(network.state_dict(), "Generator",
                                      {"synthesis.b4.conv1": {"conv_clamp": 10**400}})
        (tmp_path / "a.pkl").write_bytes(pickle.dumps({"G_ema": module}))
    assert checkpoints.load_generator(tmp_path / "a.pkl").config.clamp is None
    with pytest.raises(InputError, match="finite"):
        Control("a", maximum=10**400)
    with pytest.raises(InputError, match="finite"):
        Target(10**400)


def test_weights_that_are_not_numbers_of_the_right_kind(tmp_path: Path) -> None:
    network = hostile.tiny_generator(8)
    renamed = files.to_rosinality(network.state_dict())
    for name, change in (("style.1.weight", Tensor.long), ("conv1.conv.weight", Tensor.bool)):
        (tmp_path / "a.pt").write_bytes(hostile.saved({"g_ema": {**renamed, name: change(renamed[name])}}))
        with pytest.raises(CorruptCheckpointError, match="where a network has weights"):
            checkpoints.load_generator(tmp_path / "a.pt")
    double = {name: tensor.double() for name, tensor in network.state_dict().items()}
    checkpoints.save_checkpoint(tmp_path / "a.safetensors", "generator", describe(network), double, {})
    loaded = checkpoints.load_generator(tmp_path / "a.safetensors")
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32}


def test_an_average_that_overflows(tmp_path: Path) -> None:
    renamed = files.to_rosinality(hostile.tiny_generator(8).state_dict())
    large = {name: torch.full_like(t, 3e38) if name.startswith("style") else t for name, t in renamed.items()}
    (tmp_path / "a.pt").write_bytes(hostile.saved({"g_ema": large}))
    with pytest.raises(CorruptCheckpointError, match="w_avg"):
        checkpoints.load_generator(tmp_path / "a.pt")


@pytest.mark.parametrize("change", [
    {"clamp": "256"}, {"clamp": [1, 2]}, {"mapping_lr_multiplier": True}, {"mapping_layers": 4096}, {"c_dim": -1},
    {"embed_features": 2.5}, {"z_dim": 0},
])
def test_settings_of_the_wrong_type(tmp_path: Path, change: dict[str, Any]) -> None:
    network = hostile.tiny_generator(8)
    checkpoints.save_checkpoint(tmp_path / "a.safetensors", "generator", {**describe(network), **change},
                                network.state_dict(), {})
    with quickly(), pytest.raises(CorruptCheckpointError):
        checkpoints.load_generator(tmp_path / "a.safetensors")


def test_module_names_take_little_memory() -> None:
    """Deep tables of long names: their dotted paths are what costs memory."""
    assert nvidia.MAX_ENTRIES * nvidia.MAX_NAME * nvidia.MAX_DEPTH < 100 << 20


def _encoder_part(path: Path, opts: dict[str, Any], average: Tensor | None = None) -> Part:
    """What is made of a file that has the outline of a single style encoder of 16 numbers."""
    shapes = {"input_layer.0.weight": (64, 3, 3, 3), "body.0.res_layer.1.weight": (1,),
              "body.23.res_layer.1.weight": (1,), "linear.weight": (16, 512)}
    state = {f"encoder.{name}": torch.zeros(shape) for name, shape in shapes.items()}
    torch.save({"state_dict": state, "opts": opts, **({} if average is None else {"latent_avg": average})}, path)
    return psp.find(open_source(path).root)[0]


@pytest.mark.parametrize("kind", [["x"], 5, "BackboneEncoderUsingLastLayerIntoWPlus"])
def test_encoder_types_that_are_not_read(tmp_path: Path, kind: Any) -> None:
    _encoder_part(tmp_path / "a.pt", {"encoder_type": kind})
    with pytest.raises(CheckpointError):
        checkpoints.load_encoder(tmp_path / "a.pt")


@pytest.mark.parametrize(("start", "expected"), [(True, 3.0), (False, 0.0), (None, 3.0)])
def test_the_average_is_added_where_the_options_say_so(tmp_path: Path, start: bool | None, expected: float) -> None:
    opts = {"encoder_type": "BackboneEncoderUsingLastLayerIntoW", "stylegan_size": 8, "learn_in_w": True}
    if start is not None:
        opts["start_from_latent_avg"] = start
    # pSp's learn_in_w files keep one row.
    part = _encoder_part(tmp_path / "a.pt", opts, torch.full((1, 16), 3.0))
    assert part.config["type"] == "SingleStyleCodeEncoder" and part.config["num_ws"] == 4
    assert torch.equal(part.tensors["latent_avg"].read(), torch.full((4, 16), expected))


def test_car_encoders_see_the_band_that_their_generators_paint(tiny_networks: Any) -> None:
    class Wide(nn.Module):
        num_ws, w_dim = tiny_networks.generator.num_ws, tiny_networks.generator.w_dim
        config = type("Config", (), {"input_resolution": 256, "input_height": 192})

        def forward(self, x: Tensor) -> Tensor:
            self.seen = x
            return torch.zeros(len(x), self.num_ws, self.w_dim)

    encoder = Wide()
    photo = torch.rand(1, 3, 24, 32) * 2 - 1
    found = inversion.invert(tiny_networks.generator, encoder, photo, fit="pad")
    assert found.image.shape == (1, 3, 32, 32)
    assert torch.equal(encoder.seen, photo)


@pytest.mark.parametrize("controls", [5, "yaw", [{"name": "a"}] * 2, [{"name": "a"}] * 5000, [[]], [None],
                                      [{"name": "<b>"}], [{"name": "a", "minimum": -(10**400)}],
                                      [{"name": "a", "description": "\x1b[2J"}]])
def test_controls_that_are_none(tmp_path: Path, controls: Any) -> None:
    path = tmp_path / "d.safetensors"
    checkpoints.save_checkpoint(path, "directions", {"controls": controls}, {"direction.a": torch.zeros(1, 16)}, {})
    with quickly(), pytest.raises(CorruptCheckpointError):
        load_editor(path)


def test_latents_of_other_types(tmp_path: Path) -> None:
    path = tmp_path / "l.safetensors"
    checkpoints.save_checkpoint(path, "latent", {}, {"ws": torch.zeros(1, 4, 8).double()}, {})
    assert latents.load_latent(path).ws.dtype == torch.float32
    checkpoints.save_checkpoint(path, "latent", {}, {"ws": torch.zeros(1, 4, 8).long()}, {})
    with pytest.raises(CorruptCheckpointError):
        latents.load_latent(path)


def test_manifests(tiny_domain: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        domains.load_domain("x" * 5000)
    outside = tmp_path / "outside.json"
    outside.write_text((tiny_domain / "domain.json").read_text())
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "domain.json").symlink_to(outside)
    with pytest.raises(UnsafePathError):
        domains.load_manifest(tmp_path / "d")
    (tmp_path / "d" / "domain.json").unlink()
    with open(tmp_path / "d" / "domain.json", "wb") as handle:
        handle.truncate(1 << 36)  # sparse: no disk, and no memory may be asked for it
    with pytest.raises(CorruptCheckpointError):
        domains.load_manifest(tmp_path / "d")
    for size in ("64", 1e9, True, -1, [64]):
        (tmp_path / "d" / "domain.json").write_text(json.dumps({"format_version": "1", "resolution": size}))
        with pytest.raises(CorruptCheckpointError):
            domains.load_manifest(tmp_path / "d")


@pytest.mark.parametrize("provenance", [{"fingerprints": 5}, {"fingerprints": [1]}, {"fingerprints": {"editor": []}}])
def test_provenance_of_any_form(provenance: dict[str, Any]) -> None:
    trained = type("Trained", (), {"provenance": provenance})()
    assert domains.check_provenance(trained, generator=nn.Identity()) == []
    belonging.trained_with(trained).get("editor")


def test_pictures_that_ask_for_memory_or_programs(tmp_path: Path) -> None:
    Image.new("1", (9000, 9000)).save(tmp_path / "bomb.png")
    with quickly(), pytest.raises(InputError, match="million"):
        images.load_image(tmp_path / "bomb.png")
    Image.new("RGB", (16, 16)).save(tmp_path / "program.eps")
    (tmp_path / "program.png").write_bytes((tmp_path / "program.eps").read_bytes())
    with pytest.raises(InputError, match="not a picture"):  # PIL starts Ghostscript for these
        images.load_image(tmp_path / "program.png")
    with pytest.raises(NotFoundError):
        images.load_image("x" * 5000)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(NotFoundError):
            images.load_image(tmp_path / "pipe.png")


def test_damaged_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
    refused = 0
    for suffix in ("png", "jpg", "webp", "tif", "bmp", "gif"):
        buffer = io.BytesIO()
        pixels.save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()))
        content = buffer.getvalue()
        for _ in range(40):
            damaged = bytearray(content[: rng.integers(1, len(content) + 1)])
            for _ in range(4):
                damaged[rng.integers(min(len(damaged), 200))] = rng.integers(256)
            (tmp_path / "a").write_bytes(bytes(damaged))
            try:
                images.load_image(tmp_path / "a")
            except ReganieError:
                refused += 1
    assert refused > 100


def test_writing_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    picture = torch.zeros(3, 16, 16)
    with pytest.raises(InputError, match="folder"):
        images.save_image(picture, tmp_path / "folder.png")
    with pytest.raises(InputError):
        images.save_image(Image.new("F", (16, 16)), tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_the_command_line_stays_on_one_printable_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = json.dumps({"\x1b[2J\ud800": {"dtype": "F8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"x")
    assert main(["inspect", str(tmp_path / "a.safetensors")]) == 1
    assert main(["inspect", "x" * 5000]) == 1
    assert main(["controls", "--domain", "x" * 5000]) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 3 and "\x1b" not in errors
    header = json.dumps({"\ud800": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"x")
    assert main(["inspect", "--json", str(tmp_path / "a.safetensors")]) == 0
    assert json.loads(capsys.readouterr().out)["tensors"] == {"\ud800": [[1], "uint8"]}


@pytest.mark.parametrize("content", ["compressed", "twice", "folder", "absolute", "big", "comment"])
def test_zip_oddities(tmp_path: Path, content: str) -> None:
    path, plain = tmp_path / "a.pt", b"\x80\x02N."
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if content == "compressed" else zipfile.ZIP_STORED) as archive:
        name = {"folder": "a/data.pkl/", "absolute": "/../../data.pkl"}.get(content, "a/data.pkl")
        archive.writestr(name, b"" if content == "folder" else plain)
        if content == "big":
            archive.writestr("a/byteorder", "big")
        if content == "twice":
            with pytest.warns(UserWarning):
                archive.writestr(name, plain)
        if content == "comment":  # a second end of the archive
            archive.comment = b"PK\x05\x06" + bytes(18)
    with pytest.raises((CorruptCheckpointError, UnsupportedCheckpointError)):
        checkpoints.load_generator(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pt"]
