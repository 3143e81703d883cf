"""Our own files, and the way of every dialect: detect, load, convert, the same outputs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reganie_core import checkpoints, networks
from reganie_core.errors import (
    CorruptCheckpointError,
    InputError,
    NotFoundError,
    UnsupportedCheckpointError,
    WrongKindError,
)
from tests import checkpoint_files as files
from tests import hostile


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return hostile.tiny_generator(32)


def write_rosinality(network: nn.Module, path: Path, **more: Any) -> Path:
    return files.rosinality_file(path, files.to_rosinality(network.state_dict()), **more)


def write_ours(network: nn.Module, path: Path) -> Path:
    kind = "generator"
    checkpoints.save_checkpoint(path, kind, networks.describe(network), network.state_dict(), {"seed": 1})
    return path


def write_psp(network: nn.Module, path: Path) -> Path:
    decoder = {f"decoder.{name}": value for name, value in files.to_rosinality(network.state_dict()).items()}
    average = network.w_avg.repeat(network.num_ws, 1)
    torch.save({"state_dict": decoder, "latent_avg": average, "opts": {"stylegan_size": 32}}, path)
    return path


def write_legacy(network: nn.Module, path: Path) -> Path:
    content = {"g_ema": files.to_rosinality(network.state_dict()), "latent_avg": network.w_avg}
    path.write_bytes(hostile.saved(content, legacy=True))
    return path


def write_data_parallel(network: nn.Module, path: Path) -> Path:
    renamed = {f"module.{name}": value for name, value in files.to_rosinality(network.state_dict()).items()}
    torch.save({"g": renamed, "latent_avg": network.w_avg, "args": files.namespace(size=32, path="/data")}, path)
    return path


def write_state_dict(network: nn.Module, path: Path) -> Path:
    torch.save(network.state_dict(), path)
    return path


def write_foreign_safetensors(network: nn.Module, path: Path) -> Path:
    from safetensors.torch import save_file

    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path, {"format": "pt"})
    return path


def write_nvidia(network: nn.Module, path: Path) -> Path:
    return files.nvidia_file(path, 4, G_ema=files.nvidia_generator(network.state_dict(), clamp=None))


def write_nvidia_old(network: nn.Module, path: Path) -> Path:
    return files.nvidia_file(path, 2, G=files.nvidia_generator(network.state_dict(), clamp=None))


def write_pti(network: nn.Module, path: Path) -> Path:
    return files.pti_file(path, files.nvidia_generator(network.state_dict(), clamp=None))


DIALECTS: dict[str, tuple[str, Callable[[nn.Module, Path], Path]]] = {
    "rosinality": ("rosinality", lambda n, p: write_rosinality(n, p, latent_avg=n.w_avg)),
    "rosinality rows": ("rosinality", lambda n, p: write_rosinality(n, p, latent_avg=n.w_avg.repeat(8, 1))),
    "rosinality legacy": ("rosinality", write_legacy),
    "rosinality self-trained": ("rosinality", write_data_parallel),
    "psp decoder": ("psp", write_psp),
    "nvidia": ("nvidia", write_nvidia),
    "nvidia protocol 2": ("nvidia", write_nvidia_old),
    "nvidia state dict": ("nvidia", write_state_dict),
    "nvidia safetensors": ("nvidia", write_foreign_safetensors),
    "pti": ("pti", write_pti),
    "ours": ("reganie", write_ours),
}


@pytest.mark.parametrize("case", list(DIALECTS))
def test_round_trip(network: nn.Module, tmp_path: Path, case: str) -> None:
    dialect, write = DIALECTS[case]
    path = write(network, tmp_path / "source.bin" if dialect != "reganie" else tmp_path / "source.safetensors")
    found = checkpoints.inspect(path)
    assert (found["kind"], found["dialect"], found["config"]["resolution"]) == ("generator", dialect, 32)
    assert json.dumps(found) and found["tensors"]
    loaded = checkpoints.load_generator(path)
    expected = network.state_dict()
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert loaded.fingerprint == checkpoints.fingerprint(expected)
    assert loaded.source == path.name and not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    before = path.read_bytes()
    report = checkpoints.convert(path, tmp_path / "ours.safetensors")
    assert path.read_bytes() == before
    again = checkpoints.load_generator(tmp_path / "ours.safetensors")
    assert again.fingerprint == loaded.fingerprint == report["fingerprint"]
    z = torch.randn(2, 16, generator=torch.Generator().manual_seed(3))
    assert torch.equal(again(z, truncation_psi=0.5), network(z, truncation_psi=0.5))
    if dialect != "reganie":
        assert again.provenance["source"] == path.name and len(again.provenance["sha256"]) == 64
    assert str(tmp_path) not in json.dumps([found, again.provenance])


def test_loading_inside_inference_mode_gives_usable_weights(network: nn.Module, tmp_path: Path) -> None:
    path = write_ours(network, tmp_path / "g.safetensors")
    with torch.inference_mode():
        loaded = checkpoints.load_generator(path)
    ws = torch.zeros(1, 8, 16, requires_grad=True)
    loaded.synthesis(ws).sum().backward()  # inference tensors would refuse to be saved for backward
    assert ws.grad is not None and ws.grad.abs().sum() > 0


def test_missing_average_is_the_mean_of_mapped_latents(network: nn.Module, tmp_path: Path) -> None:
    loaded = checkpoints.load_generator(write_rosinality(network, tmp_path / "g.pt"))
    z = torch.randn(20000, 16, generator=torch.Generator().manual_seed(99))
    w = network.mapping.w(z)
    error = (loaded.w_avg - w.mean(0)).abs() / w.std(0)
    assert error.max() < 0.06  # about five standard errors of a mean of 8192
    assert "latent_avg" in loaded.provenance["notes"][0]
    assert torch.equal(checkpoints.load_generator(tmp_path / "g.pt").w_avg, loaded.w_avg)


def test_dropped_noises_are_replaced_by_seeded_ones(network: nn.Module, tmp_path: Path) -> None:
    renamed = {k: v for k, v in files.to_rosinality(network.state_dict()).items() if "noises." not in k}
    path = files.rosinality_file(tmp_path / "g.pt", renamed, latent_avg=network.w_avg)
    loaded = checkpoints.load_generator(path)
    noise = torch.cat([v.flatten() for k, v in loaded.state_dict().items() if k.endswith("noise_const")])
    assert abs(noise.mean()) < 0.1 and abs(noise.std() - 1) < 0.1
    assert torch.equal(loaded.synthesis.b8.conv1.weight, network.synthesis.b8.conv1.weight)
    assert checkpoints.load_generator(path).fingerprint == loaded.fingerprint


def test_file_with_generator_and_discriminator(network: nn.Module, tmp_path: Path) -> None:
    judge = networks.build("discriminator", {"type": "Discriminator", "resolution": 16, "channels": [8, 8, 8]})
    module = files.nvidia_discriminator(judge.state_dict(), group=None)
    path = files.nvidia_file(tmp_path / "both.pkl", G_ema=files.nvidia_generator(network.state_dict()), D=module)
    assert checkpoints.inspect(path)["contains"] == ["generator", "discriminator"]
    loaded = checkpoints.load_discriminator(path)
    assert loaded.config.clamp == 256 and loaded.config.mbstd_group >= 1000
    for name, value in judge.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    report = checkpoints.convert(path, tmp_path / "d.safetensors", kind="discriminator")
    assert report["kind"] == "discriminator"
    assert checkpoints.load_discriminator(tmp_path / "d.safetensors").fingerprint == loaded.fingerprint


# --- encoders ---------------------------------------------------------------------------------------------------------


def encoder_file(path: Path, name: str, average: Tensor | None, **opts: Any) -> Path:
    """A file with the manifest's shapes; zero weights of one shared storage keep the test small."""
    shapes = {key: (shape, dtype) for key, (shape, dtype) in files.manifest(name).items()}
    largest = max(int(np.prod(shape)) for shape, _ in shapes.values())
    shared = torch.zeros(largest)
    state = {key: torch.zeros(shape, dtype=torch.int64) if "int" in dtype else shared[: int(np.prod(shape))].view(shape)
             for key, (shape, dtype) in shapes.items()}
    content: dict[str, Any] = {"state_dict": state}
    if opts:
        content["opts"] = opts
    if average is not None:
        content["latent_avg"] = average
    torch.save(content, path)
    return path


