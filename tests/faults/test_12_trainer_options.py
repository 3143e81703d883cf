"""Options that cannot train end in one sentence that names them; a run that diverged says what it can go on from."""

from __future__ import annotations

import dataclasses
import math
import typing
from pathlib import Path

import pytest
import torch

from reganie_core.errors import InputError
from tests.toy_stage import ToyStage
from tests.trainer_files import one_thread  # noqa: F401
from trainer import evaluate, stages, train
from trainer.loop import state
from trainer.loop.config import build
from trainer.stages import STAGES, stage_class

BAD = ["lr=nan", "lr=inf", "lr=-1", "lr=0", "lr=1e9", "beta1=2", "beta1=1", "beta2=-0.1", "beta2=nan", "threads=-3",
       "threads=1000000000", "device=gpu", "device=cuda:99", "device=", "seed=-1", "seed=100000000000000000000",
       "batch=0", "batch=-4", "total_kimg=nan", "total_kimg=inf", "total_kimg=-1", "ema_kimg=-1", "ema_kimg=nan",
       "tick_kimg=-1", "save_minutes=nan", "accumulate=0", "lr_decay_from=nan", "dtype=half", "lr=1e400"]

NEEDED = {"styleclip": {"prompt": "a", "mode": "mapper", "total_kimg": 1.0}, "joint": {"images": "."}}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """`train.py toy`."""
    monkeypatch.setitem(stages.STAGES, "toy", ("toy", "ToyStage"))
    for module in (stages, train):
        monkeypatch.setattr(module, "stage_class", lambda name: ToyStage)


def run(folder: Path, *more: str) -> int:
    return train.main(["toy", "--out", str(folder), "total_kimg=0.016", "sheet_kimg=100", *more])


@pytest.mark.parametrize("option", BAD)
def test_one_sentence_names_the_option(toy: None, tmp_path: Path, option: str,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "run", option) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and option.split("=")[0] in said and said.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_no_number_of_any_stage_may_be_nan_or_below_zero(stage: str) -> None:
    cls = stage_class(stage).config_class
    kinds = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls) if kinds[f.name] in (int, float, tuple[int, ...])]
    assert len(names) > 13                              # those that every stage has
    config = cls(**NEEDED.get(stage, {}))
    config.validate()
    for name in names:
        for value in (-1, *([math.nan, math.inf] if kinds[name] is float else [])):
            wrong = (value,) if kinds[name] == tuple[int, ...] else value
            with pytest.raises(InputError, match=rf"{name}\b"):
                dataclasses.replace(config, **{name: wrong}).validate()


def test_sizes_that_no_network_has_are_said_with_the_options(toy: None, tmp_path: Path,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "run", "size=0") == 1
    said = capsys.readouterr().err
    assert said.startswith("error: The toy stage cannot be made with these options") and "size=0" in said


@pytest.mark.parametrize(("argv", "out", "stage"), [
    (["--out", "runs/lr=0.1", "lr=0.001"], "runs/lr=0.1", "rectifier"),
    (["lr=0.001", "--out", "a=b=c", "generator"], "a=b=c", "generator"),
    (["generator", "--config", "x=1.json", "--out=r/lr=1", "lr=0.001"], "r/lr=1", "generator"),
    (["--out", "generator", "lr=0.001"], "generator", "rectifier")])
def test_what_follows_out_is_a_folder(argv: list[str], out: str, stage: str) -> None:
    args = train.parser().parse_intermixed_args(train.split_arguments(argv))
    assert (args.out, args.stage, args.overrides) == (out, stage, ["lr=0.001"])
    assert args.config == ("x=1.json" if "--config" in argv else None)


def test_a_folder_with_a_sign_in_its_name_is_made(toy: None, tmp_path: Path) -> None:
    assert run(tmp_path / "lr=0.1", "lr=0.001") == 0
    assert (tmp_path / "lr=0.1" / "state.safetensors").exists()


def test_a_run_that_diverges_before_it_saved_names_no_file(toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    folder, step = tmp_path / "run", ToyStage.step

    def spoilt(self: ToyStage, seen: int) -> dict:
        self.config.spoil_at = seen if (folder / "stats.jsonl").exists() else -1        # after the preflight
        return step(self, seen)

    monkeypatch.setattr(ToyStage, "step", spoilt)
    assert run(folder, "total_kimg=1", "lr=0.125") == 1
    said = capsys.readouterr().err
    assert "Nothing was saved before; start again with a lower lr (now 0.125)" in said and "safetensors" not in said
    monkeypatch.setattr(ToyStage, "step", step)
    assert run(folder, "--resume", "lr=0.001") == 0
    assert "no state in" in capsys.readouterr().out
    for missing in ("state.safetensors", "state.previous.safetensors"):       # what is there is what is named
        monkeypatch.setattr(ToyStage, "step", spoilt)
        assert run(folder, "--resume", "total_kimg=2") == 1
        last = state.newest(folder / "state.safetensors")
        assert str(last) in capsys.readouterr().err and last is not None and last.exists()
        state.save_state(folder / "state.safetensors", *_parts(), {"seen": 16, "elapsed": 0.0}, {})
        (folder / missing).unlink()


def _parts() -> tuple[dict, dict]:
    stage = ToyStage(build(ToyStage.config_class, None, []))
    return stage.modules, stage.optimizers


def test_weights_that_overflow_blame_the_lr_and_no_file(toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    step = ToyStage.step

    def poison(self: ToyStage, seen: int) -> dict:
        terms = step(self, seen)
        self.average.weight.data[0] = torch.inf
        return terms

    monkeypatch.setattr(ToyStage, "step", poison)
    assert run(tmp_path / "run", "lr=5") == 1
    said = capsys.readouterr().err
    assert "lower lr (now 5)" in said and "no longer finite" in said


@pytest.mark.parametrize("options", [["--device", "gpu"], ["--count", "-1"], ["--seed", "5"]])
def test_measuring_refuses_the_same_way(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(["reconstruction", "--count", "2", *options]) == 1
    assert capsys.readouterr().err.startswith("error: ")
