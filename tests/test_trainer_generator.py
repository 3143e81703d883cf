"""The generator stage: one step changes weights as it should, and a resumed run equals an uninterrupted one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reganie_core.checkpoints import read_checkpoint
from reganie_core.errors import InputError, MismatchError
from tests.trainer_files import write_attributes
from trainer.loop.config import build
from trainer.loop.run import Diverged, Run
from trainer.losses import r1_penalty
from trainer.portraits.generator import PortraitGeneratorConfig, PortraitGeneratorStage
from trainer.stages.generator import GeneratorStage, GeneratorStageConfig

TINY = ["resolution=16", "channels=8,8,8", "w_dim=8", "batch=4", "data_count=12",
        "tick_kimg=0.008", "sheet_kimg=1"]


def start(tmp_path: Path, out: str, kimg: float, resume: bool = False) -> Run:
    config = build(GeneratorStageConfig, None, [*TINY, f"data={tmp_path / 'data'}", f"total_kimg={kimg}"])
    run = Run(GeneratorStage(config), tmp_path / out, ["test"])
    run.prepare(resume)
    run.run()
    return run


def test_resume_is_bit_exact(tmp_path: Path) -> None:
    whole = start(tmp_path, "whole", 0.024)
    start(tmp_path, "parts", 0.012)
    parts = start(tmp_path, "parts", 0.024, resume=True)
    assert parts.seen == whole.seen == 24
    for name, module in whole.stage.modules.items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, parts.stage.modules[name].state_dict()[key]), (name, key)


def test_a_run_is_not_overwritten_and_another_network_is_refused(tmp_path: Path) -> None:
    start(tmp_path, "run", 0.008)
    with pytest.raises(InputError, match="--resume"):
        start(tmp_path, "run", 0.008)
    other = build(GeneratorStageConfig, None, [*TINY, f"data={tmp_path / 'data'}", "w_dim=12"])
    with pytest.raises(MismatchError, match="another configuration"):
        Run(GeneratorStage(other), tmp_path / "run", ["test"]).prepare(resume=True)


def test_export_is_slim_and_says_where_it_comes_from(tmp_path: Path) -> None:
    run = start(tmp_path, "run", 0.008)
    checkpoint = read_checkpoint(run.export_path, kind="generator")
    assert checkpoint.provenance["kimg"] == 0.008 and checkpoint.provenance["command"] == "test"
    assert set(checkpoint.tensors) == set(run.stage.G_ema.state_dict())
    assert (run.folder / "stats.jsonl").read_text().count("\n") == 1
    assert (run.folder / "sheet_last.png").exists()


def test_ten_bad_steps_end_the_run(tmp_path: Path) -> None:
    config = build(GeneratorStageConfig, None, [*TINY, f"data={tmp_path / 'data'}"])
    run = Run(GeneratorStage(config), tmp_path / "run", ["test"])
    assert run.check_finite({"D": 1.0})
    assert not run.check_finite({"D": float("nan")})
    assert run.check_finite({"D": 1.0})
    with pytest.raises(Diverged, match="D"):
        for _ in range(10):
            run.check_finite({"G": 1.0, "D": float("inf")})


def test_r1_of_a_linear_discriminator_has_a_closed_form() -> None:
    weight = torch.randn(3 * 4 * 4, dtype=torch.float64)
    real = torch.randn(5, 3, 4, 4, dtype=torch.float64)
    penalty = r1_penalty(lambda x: x.flatten(1) @ weight[:, None], real)
    assert float(penalty) == pytest.approx(float(weight.square().sum()), rel=1e-12)


def test_several_readers_may_have_to_agree(tmp_path: Path) -> None:
    """The attribute loss of pairs is the mean of what each network alone would say."""
    files = [write_attributes(tmp_path / f"{seed}.safetensors", seed=seed) for seed in (1, 2)]
    options = ["resolution=32", "channels=8,8,8,8", "w_dim=90", "batch=4", "data_count=12",
               f"data={tmp_path / 'data'}", "pairs=1", "adversarial=0", "attribute_weight=1"]

    def read(*more: str) -> float:
        config = build(PortraitGeneratorConfig, None, [*options, *more])
        return float(PortraitGeneratorStage(config).step(0)["attribute"])

    first, second = (read(f"attributes={file}") for file in files)
    assert abs(first - second) > 1e-3 * first
    both = read(f"attributes={files[0]}", f"more_attributes={files[1]}")
    assert both == pytest.approx((first + second) / 2, rel=1e-5)
    with pytest.raises(InputError, match="more_attributes"):
        build(PortraitGeneratorConfig, None, ["more_attributes=x.safetensors"])
