"""Promise 14: divergence is loud and bounded.

A step whose loss or gradient is not finite changes no weight, moment or average, and is named in ``stats.jsonl``; ten
in a row end the run with a sentence and an exit code that is not 0, and the last good state is on the disk. Not
promised: that training converges.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from reganie_core.checkpoints import read_checkpoint
from tests.toy_stage import ToyStage
from trainer import stages, train
from trainer.loop import state
from trainer.loop.run import Run

STEP = 8


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """`train.py toy`: a stage that trains in milliseconds."""
    monkeypatch.setitem(stages.STAGES, "toy", ("toy", "ToyStage"))
    for module in (stages, train):
        monkeypatch.setattr(module, "stage_class", lambda name: ToyStage)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(folder: Path, steps: int, *more: str) -> int:
    return train.main(["toy", "--out", str(folder), f"total_kimg={steps * STEP / 1000}", "tick_kimg=0.008",
                       "sheet_kimg=100", "threads=1", *more])


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]


def spoil(monkeypatch: pytest.MonkeyPatch, first: int, last: int, part: str) -> None:
    """Make the pictures, the loss or the gradient of some steps not a number; counted after the preflight."""
    step = ToyStage.step

    def spoilt(self: ToyStage, seen: int) -> dict:
        bad = self.training and first <= seen // STEP <= last
        if part == "pictures":
            self.config.spoil_at = seen if bad else -1
            return step(self, seen)
        hooks = [self.G.weight.register_hook(lambda g: g * torch.nan)] if bad else []
        try:
            return step(self, seen)
        finally:
            for hook in hooks:
                hook.remove()

    plain = Run.run

    def marked(self: Run) -> None:
        self.stage.training = True
        plain(self)

    monkeypatch.setattr(ToyStage, "training", False, raising=False)
    monkeypatch.setattr(ToyStage, "step", spoilt)
    monkeypatch.setattr(Run, "run", marked)


@pytest.mark.parametrize("part", ["pictures", "gradient"])
def test_a_bad_step_leaves_no_trace_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    assert run(tmp_path / "clean", 2) == 0
    with monkeypatch.context() as patch:
        spoil(patch, 2, 2, part)
        assert run(tmp_path / "bad", 3) == 0
    clean, bad = (state.read_state(tmp_path / name / "state.safetensors").tensors for name in ("clean", "bad"))
    touched = {"G"} if part == "gradient" else {"G", "D"}
    same = [k for k in clean if k.split(".")[1] in {*touched, "average"}]
    assert len(same) > 4 and all(torch.isfinite(bad[k]).all() for k in bad if bad[k].is_floating_point())
    for name in (k for k in same if k.split(".")[1] != "average"):
        assert torch.equal(clean[name], bad[name]), name
    named = [record for record in records(tmp_path / "bad") if "skipped" in record]
    assert len(named) == 1 and "gradient_G" in named[0]["skipped"] and named[0]["kimg"] == pytest.approx(0.024)


def test_ten_in_a_row_end_the_run_with_the_last_good_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "run", 2) == 0
    good = (tmp_path / "run" / "state.safetensors").read_bytes()
    capsys.readouterr()
    spoil(monkeypatch, 2, 10**9, "pictures")
    assert run(tmp_path / "run", 100, "--resume") == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: Ten steps in a row were not finite") and "state.safetensors" in said.err
    skipped = [record for record in records(tmp_path / "run") if "skipped" in record]
    assert len(skipped) == 10 and said.out.count("not finite") == 10
    assert (tmp_path / "run" / "state.safetensors").read_bytes() == good
    exported = read_checkpoint(tmp_path / "run" / "attributes.safetensors").tensors
    assert all(torch.isfinite(tensor).all() for tensor in exported.values())


def test_nine_in_a_row_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, 1, 9, "pictures")
    assert run(tmp_path / "run", 11) == 0
    assert len([record for record in records(tmp_path / "run") if "skipped" in record]) == 9


def test_a_network_that_is_not_finite_is_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    """Even when the numbers of every step look well: what is saved is looked at once more."""
    step = ToyStage.step

    def poison(self: ToyStage, seen: int) -> dict:
        terms = step(self, seen)
        self.average.weight.data[0] = torch.nan
        return terms

    monkeypatch.setattr(ToyStage, "step", poison)
    assert run(tmp_path / "run", 2) == 1
    assert "non-finite" in capsys.readouterr().err and not list((tmp_path / "run").glob("*.safetensors"))