def test_encoder_settings_are_read_from_the_file(tmp_path: Path) -> None:
    """inspect only: the full networks are loaded by the parity tests below."""
    path = tmp_path / "encoder.pt"
    gradual = "psp_GradualStyleEncoder_encoder"
    encoder_file(path, gradual, torch.zeros(18, 512), encoder_type="GradualStyleEncoder", dataset_type="cars_encode")
    found = checkpoints.inspect(path)
    assert (found["kind"], found["dialect"]) == ("encoder", "psp")
    assert found["config"] == {"type": "GradualStyleEncoder", "num_ws": 18, "w_dim": 512, "input_resolution": 256,
                               "input_height": 192}
    assert found["metadata"]["opts"]["dataset_type"] == "cars_encode"
    encoder_file(path, "psp_SingleStyleCodeEncoder_encoder", None, stylegan_size=256)
    assert checkpoints.inspect(path)["config"]["num_ws"] == 14
    encoder_file(path, gradual, None)
    with pytest.raises(UnsupportedCheckpointError, match="encoder_type"):
        checkpoints.load_encoder(path)
    assert checkpoints.inspect(path)["kind"] == "encoder"
    encoder_file(path, gradual, None, encoder_type="BackboneEncoder")
    with pytest.raises(UnsupportedCheckpointError, match="ReStyle"):
        checkpoints.load_encoder(path)
    encoder_file(path, gradual, None, encoder_type="Encoder4Editing", start_from_latent_avg=True)
    with pytest.raises(CorruptCheckpointError, match="latent_avg"):
        checkpoints.load_encoder(path)
    with pytest.raises(WrongKindError, match="load_encoder"):
        checkpoints.load_generator(path)


