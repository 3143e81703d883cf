"""Fault 13: what is said about a file is true, and says what to do."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reganie_core import checkpoints, images
from reganie_core.checkpoints.building import skeleton
from reganie_core.checkpoints.parts import attempt
from reganie_core.editing import load_editor
from reganie_core.errors import (
    CheckpointError,
    InputError,
    ReganieWarning,
    UnsafeCheckpointError,
    UnsupportedCheckpointError,
)
from tests import checkpoint_files as files
from tests import hostile

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def G() -> nn.Module:
    return hostile.tiny_generator(16)


# --- directions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 9216), (9216,), (1, 18, 512), (18, 512)])
def test_flat_boundaries(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rows = np.arange(9216, dtype=np.float32).reshape(18, 512) / 9216
    np.save(tmp_path / "Smiling_boundary.npy", rows.reshape(shape))
    editor = load_editor(tmp_path / "Smiling_boundary.npy")
    moved = editor.edit(torch.zeros(1, 18, 512), {"smiling_boundary": 2.0})
    torch.testing.assert_close(moved[0], torch.from_numpy(2 * rows))


@pytest.mark.parametrize("array", [np.zeros((3, 7)), np.zeros((1, 512), np.int64), np.zeros((100, 512))])
def test_an_array_that_is_no_direction(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UnsupportedCheckpointError, match="an array of shape") as caught:
        checkpoints.load_directions(tmp_path / "a.npy")
    assert str(list(array.shape)) in str(caught.value) and "without tensors" not in str(caught.value)


@pytest.mark.parametrize("name", ["stylegan_ffhq_smile_w_boundary", "pggan_celebahq_age_c_gender_boundary"])
def test_a_boundary_of_stylegan1_says_so(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / f"{name}.npy", np.ones((1, 512)))
    with pytest.warns(ReganieWarning, match="StyleGAN1 and PGGAN"):
        load_editor(tmp_path / f"{name}.npy")


# --- generators -------------------------------------------------------------------------------------------------------


def nvidia(G: nn.Module, **changes: Tensor) -> dict[str, Tensor]:
    return {**G.state_dict(), **changes}


@pytest.mark.parametrize(("channels", "said"), [(1, "grey"), (4, "RGBA"), (2, "alpha"), (12, "SWAGAN"),
                                                (7, "7 channels")])
def test_pictures_of_other_channels(G: nn.Module, tmp_path: Path, channels: int, said: str) -> None:
    changes = {f"synthesis.b{r}.torgb.{name}": torch.zeros((channels, 8, 1, 1) if name == "weight" else (channels,))
               for r in (4, 8, 16) for name in ("weight", "bias")}
    state = nvidia(G, **changes)
    torch.save(state, tmp_path / "nvidia.pt")
    theirs = files.to_rosinality({k: v for k, v in state.items() if not k.endswith("torgb.bias")})
    biases = {f"to_rgb{'1' if i < 0 else f's.{i}'}.bias": torch.zeros(1, channels, 1, 1) for i in (-1, 0, 1)}
    torch.save({"g_ema": {**theirs, **biases}, "latent_avg": G.w_avg}, tmp_path / "rosinality.pt")
    for name in ("nvidia.pt", "rosinality.pt"):
        with pytest.raises(UnsupportedCheckpointError, match=said) as caught:
            checkpoints.load_generator(tmp_path / name)
        assert "damaged" not in str(caught.value) and "RGB" in str(caught.value)


def test_pictures_that_are_not_square(G: nn.Module, tmp_path: Path) -> None:
    torch.save(nvidia(G, **{"synthesis.b4.const": torch.zeros(8, 4, 8)}), tmp_path / "n.pt")
    theirs = files.to_rosinality(G.state_dict())
    torch.save({"g_ema": {**theirs, "input.input": torch.zeros(1, 8, 4, 8)}}, tmp_path / "r.pt")
    for name in ("n.pt", "r.pt"):
        with pytest.raises(UnsupportedCheckpointError, match="4x8.*square") as caught:
            checkpoints.load_generator(tmp_path / name)
        assert "damaged" not in str(caught.value)


# --- whole objects ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
def test_a_whole_module(tmp_path: Path, legacy: bool) -> None:
    class Net(nn.Linear):
        pass

    Net.__module__, Net.__qualname__ = "models.stylegan2", "Net"
    import sys
    import types

    sys.modules["models"], sys.modules["models.stylegan2"] = types.ModuleType("models"), types.ModuleType("s")
    sys.modules["models.stylegan2"].Net = Net  # type: ignore[attr-defined]
    try:
        (tmp_path / "net.pt").write_bytes(hostile.saved(Net(2, 2), legacy))
        (tmp_path / "inside.pt").write_bytes(hostile.saved({"g_ema": Net(2, 2)}, legacy))
        (tmp_path / "parallel.pt").write_bytes(hostile.saved(nn.DataParallel(nn.Linear(2, 2)), legacy))
    finally:
        del sys.modules["models"], sys.modules["models.stylegan2"]
    for name, of in (("net.pt", "models.stylegan2.Net"), ("inside.pt", "models.stylegan2.Net"),
                     ("parallel.pt", "DataParallel")):
        with pytest.raises(UnsafeCheckpointError, match=r"state_dict\(\)") as caught:
            checkpoints.load_generator(tmp_path / name)
        assert of in str(caught.value) and "trust" not in str(caught.value)


def test_a_class_of_a_script(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02c__main__\nGenerator\n)\x81.")
    with pytest.raises(UnsafeCheckpointError, match=r"__main__.Generator.*state_dict\(\)"):
        checkpoints.inspect(tmp_path / "x.pkl")


def test_calls_stay_what_they_are(tmp_path: Path) -> None:
    for name in ("os\nsystem", "subprocess\nPopen", "builtins\neval", "models.net\nload", "torch.hub\nload"):
        (tmp_path / "x.pkl").write_bytes(b"\x80\x02c" + name.encode() + b"\n.")
        with pytest.raises(UnsafeCheckpointError, match="Do not trust"):
            checkpoints.inspect(tmp_path / "x.pkl")


# --- kinds that are read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("names", "said"), [
    (("hypernet.shared_weight_hypernet.w1",), "complete file"), (("residue.conv_layer1.0.weight",), "complete file"),
    (("input_layer.0.weight", "output_layer.3.weight"), "trainer/evaluate.py"),
    (("fc_yaw.weight", "conv1.weight"), "trainer/evaluate.py"), (("lin0.model.1.weight",), "trainer/evaluate.py"),
    (("features.0.weight",), "trainer/evaluate.py"),
])
def test_known_files_are_told_where_they_belong(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    torch.save({name: torch.zeros(3, 3, 3, 3) for name in names}, tmp_path / "x.pt")
    with pytest.raises(UnsupportedCheckpointError, match=said) as caught:
        checkpoints.load_generator(tmp_path / "x.pt")
    assert "not read here" not in str(caught.value) and "yet" not in str(caught.value)


def test_restyle_is_not_called_unsupported(tmp_path: Path) -> None:
    shapes = {"input_layer.0.weight": (64, 3, 3, 3), "body.0.res_layer.1.weight": (1,),
              "body.23.res_layer.1.weight": (1,), "styles.0.linear.weight": (16, 16)}
    state = {f"encoder.{name}": torch.zeros(shape) for name, shape in shapes.items()}
    torch.save({"state_dict": state, "opts": {"encoder_type": "BackboneEncoder"}}, tmp_path / "e.pt")
    with pytest.raises(CheckpointError, match="ReStyle's 6") as caught:
        checkpoints.load_encoder(tmp_path / "e.pt")
    assert "not supported" not in str(caught.value)


@pytest.mark.parametrize("name", ["num_batches_tracked", "noise_strength"])
def test_one_number_on_another_axis(G: nn.Module, tmp_path: Path, name: str) -> None:
    """A scalar that a re-save has made [1] refuses no network."""
    if name == "noise_strength":
        state = {k: v.reshape(1) if k.endswith(name) else v for k, v in G.state_dict().items()}
        torch.save(state, tmp_path / "g.pt")
        found = checkpoints.load_generator(tmp_path / "g.pt").state_dict()
        assert all(torch.equal(found[k], v) for k, v in G.state_dict().items())
        return
    kind, config = "encoder", {"type": "SingleStyleCodeEncoder", "num_ws": 6, "w_dim": 16, "input_resolution": 256}
    shapes = {k: tuple(v.shape) for k, v in skeleton(kind, config).state_dict().items() if k != "latent_avg"}
    largest = torch.zeros(max(torch.Size(s).numel() for s in shapes.values()))
    state: dict[str, Any] = {f"encoder.{k}": torch.tensor([3]) if k.endswith(name) else
                             largest[: torch.Size(s).numel()].view(s) for k, s in shapes.items()}
    torch.save({"state_dict": state, "latent_avg": torch.zeros(6, 16)}, tmp_path / "e.pt")
    part = checkpoints.loading.choose(checkpoints.loading.open_source(tmp_path / "e.pt"), "encoder")
    with pytest.raises(CheckpointError, match="larger than the file"):  # shapes passed; one storage for all does not
        checkpoints.loading.read_tensors(part)
    counters = [m for k, m in part.tensors.items() if k.endswith(name)]
    assert counters and all(mapped.read().shape == () and int(mapped.read()) == 3 for mapped in counters)


def test_a_problem_keeps_its_own_words() -> None:
    def make() -> Any:
        raise UnsupportedCheckpointError("Grey.")

    assert str(attempt("generator", "x", make).problem) == "Grey."


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_a_picture_of_900_megapixels(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    (tmp_path / "big.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b""))
    with pytest.raises(InputError, match="pixels") as caught:
        images.load_image(tmp_path / "big.png")
    assert "truncated" not in str(caught.value) and "50 million" in str(caught.value)


def test_a_folder_in_place_of_a_picture(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        images.load_image(tmp_path)
