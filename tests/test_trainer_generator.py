"""The generator stage: one step changes weights as it should, and a resumed run equals an uninterrupted one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reganie_core.checkpoints import read_checkpoint
from reganie_core.errors import InputError, MismatchError
from tests.trainer_files import write_attributes
from trainer.loop import preflight
from trainer.loop.config import build
from trainer.loop.run import Diverged, Run
from trainer.losses import r1_penalty
from trainer.stages.generator import GeneratorStage, GeneratorStageConfig

TINY = ["resolution=16", "channels=8,8,8", "w_dim=8", "mapping_layers=2", "batch=4", "data_count=12", "r1_interval=2",
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


def test_a_grown_generator_shows_the_smaller_ones_pictures(tmp_path: Path) -> None:
    small = start(tmp_path, "small", 0.016)
    options = [*TINY, f"data={tmp_path / 'data'}", f"grow_from={tmp_path / 'small'}", "noise=false"]
    larger = ["resolution=32", "channels=8,8,8,6", "grow_warmup_kimg=0.004"]
    stage = GeneratorStage(build(GeneratorStageConfig, None, [*options, *larger]))
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = small.stage.G_ema.synthesis(small.stage.G_ema.mapping(z), noise="none")
        after = stage.G.synthesis(stage.G.mapping(z), noise="none")
    halved = torch.nn.functional.avg_pool2d(after, 2)[..., 2:-2, 2:-2]
    assert (halved - before[..., 2:-2, 2:-2]).abs().mean() < 0.25 * before.std()
    assert torch.equal(stage.D.b16.conv0.weight, small.stage.D.b16.conv0.weight)
    weight = stage.G.synthesis.b32.conv0.weight.detach().clone()
    stage.step(0)
    assert torch.equal(stage.G.synthesis.b32.conv0.weight, weight)      # D alone learns first
    stage.step(4)
    stage.step(8)
    assert not torch.equal(stage.G.synthesis.b32.conv0.weight, weight)
    with pytest.raises(MismatchError, match="other widths"):
        GeneratorStage(build(GeneratorStageConfig, None, [*options, "resolution=32", "channels=12,12,12,6"]))


def test_a_frozen_generator_keeps_its_codes_and_learns_finer_pictures(tmp_path: Path) -> None:
    small = start(tmp_path, "small", 0.016)
    stage = GeneratorStage(build(GeneratorStageConfig, None, [
        *TINY, f"data={tmp_path / 'data'}", f"grow_from={small.export_path}", "frozen=smaller", "noise=false",
        "resolution=32", "channels=8,8,8,6", "grow_warmup_kimg=0"]))
    before = {name: value.clone() for name, value in stage.G.state_dict().items()}
    for name, value in small.stage.G_ema.state_dict().items():
        if not name.endswith("noise_strength"):
            torch.testing.assert_close(before[name], value, rtol=1e-3, atol=1e-3)        # exported in half precision
    for seen in (0, 4, 8):
        stage.step(seen)
    for network in (stage.G, stage.G_ema):
        changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
        assert changed and all(name.startswith("synthesis.b32.") for name in changed)
    stage = GeneratorStage(build(GeneratorStageConfig, None, [
        *TINY, f"data={tmp_path / 'data'}", f"init_from={small.export_path}", "frozen=mapping", "grow_warmup_kimg=0"]))
    stage.step(0)
    start_of = read_checkpoint(small.export_path).tensors
    changed = {name for name, value in stage.G.state_dict().items() if not torch.equal(value, start_of[name].float())}
    assert changed and all(name.startswith("synthesis.") for name in changed)
    with pytest.raises(InputError, match="frozen"):
        build(GeneratorStageConfig, None, [*TINY, "frozen=smaller"])


def test_the_preflight_runs_what_starts_late(tmp_path: Path) -> None:
    """A step in which D learns alone would promise half the time and memory."""
    small = start(tmp_path, "small", 0.008)
    config = build(GeneratorStageConfig, None, [*TINY, f"data={tmp_path / 'data'}", f"init_from={small.export_path}",
                                                "frozen=mapping", "grow_warmup_kimg=0.05", "path_length_weight=1",
                                                "path_length_interval=3", "r1_interval=2"])
    run = Run(GeneratorStage(config), tmp_path / "run", ["test"])
    _, terms = preflight._steps(run)
    assert {"r1", "gradient_G", "path_length"} <= set(terms)


def test_several_readers_may_have_to_agree(tmp_path: Path) -> None:
    """The attribute loss of pairs is the mean of what each network alone would say."""
    files = [write_attributes(tmp_path / f"{seed}.safetensors", seed=seed) for seed in (1, 2)]
    options = ["resolution=32", "channels=8,8,8,8", "w_dim=90", "mapping_layers=2", "batch=4", "data_count=12",
               "mixing=0", "noise=false", f"data={tmp_path / 'data'}", "pairs=1", "adversarial=0", "attribute_weight=1"]

    def read(*more: str) -> float:
        return float(GeneratorStage(build(GeneratorStageConfig, None, [*options, *more])).step(0)["attribute"])

    first, second = (read(f"attributes={file}") for file in files)
    assert abs(first - second) > 1e-3 * first
    both = read(f"attributes={files[0]}", f"more_attributes={files[1]}")
    assert both == pytest.approx((first + second) / 2, rel=1e-5)
    with pytest.raises(InputError, match="more_attributes"):
        build(GeneratorStageConfig, None, ["more_attributes=x.safetensors"])
