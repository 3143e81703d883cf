"""A user's own pictures and generator, and nothing else: encoder and rectifier check themselves and start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import reganie_core as rc
from reganie_core.checkpoints import read_checkpoint
from reganie_core.errors import InputError, MismatchError, ReganieWarning
from reganie_core.images import save_image
from reganie_core.networks.rectifier import Rectifier, RectifierConfig
from tests.trainer_files import SMALL_RECTIFIER, one_thread  # noqa: F401
from trainer import train
from trainer.loop import preflight
from trainer.loop.config import build
from trainer.stages.encoder import EncoderStage, EncoderStageConfig
from trainer.stages.rectifier import RectifierStageConfig
from trainer.stages.widths import rectifier_widths
from trainer.substitutes import Pyramid, left_out, sefa_editor

QUICK = ["batch=4", "total_kimg=0.008", "tick_kimg=0.004", "threads=1", "device=cpu"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    random = torch.Generator().manual_seed(0)
    for number in range(6):
        coarse = torch.rand(1, 3, 4, 5, generator=random) * 2 - 1
        save_image(torch.nn.functional.interpolate(coarse, size=(40, 50), mode="bilinear"), folder / f"{number}.png")
    return folder


def test_own_pictures_and_a_generator_are_enough(tiny_domain: Path, pictures: Path, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    generator = f"generator={tiny_domain / 'generator.safetensors'}"
    with pytest.warns(ReganieWarning, match="No perceptual network"):
        assert train.main(["encoder", generator, f"images={pictures}", "--out", str(tmp_path / "e"), *QUICK]) == 0
    encoder = tmp_path / "e" / "encoder.safetensors"
    with pytest.warns(ReganieWarning, match="No editor|No perceptual"):
        assert train.main([generator, f"encoder={encoder}", f"images={pictures}", "--out", str(tmp_path / "r"), *QUICK,
                           *SMALL_RECTIFIER]) == 0
    text = capsys.readouterr().out
    assert text.count("preflight: ") == 2 and "l2_reconstruction" in text and "l2_images" in text
    assert rc.load_rectifier(tmp_path / "r" / "rectifier.safetensors").resolution == 32
    marks = read_checkpoint(tmp_path / "r" / "rectifier.safetensors").provenance["fingerprints"]
    assert marks["editor"] == f"sefa of {marks['generator']}"
    assert not list((tmp_path / "r").glob(".preflight*"))


def test_a_file_that_was_asked_for_must_be_there(tiny_domain: Path, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["encoder", f"generator={tiny_domain / 'generator.safetensors'}",
                       "attributes=nowhere.safetensors", "--out", str(tmp_path / "e"), *QUICK]) == 1
    assert "nowhere.safetensors" in capsys.readouterr().err
    config = RectifierStageConfig(editors=("nowhere.safetensors",))
    assert left_out(RectifierStageConfig(), "editors") and not left_out(config, "editors")


def test_an_encoder_of_another_generator_is_refused(make_networks: Any) -> None:
    class Stage:
        modules: dict[str, torch.nn.Module] = {}

    stage = Stage()
    nets, other = make_networks(), make_networks(seed=1, resolution=64)
    stage.G, stage.E = nets.generator, nets.encoder
    nets.generator.fingerprint = "a"
    nets.encoder.provenance = {"fingerprints": {"generator": "b"}}
    with pytest.raises(MismatchError, match="trained with the generator b, this one is a"):
        preflight.check_networks(stage)
    nets.encoder.provenance = {"fingerprints": {"generator": "a"}}
    assert preflight.check_networks(stage) == ""
    stage.E = other.encoder
    with pytest.raises(MismatchError, match="do not belong together"):
        preflight.check_networks(stage)
    nets.encoder.provenance = {}
    stage.E = nets.encoder
    assert "does not invert" in preflight.check_networks(stage)
    stage.modules = {"E": nets.encoder}
    assert preflight.check_networks(stage) == ""


def test_folders_and_disks_are_looked_at(tmp_path: Path) -> None:
    preflight.check_folder(tmp_path, 1000)
    with pytest.raises(InputError, match="GiB left"):
        preflight.check_folder(tmp_path, 2**60)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        preflight.check_folder(tmp_path / "file", 0)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_sefa_edits_are_measured_in_deviations_of_w(tiny_networks: Any) -> None:
    G = tiny_networks.generator
    G.fingerprint = "x"
    editor = sefa_editor(G, "cpu", count=4)
    w = G.mapping(torch.randn(512, G.z_dim, generator=torch.Generator().manual_seed(3)))
    moved = editor.edit(w, {"sefa_0": 1.0}) - w
    direction = moved[0, 0] / moved[0, 0].norm()
    assert float(moved[0, 0].norm()) == pytest.approx(float((w[:, 0] @ direction).std()), rel=0.15)


def test_the_pyramid_is_zero_for_equal_pictures_and_grows() -> None:
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(Pyramid().distance(x, x), torch.zeros(2))
    assert torch.allclose(Pyramid().distance(x, x + 0.1), torch.full((2,), 0.3), atol=1e-6)      # 32, 16 and 8 px


@pytest.mark.filterwarnings("ignore:No perceptual network")
def test_the_published_encoder_trains_on_a_small_generator(tiny_domain: Path, pictures: Path) -> None:
    options = ["encoder_type=e4e", "batch=2", f"generator={tiny_domain / 'generator.safetensors'}",
               f"images={pictures}", "stage_start_kimg=0", "stage_every_kimg=0.002", "device=cpu", "threads=1"]
    torch.set_num_threads(1)
    stage = EncoderStage(build(EncoderStageConfig, None, options))
    before = {k: v.clone() for k, v in stage.E.state_dict().items()}
    assert [stage.stage_at(n) for n in (0, 2, 4)] == [0, 1, 2]
    terms = stage.step(2)
    assert terms["gradient"].isfinite() and {"l2", "perceptual", "code", "delta"} <= set(terms)
    changed = {k for k, v in stage.E.state_dict().items() if not torch.equal(v, before[k])}
    assert any(k.startswith("body") for k in changed) and not any("running" in k for k in changed)


def test_default_widths_fit_every_resolution() -> None:
    """Widths A at 512 px and above, narrower below, and nobody's own widths are touched."""
    assert rectifier_widths(512) == RectifierConfig(512) and rectifier_widths(1024) == RectifierConfig(1024)
    for resolution in (16, 32, 64, 128, 256):
        found = rectifier_widths(resolution, output="literal")
        assert found.code_resolution == min(32, resolution // 2) and found.output == "literal"
        assert found.encoder_channels[-1] == found.body_channels == found.gl_dim // 4
        net, picture = Rectifier(found), torch.zeros(1, 3, resolution, resolution)
        assert net(picture, picture).shape == picture.shape
    with pytest.raises(InputError, match="upsamplings"):
        rectifier_widths(64, encoder_channels=(8, 8))
