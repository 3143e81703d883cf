"""The generator and the rectifier stage in micro-batches and in two processes equal themselves in one piece."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from reganie_core.checkpoints import read_checkpoint
from trainer.loop.config import build
from trainer.loop.preflight import preflight
from trainer.loop.run import Run
from trainer.stages.encoder import EncoderStage
from trainer.stages.generator import GeneratorStage
from trainer.stages.rectifier import RectifierStage

from .test_trainer_distributed import ENVIRONMENT, ROOT, TORCHRUN, assert_same_training
from .trainer_files import SMALL_RECTIFIER, one_thread, write_attributes  # noqa: F401

GENERATOR = ["resolution=16", "channels=8,8,8", "w_dim=8", "batch=8", "data_count=12",
             "tick_kimg=0.008", "sheet_kimg=0", "total_kimg=0.016"]
RECTIFIER = ["batch=8", *SMALL_RECTIFIER, "r1_gamma=1", "r1_interval=2",
             "tick_kimg=0.008", "sheet_kimg=0", "total_kimg=0.016",
             'extras={"paste": {"share": 0.5}, "jitter": {"most": 0.3}}']


@pytest.fixture(scope="module")
def files(tiny_domain: Any, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder, own = Path(tiny_domain), tmp_path_factory.mktemp("features")
    with torch.random.fork_rng():
        attributes = write_attributes(own / "attributes.safetensors")
    return [f"generator={folder / 'generator.safetensors'}", f"encoder={folder / 'encoder.safetensors'}",
            f"editors={folder / 'directions.safetensors'}", f"attributes={attributes}"]


def run_stage(stage_class: type, options: list[str], out: Path, check: bool = False) -> Run:
    stage = stage_class(build(stage_class.config_class, None, options))
    stage.sheet, stage.validate = lambda path: None, lambda: {}
    run = Run(stage, out, ["test"])
    run.prepare(False)
    if check:
        preflight(run)
    run.run()
    return run


def test_generator_in_micro_batches(tmp_path: Path) -> None:
    options = [*GENERATOR, f"data={tmp_path / 'data'}"]
    run_stage(GeneratorStage, options, tmp_path / "one")
    run_stage(GeneratorStage, [*options, "accumulate=2"], tmp_path / "two")
    assert_same_training(tmp_path / "one", tmp_path / "two", 2e-5)


def test_rectifier_in_micro_batches(files: list[str], tmp_path: Path) -> None:
    run_stage(RectifierStage, [*RECTIFIER, *files], tmp_path / "one")
    run_stage(RectifierStage, [*RECTIFIER, *files, "accumulate=2"], tmp_path / "two")
    assert_same_training(tmp_path / "one", tmp_path / "two", 2e-5)


@pytest.fixture
def encoder(files: list[str], tmp_path: Path) -> list[str]:
    """Options of the encoder stage with everything that deals out rows: known codes, shapes, the discriminator."""
    return ["batch=8", "data_count=8", f"data={tmp_path / 'data'}", "stage_start_kimg=0", "stage_every_kimg=0.004",
            "total_kimg=0.016", "tick_kimg=0.016", "sheet_kimg=0", "latent_weight=0.1", "paste=0.5",
            *(f for f in files if f.split("=")[0] in ("generator", "attributes"))]


# Adam divides by the gradient's size, so where that is nearly zero rounding shows more.
ENCODER_TOLERANCE = 1e-3


def test_encoder_in_micro_batches(encoder: list[str], tmp_path: Path) -> None:
    run_stage(EncoderStage, encoder, tmp_path / "one")
    run_stage(EncoderStage, [*encoder, "accumulate=2"], tmp_path / "two")
    assert_same_training(tmp_path / "one", tmp_path / "two", ENCODER_TOLERANCE)


def test_encoder_in_two_processes(encoder: list[str], tmp_path: Path) -> None:
    run_stage(EncoderStage, encoder, tmp_path / "one")
    in_two_processes("encoder", encoder, tmp_path / "two")
    assert_same_training(tmp_path / "one", tmp_path / "two", ENCODER_TOLERANCE)


def test_a_run_with_a_preflight_equals_one_without(files: list[str], tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    run_stage(RectifierStage, [*RECTIFIER, *files], tmp_path / "plain")
    run_stage(RectifierStage, [*RECTIFIER, *files], tmp_path / "checked", check=True)
    a, b = (read_checkpoint(tmp_path / name / "state.safetensors").tensors for name in ("plain", "checked"))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert "preflight: " in capsys.readouterr().out


def in_two_processes(stage: str, options: list[str], out: Path) -> None:
    run = subprocess.run([*TORCHRUN, "--nproc-per-node", "2", str(ROOT / "trainer" / "train.py"), stage, "--out",
                          str(out), *options, "threads=1"],
                         env=ENVIRONMENT, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stderr[-3000:]


def test_generator_in_two_processes(tmp_path: Path) -> None:
    options = [*GENERATOR, f"data={tmp_path / 'data'}"]
    run_stage(GeneratorStage, options, tmp_path / "one")
    in_two_processes("generator", options, tmp_path / "two")
    assert_same_training(tmp_path / "one", tmp_path / "two", 2e-5)


def test_rectifier_in_two_processes(files: list[str], tmp_path: Path) -> None:
    run_stage(RectifierStage, [*RECTIFIER, *files], tmp_path / "one")
    program = ("import sys; sys.path[:0] = [sys.argv[1]]\n"
               "from trainer import train\nfrom trainer.stages.rectifier import RectifierStage as S\n"
               "S.sheet, S.validate = lambda self, path: None, lambda self: {}\n"
               "train.program(sys.argv[2:])\n")
    (tmp_path / "program.py").write_text(program)
    run = subprocess.run([*TORCHRUN, "--nproc-per-node", "2", str(tmp_path / "program.py"), str(ROOT), "rectifier",
                          "--out", str(tmp_path / "two"), *RECTIFIER, *files, "threads=1"],
                         env=ENVIRONMENT, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stderr[-3000:]
    assert_same_training(tmp_path / "one", tmp_path / "two", 2e-5)


def test_an_encoder_may_look_at_smaller_pictures_than_the_generator_draws(files: list[str], tmp_path: Path) -> None:
    own = [f for f in files if f.split("=")[0] in ("generator", "attributes")]
    stage = EncoderStage(build(EncoderStage.config_class, None, [
        "batch=4", "input_resolution=16", "data_count=8",
        "stage_start_kimg=0", "device=cpu", f"data={tmp_path}", *own]))
    assert stage.E.input_resolution == 16 < stage.G.resolution
    assert {"l2", "code"} <= set(stage.step(0))