@torch.no_grad()
def test_single_style_file(tmp_path: Path) -> None:
    """A pSp file with its decoder: codes as the original's, and the decoder as a generator."""
    name = "psp_SingleStyleCodeEncoder_encoder"
    state = files.weights(name)
    decoder = hostile.tiny_generator(32, 512)
    state |= {f"decoder.{key}": value for key, value in files.to_rosinality(decoder.state_dict()).items()}
    opts = files.namespace(encoder_type="SingleStyleCodeEncoder", stylegan_size=1024)
    torch.save({"state_dict": state, "latent_avg": torch.ones(512), "opts": opts}, tmp_path / "psp.pt")
    encoder = checkpoints.load_encoder(tmp_path / "psp.pt")
    image = torch.from_numpy(files.fill.make_image("e4e_x", (1, 3, 256, 256)))
    stored = files.golden(name)
    codes = encoder(image) - 1.0
    assert files.error_over_scale(codes[:, :1].expand(1, 18, 512), stored, "codes") <= 1.0
    assert torch.equal(codes, codes[:, :1].expand_as(codes)) and encoder.num_ws == 8
    assert checkpoints.load_generator(tmp_path / "psp.pt").resolution == 32


def test_full_size_e4e_file(tmp_path: Path) -> None:
    """The shapes of the 1024 px file, in half precision: encoder and decoder are both found, promoted and complete."""
    state = {}
    for i, (key, (shape, dtype)) in enumerate(files.manifest("e4e_1024").items()):
        state[key] = torch.full(shape, i % 1000, dtype=torch.int64 if "int" in dtype else torch.float16)
        if key.endswith("kernel"):
            state[key] = torch.from_numpy(files.fill.fill_one(key, shape))
    path = tmp_path / "e4e.pt"
    opts = {"encoder_type": "Encoder4Editing"}
    torch.save({"state_dict": state, "latent_avg": torch.ones(18, 512), "opts": opts}, path)
    encoder = checkpoints.load_encoder(path)
    found = encoder.state_dict()
    expected = {key[len("encoder.") :]: value for key, value in state.items() if key.startswith("encoder.")}
    assert found.keys() == expected.keys() | {"latent_avg"}
    assert all(found[key].flatten()[0] == value.flatten()[0] for key, value in expected.items())
    assert {value.dtype for value in found.values()} == {torch.float32, torch.int64} and encoder.num_ws == 18
    del encoder, found
    generator = checkpoints.load_generator(path)
    assert generator.resolution == 1024 and torch.equal(generator.w_avg, torch.ones(512))
    path.unlink()


# --- directions -------------------------------------------------------------------------------------------------------


def test_directions(tmp_path: Path) -> None:
    age, pose = torch.randn(1, 512), torch.randn(1, 18, 512)
    torch.save(age, tmp_path / "age.pt")
    torch.save(pose, tmp_path / "Head pose (left).pt")
    np.save(tmp_path / "smile_boundary.npy", age.double().numpy())
    for name, key, expected in (("age.pt", "age", age), ("Head pose (left).pt", "head_pose_left", pose[0]),
                                ("smile_boundary.npy", "smile_boundary", age)):
        loaded = checkpoints.load_directions(tmp_path / name)
        assert loaded.kind == "directions" and [c["name"] for c in loaded.config["controls"]] == [key]
        assert torch.equal(loaded.tensors[f"direction.{key}"], expected)
        checkpoints.convert(tmp_path / name, tmp_path / "ours.safetensors")
        again = checkpoints.load_directions(tmp_path / "ours.safetensors")
        assert torch.equal(again.tensors[f"direction.{key}"], expected) and again.config == loaded.config
    comp, mean, std = torch.randn(80, 1, 512), torch.randn(1, 512), torch.rand(80)
    torch.save({"comp": comp, "mean": mean, "std": std}, tmp_path / "ffhq_pca.pt")
    loaded = checkpoints.load_directions(tmp_path / "ffhq_pca.pt")
    assert torch.allclose(loaded.tensors["direction.pc54"], comp[54] * std[54])
    np.savez(tmp_path / "pca.npz", comp=comp.numpy())
    with pytest.raises(UnsupportedCheckpointError):
        checkpoints.load_directions(tmp_path / "pca.npz")


