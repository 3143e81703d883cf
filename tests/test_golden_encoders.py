"""e4e and pSp, in real ``.pt`` files, against outputs of the original networks on synthetic weights (fp32)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reganie_core import checkpoints
from reganie_core.editing.directions import DirectionEditor
from tests import checkpoint_files as files

NAME = "e4e_1024"


def check(found: Tensor, name: str, of: str = NAME) -> None:
    assert files.error_over_scale(found, files.golden(of), name) <= 1.0


def e4e_file(path: Path) -> Path:
    """The layout of a published e4e file, 267 M + 30 M parameters."""
    options = {"encoder_type": "Encoder4Editing", "stylegan_size": 1024, "start_from_latent_avg": True,
               "dataset_type": "ffhq_encode", "checkpoint_path": None, "lr": 1e-4, "progressive_steps": [0, 2000]}
    tensors = {key: value.contiguous() for key, value in files.weights(NAME).items()}
    torch.save({"state_dict": tensors, "latent_avg": files.latent_avg(18, 512), "opts": options}, path)
    return path


@pytest.fixture(scope="module")
def e4e_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The one large file of these tests; deleted after them."""
    path = e4e_file(tmp_path_factory.mktemp("e4e") / "e4e_ffhq_encode.pt")
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def networks(e4e_path: Path) -> tuple[nn.Module, nn.Module]:
    """Its encoder and decoder."""
    return checkpoints.load_encoder(e4e_path), checkpoints.load_generator(e4e_path)


@pytest.fixture(scope="module")
def picture() -> Tensor:
    return torch.from_numpy(files.fill.make_image("e4e_x", (1, 3, 256, 256)))


@pytest.fixture(scope="module")
def latents(networks: tuple[nn.Module, nn.Module], picture: Tensor) -> Tensor:
    with torch.inference_mode():
        return networks[0](picture)


def test_e4e_codes(networks: tuple[nn.Module, nn.Module], latents: Tensor) -> None:
    encoder, generator = networks
    assert type(encoder).__name__ == "Encoder4Editing"
    assert (encoder.num_ws, encoder.w_dim, encoder.input_resolution) == (18, 512, 256)
    assert (generator.num_ws, generator.w_dim, generator.resolution) == (18, 512, 1024)
    check(latents, "latents")
    check(latents - encoder.latent_avg, "encoder_codes")
    assert torch.equal(encoder.latent_avg, files.latent_avg(18, 512))


def test_e4e_stages_and_trunk(networks: tuple[nn.Module, nn.Module], picture: Tensor) -> None:
    """All stages from one pass through the trunk, whose statistics are compared on the way."""
    encoder, golden = networks[0], files.golden(NAME)
    with torch.inference_mode():
        x, taps = encoder.input_layer(picture), {}
        for i, unit in enumerate(encoder.body):
            x = taps[i] = unit(x)
            if f"body{i}.stats" in golden:
                statistics = x.double().mean().item(), x.double().std(correction=0).item()
                assert statistics == pytest.approx(tuple(golden[f"body{i}.stats"]), abs=1e-5)
        pyramid = taps[6], taps[20], taps[23]
        encoder.pyramid = lambda _: pyramid
        try:
            for stage in (0, 1, 5, 10, 17):
                encoder.stage = stage
                check(encoder.codes(picture), f"encoder_codes_stage{stage}")
        finally:
            encoder.stage = 17
            del encoder.pyramid


def test_inversion(networks: tuple[nn.Module, nn.Module], latents: Tensor) -> None:
    with torch.inference_mode():
        image = networks[1].synthesis(latents, noise="const")
    check(image, "image")
    check(F.adaptive_avg_pool2d(image, (256, 256)), "image_face_pool256")


