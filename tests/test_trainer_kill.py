"""A run cannot lose work: SIGKILL, SIGTERM, damaged files, full disks."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from reganie_core.checkpoints import read_checkpoint
from reganie_core.errors import CorruptCheckpointError, InputError
from tests.trainer_files import one_thread  # noqa: F401
from trainer.loop import state
from trainer.loop.config import build
from trainer.loop.preflight import preflight
from trainer.loop.run import Run
from trainer.stages import STAGES

from . import kill_soak, soak_stages
from .toy_stage import ToyConfig, ToyStage


def prepared(out: Path, *options: str, resume: bool = False) -> Run:
    run = Run(ToyStage(build(ToyConfig, None, [*options])), out, ["test"])
    run.prepare(resume)
    return run


def test_killed_runs_leave_a_whole_state_and_reach_the_end(tmp_path: Path) -> None:
    """The short form of the soak: real kills of one stage; it compares with a run that was left alone itself."""
    command = [sys.executable, "-m", "tests.kill_soak", "--kills", "3", "--stage", "generator", "--json",
               str(tmp_path / "kills.json")]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], env={**os.environ, "OMP_NUM_THREADS": "1"},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "kills.json").read_text())
    assert found["kills"] == 3 and set(found["stages"]) == {"generator"}


def test_the_soak_knows_every_stage() -> None:
    # joint needs a network that is not always installed, the face detector labelled photographs
    assert set(soak_stages.OPTIONS) == set(STAGES) - {"joint", "face_detector"}


def test_what_killed_writers_leave_is_swept(tmp_path: Path) -> None:
    for name in (".state.new.safetensors.x.tmp", ".part-ab.json", ".probe12.tmp"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / ".preflight9").mkdir()
    (tmp_path / ".preflight9" / "state.safetensors").write_bytes(b"half")
    prepared(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json"]


def test_sigterm_during_the_preflight_leaves_nothing(tmp_path: Path) -> None:
    run = prepared(tmp_path)
    run.stage.sheet = lambda path: os.kill(os.getpid(), signal.SIGTERM)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as leaving:
        preflight(run)
    assert leaving.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is handler
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json"]


def test_a_metric_that_is_no_number_is_told_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = prepared(tmp_path, "total_kimg=0.008")
    run.stage.validate = lambda: {"distance": 1.0, "corr_age": float("nan")}
    run.run()
    assert "not a number: corr_age" in capsys.readouterr().out
    assert read_checkpoint(tmp_path / "attributes.safetensors").provenance["metrics"] == {"distance": 1.0}


def test_sigterm_saves_and_leaves(tmp_path: Path) -> None:
    process = kill_soak.start(tmp_path, 10_000_000)
    deadline = time.monotonic() + 100
    while not (tmp_path / "state.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and "stopped at" in output
    assert kill_soak.seen_in(tmp_path) > 0


@pytest.mark.parametrize("moment", ["write", "first rename", "second rename"])
def test_a_save_that_is_cut_short_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                       moment: str) -> None:
    run = prepared(tmp_path, "total_kimg=0.016")
    run.run()
    real, calls = state.os.replace, []

    def cut(source: Any, target: Any) -> None:
        calls.append(source)
        if len(calls) == {"write": 1, "first rename": 2, "second rename": 3}[moment]:
            raise KeyboardInterrupt
        real(source, target)

    run.seen = 24
    monkeypatch.setattr(state.os, "replace", cut)         # one os module: the atomic writer renames first
    with pytest.raises(KeyboardInterrupt):
        run.save()
    monkeypatch.undo()
    assert kill_soak.seen_in(tmp_path) == (16 if moment == "write" else 24)
    again = prepared(tmp_path, "total_kimg=0.016", resume=True)
    assert again.seen == kill_soak.seen_in(tmp_path)
    again.save()
    assert not list(tmp_path.glob("*.new.*")) and len(list(tmp_path.glob("state*"))) == 2


def test_a_damaged_state_falls_back_to_the_one_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = prepared(tmp_path, "total_kimg=0.016")
    run.run()
    run.seen = 24
    run.save()
    path = tmp_path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    assert prepared(tmp_path, resume=True).seen == 16
    assert "trying the one before" in capsys.readouterr().out
    (tmp_path / "state.previous.safetensors").write_bytes(b"")
    with pytest.raises(CorruptCheckpointError, match="init_from"):
        prepared(tmp_path, resume=True)


def test_a_resumed_run_equals_an_uninterrupted_one_and_says_what_changed(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared(tmp_path / "whole", "total_kimg=0.048").run()
    prepared(tmp_path / "parts", "total_kimg=0.024").run()
    (tmp_path / "parts" / ".state.safetensors.abc.tmp").write_bytes(b"of a killed process")
    prepared(tmp_path / "parts", "total_kimg=0.048", resume=True).run()
    a, b = (read_checkpoint(tmp_path / name / "state.safetensors").tensors for name in ("whole", "parts"))
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert not list((tmp_path / "parts").glob("*.tmp"))
    capsys.readouterr()
    prepared(tmp_path / "parts", "total_kimg=0.048", "lr=0.5", "threads=1", resume=True)
    assert "changed options: lr 0.002 -> 0.5\n" in capsys.readouterr().out


def test_one_bad_step_is_skipped_named_and_leaves_no_trace(tmp_path: Path) -> None:
    run = prepared(tmp_path, "total_kimg=0.016", "spoil_at=8")
    run.run()
    clean = prepared(tmp_path / "clean", "total_kimg=0.008")
    clean.run()
    for name in ("G", "D"):
        for key, value in clean.stage.modules[name].state_dict().items():
            assert torch.equal(value, run.stage.modules[name].state_dict()[key]), key
    assert all(v.isfinite().all() for v in run.stage.average.state_dict().values())
    records = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert {"kimg": 0.016, "skipped": ["D", "G", "gradient_D", "gradient_G"]} in records


def test_float16_scales_its_losses_and_skips_what_overflows(tmp_path: Path) -> None:
    run = prepared(tmp_path, "dtype=float16", "total_kimg=0.016", "spoil_at=8")
    scale = run.stage.modules["loss_scale"]
    run.run()
    assert float(scale.scale("G")) == 2.0**11 and int(scale.steps_G) == 0
    plain = prepared(tmp_path / "plain", "total_kimg=0.008")
    plain.run()
    for a, b in zip(plain.stage.G.parameters(), run.stage.G.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    again = prepared(tmp_path, "dtype=float16", resume=True)
    assert float(again.stage.modules["loss_scale"].scale("D")) == 2.0**11


def test_a_disk_that_stays_full_ends_the_run_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepared(tmp_path, "total_kimg=0.8", "save_minutes=0")
    monkeypatch.setattr("trainer.loop.run.SAVE_RETRY", 0.0)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("reganie_core.checkpoints.ours.write_tensors", full)
    with pytest.raises(InputError, match="No space left.*when there is room"):
        run.run()
    assert not list(tmp_path.glob("state*")) and not list(tmp_path.glob(".*tmp"))


def test_best_export_and_its_value_survive_a_restart(tmp_path: Path) -> None:
    run = prepared(tmp_path, "total_kimg=0.032", "validate_kimg=0.008")
    values = iter([3.0, 1.0, 2.0, 1.5])
    run.stage.validate = lambda: {"distance": next(values)}
    run.run()
    best = read_checkpoint(tmp_path / "attributes.best.safetensors").provenance
    assert best["kimg"] == 0.016 and best["metrics"] == {"distance": 1.0}
    last = read_checkpoint(tmp_path / "attributes.safetensors").provenance
    assert last["kimg"] == 0.032 and last["metrics"] == {"distance": 1.5}
    assert prepared(tmp_path, resume=True).best == 1.0
