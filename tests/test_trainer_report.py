"""Status lines, times of parts, memory: what a run says about itself, and a batch that is split to fit."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from reganie_core.errors import InputError
from tests.trainer_files import one_thread  # noqa: F401
from trainer import train
from trainer.loop import preflight
from trainer.loop.clock import Clock
from trainer.loop.config import build
from trainer.loop.report import Report
from trainer.loop.run import Run

from .toy_stage import ToyConfig, ToyStage


def prepared(out: Path, *options: str) -> Run:
    run = Run(ToyStage(build(ToyConfig, None, [*options])), out, ["test"])
    run.prepare(False)
    return run


def test_parts_of_a_step_do_not_count_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 4.0, 10.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    clock = Clock("cpu")
    with clock("D"), clock("data"):
        pass
    assert clock.read() == {"D": 7.0, "data": 3.0}
    assert clock.read() == {}


def test_a_tick_goes_to_the_terminal_and_to_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(tmp_path, 100.0)
    report.tick(1.0, 0.5, 20.0, 500, {"data": 5.0, "G": 15.0}, {"l1": 0.25, "gradient_R": 3.0})
    record = json.loads((tmp_path / "stats.jsonl").read_text())
    assert record["s_per_kimg"] == 40.0 and record["s_per_kimg_data"] == 10.0 and record["l1"] == 0.25
    line = capsys.readouterr().out
    assert "40.0 s/kimg (data 10.0, G 30.0)" in line and "gradient_R 3" in line
    Report(tmp_path, 100.0, loud=False).record({"kimg": 1.0})
    assert (tmp_path / "stats.jsonl").read_text().count("\n") == 1


def test_a_batch_that_would_not_fit_is_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    """The step in four micro-batches grows memory by 1 GiB; 3 GiB are free, of which nine tenths may be used."""
    run = prepared(tmp_path / "a", "batch=16")
    sizes = {"VmRSS": 1.0, "VmHWM": 2.0}
    monkeypatch.setattr(preflight, "_resident", lambda key: sizes[key])
    monkeypatch.setattr(preflight, "_available_memory", lambda: 3.0)
    preflight.preflight(run)
    assert run.config.accumulate == 2
    assert "2 micro-batches, because 1 would not fit" in capsys.readouterr().out
    monkeypatch.setattr(preflight, "_available_memory", lambda: 0.5)
    with pytest.raises(InputError, match="smaller batch"):
        preflight.preflight(prepared(tmp_path / "b", "batch=16"))


def test_a_stage_that_only_gathers_is_not_tried(tmp_path: Path) -> None:
    run = prepared(tmp_path)
    run.stage.optimizers = {}
    run.stage.step = lambda seen: pytest.fail("a step was taken")
    preflight.preflight(run)


def test_a_first_step_that_is_not_finite_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="very first step is not finite"):
        preflight.preflight(prepared(tmp_path, "spoil_at=0"))


def test_help_reads_like_a_manual_and_stages_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train.main(["--help"])
    text = capsys.readouterr().out
    for words in ("EXAMPLES", "8 GPUs", "2 nodes", "--resume", "images=PATH", "--preflight"):
        assert words in text
    assert train.main(["--stages"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("generator", "encoder", "rectifier"))


def test_a_resumed_run_takes_its_own_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"batch": 24, "lr": 0.5, "device": "cuda:7"}))
    monkeypatch.setattr(train, "stage_class", lambda name: ToyStage)
    args = train.parser().parse_intermixed_args(["rectifier", "--out", str(tmp_path), "--resume", "lr=0.25"])
    config = train.read_config(args)
    assert (config.batch, config.lr) == (24, 0.25) and config.device != "cuda:7"