def test_direction_edits(networks: tuple[nn.Module, nn.Module], latents: Tensor) -> None:
    age = files.given("dir_age", 1, 512)
    pose = files.given("dir_pose", 1, 18, 512)[0]
    editor = DirectionEditor({"age": age / age.norm(), "pose": pose / pose[0].norm()})
    with torch.inference_mode():
        older = editor.edit(latents, {"age": 3.0})
        check(older, "edit_age_p3")
        check(editor.edit(latents, {"pose": -2.0}), "edit_pose_m2")
        check(networks[1].synthesis(older, noise="const"), "image_edit_age_p3")


def test_ganspace_edits(latents: Tensor) -> None:
    mean = 0.1 * files.given("pca_mean", 1, 512)
    components = files.given("pca_comp", 80, 1, 512) / 512**0.5
    deviations = files.given("pca_std", 80).abs() + 0.5
    edited = []
    for index, start, end, strength in ((54, 7, 8, 20.0), (58, 7, 9, -20.0)):
        component, deviation = components[index], deviations[index]
        have = (latents[:, 0] - mean) @ component[0] / deviation
        codes = latents.clone()
        codes[:, start:end] += (strength - have)[:, None, None] * component * deviation
        edited.append(codes)
    check(torch.cat(edited), "edit_ganspace")


def test_psp_codes(e4e_path: Path, picture: Tensor) -> None:
    """pSp's encoder has the tensors of e4e's and computes something else with them."""
    name = "psp_GradualStyleEncoder_encoder"
    entries, others = files.manifest(name), files.manifest(NAME)
    assert all(others[key] == entry for key, entry in entries.items())
    encoder = checkpoints.load_encoder(e4e_path, encoder_type="GradualStyleEncoder")
    assert type(encoder).__name__ == "GradualStyleEncoder"
    with torch.inference_mode():
        check(encoder(picture) - encoder.latent_avg, "codes", name)


def test_psp_single_style_codes(picture: Tensor, tmp_path: Path) -> None:
    name, path = "psp_SingleStyleCodeEncoder_encoder", tmp_path / "psp.pt"
    options = {"encoder_type": "SingleStyleCodeEncoder", "start_from_latent_avg": True, "output_size": 1024}
    torch.save({"state_dict": files.weights(name), "latent_avg": files.latent_avg(18, 512), "opts": options}, path)
    encoder = checkpoints.load_encoder(path)
    path.unlink()
    assert type(encoder).__name__ == "SingleStyleCodeEncoder" and encoder.num_ws == 18
    with torch.inference_mode():
        check(encoder(picture) - encoder.latent_avg, "codes", name)


@pytest.mark.parametrize(("name", "size", "num_ws"), [("e4e_512", 512, 16), ("e4e_256", 256, 14)])
def test_other_full_sizes_load(name: str, size: int, num_ws: int, tmp_path: Path) -> None:
    """Names and shapes of the published sizes, in half precision; every value stands twice, which halves the file."""
    entries = files.manifest(name)
    sizes = {key: int(np.prod(shape)) for key, (shape, _) in entries.items()}
    base = torch.linspace(0.5, 1.5, sum(sizes.values()) // 2).half()
    tensors, start = {}, 0
    for key, (shape, _) in entries.items():
        start = start if start + sizes[key] <= len(base) else 0
        tensors[key] = base[start : start + sizes[key]].reshape(shape)
        start += sizes[key]
    # Counters are whole numbers and the filters are checked on reading.
    real = {key: entry for key, entry in entries.items() if "int" in entry[1] or key.endswith(".kernel")}
    tensors |= {key: torch.from_numpy(np.array(value)) for key, value in files.fill.fill(real).items()}
    options = {"encoder_type": "Encoder4Editing", "stylegan_size": size}
    path = tmp_path / "e4e.pt"
    torch.save({"state_dict": tensors, "latent_avg": files.latent_avg(num_ws, 512), "opts": options}, path)
    encoder, generator = checkpoints.load_encoder(path), checkpoints.load_generator(path)
    assert (encoder.num_ws, generator.num_ws, generator.resolution) == (num_ws, num_ws, size)
    path.unlink()
    last = f"styles.{num_ws - 1}.linear.weight"
    assert torch.equal(encoder.get_parameter(last), tensors[f"encoder.{last}"].float())