# --- our own files ----------------------------------------------------------------------------------------------------


def test_own_file_is_plain_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    tensors = {"a.b": torch.randn(3, 4), "scalar": torch.tensor(2.5), "count": torch.tensor(3),
               "empty": torch.zeros(0, 2), "mask": torch.tensor([True, False]), "turned": torch.randn(3, 4).t()}
    path = tmp_path / "x.safetensors"
    checkpoints.save_checkpoint(path, "training", {"sizes": (1, 2)}, tensors, {"seed": 1})
    assert all(torch.equal(load_file(path)[name], tensor) for name, tensor in tensors.items())
    found = checkpoints.read_checkpoint(path, "training")
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tensors.items())
    assert (found.config, found.provenance) == ({"sizes": [1, 2]}, {"seed": 1})
    first = path.read_bytes()
    checkpoints.save_checkpoint(path, "training", {"sizes": (1, 2)}, dict(reversed(tensors.items())), {"seed": 1})
    assert path.read_bytes() == first
    checkpoints.save_checkpoint(path, "training", {}, tensors, {}, dtype=torch.float16)
    half = checkpoints.read_checkpoint(path).tensors
    assert half["a.b"].dtype == torch.float32 and half["count"].dtype == torch.int64
    assert torch.equal(half["a.b"], tensors["a.b"].half().float())
    with pytest.raises(WrongKindError, match="training"):
        checkpoints.read_checkpoint(path, "generator")


def test_header_lengths_that_look_like_other_formats(tmp_path: Path) -> None:
    """A safetensors file begins with a number; 0x..80 is also how a pickle begins, 0x4b50 how a zip does."""
    path = tmp_path / "x.safetensors"
    for wanted in (0x180, 0x280, 0x4B50):
        padding = 0
        for _ in range(2):  # the first file shows how long the header is without padding
            checkpoints.save_checkpoint(path, "latent", {}, {"ws": torch.zeros(2)}, {"padding": "x" * padding})
            padding = wanted - int.from_bytes(path.read_bytes()[:8], "little")
        assert padding == 0 and path.read_bytes()[:2] == wanted.to_bytes(2, "little")
        assert checkpoints.inspect(path)["kind"] == "latent"


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    checkpoints.save_checkpoint(path, "latent", {}, {"ws": torch.zeros(2)}, {})
    before = path.read_bytes()

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save_checkpoint(path, "latent", {}, {"ws": torch.ones(2)}, {})
    monkeypatch.undo()
    with pytest.raises(CorruptCheckpointError, match="non-finite"):
        checkpoints.save_checkpoint(path, "latent", {}, {"ws": torch.tensor([float("nan")])}, {})
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


def test_save_and_convert_refuse_bad_targets(network: nn.Module, tmp_path: Path) -> None:
    source = write_ours(network, tmp_path / "g.safetensors")
    before = source.read_bytes()
    for target in (source, tmp_path / "g.pt"):
        with pytest.raises(InputError):
            checkpoints.convert(source, target)
    with pytest.raises(NotFoundError):
        checkpoints.convert(source, tmp_path / "absent" / "g.safetensors")
    with pytest.raises(InputError, match="kind"):
        checkpoints.save_checkpoint(tmp_path / "x.safetensors", "virus", {}, {}, {})
    with pytest.raises(InputError, match="JSON"):
        checkpoints.save_checkpoint(tmp_path / "x.safetensors", "latent", {"a": float("nan")}, {}, {})
    assert source.read_bytes() == before and os.listdir(tmp_path) == ["g.safetensors"]


def test_fingerprint_depends_on_names_shapes_and_values() -> None:
    base = {"a": torch.arange(6.0), "b": torch.ones(2)}
    others = [{**base, "a": base["a"].reshape(2, 3)}, {**base, "b": torch.zeros(2)}, {"c": base["a"], "b": base["b"]}]
    prints = [checkpoints.fingerprint(t) for t in (base, *others)]
    assert len(set(prints)) == 4 and all(len(p) == 16 for p in prints)
    assert checkpoints.fingerprint(dict(reversed(base.items()))) == prints[0]


def test_rectifier_and_wrong_kind(tiny_domain: Path) -> None:
    rectifier = checkpoints.load_rectifier(tiny_domain / "rectifier.safetensors")
    assert rectifier.resolution == 32 and rectifier.provenance["fingerprints"]
    assert checkpoints.load_encoder(tiny_domain / "encoder.safetensors").num_ws == 8
    with pytest.raises(WrongKindError, match="load_encoder"):
        checkpoints.load_generator(tiny_domain / "encoder.safetensors")
    with pytest.raises(WrongKindError, match="load_generator"):
        checkpoints.load_rectifier(tiny_domain / "generator.safetensors")
