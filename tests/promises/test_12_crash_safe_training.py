"""Promise 12: training survives crashes.

Killed at any moment, or with a disk that is full at any write, a run leaves its newest state or the one before it
loadable, says what happened and ends with an exit code that is not 0, leaves no pile of temporary files, and reaches
with ``--resume`` the weights of a run that nothing ever happened to. Not promised: the work since the last save, and
disks that lose what they have confirmed.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from reganie_core.checkpoints import read_checkpoint
from reganie_core.errors import CheckpointError
from tests import kill_soak
from tests.promises.full_disk import Disk
from tests.promises.helpers import python
from tests.toy_stage import ToyStage
from trainer import stages, train
from trainer.loop import state

STEPS = 3
OPTIONS = [f"total_kimg={STEPS * 8 / 1000}", "save_minutes=0", "tick_kimg=0.008", "sheet_kimg=0.016", "threads=1"]


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """`train.py toy`: a stage that trains in milliseconds."""
    monkeypatch.setitem(stages.STAGES, "toy", ("toy", "ToyStage"))
    for module in (stages, train):
        monkeypatch.setattr(module, "stage_class", lambda name: ToyStage)
    monkeypatch.setattr("trainer.loop.run.SAVE_RETRY", 0.0)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(folder: Path) -> int:
    return train.main(["toy", "--out", str(folder), "--resume", *OPTIONS])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "state.safetensors", "training").tensors


def writes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many operations of an undisturbed run a full disk can refuse."""
    with monkeypatch.context() as patch:
        disk = Disk().install(patch)
        assert run(folder) == 0
    return disk.count


def refuse(folder: Path, calm: dict[str, torch.Tensor], disk: Disk, monkeypatch: pytest.MonkeyPatch,
           capsys: pytest.CaptureFixture[str]) -> int:
    """One run on such a disk, what it leaves, and the same run continued on a good one; the first exit code."""
    capsys.readouterr()
    with monkeypatch.context() as patch:
        disk.install(patch)
        status = run(folder)
    said = "".join(capsys.readouterr())
    where = f"operation {disk.fails_at} for {disk.lasts}"
    got_over = disk.lasts == 1 and status == 0  # one refusal of a trial file is nothing to speak of
    assert got_over or os.strerror(disk.code) in said, f"{where}: {said[-400:]}"
    assert "Traceback" not in said and status in (0, 1), where
    left = [path for path in folder.glob(".*") if path.suffix == ".tmp"]
    assert left == [], where
    for path in folder.glob("*.safetensors"):
        read_checkpoint(path)
    if state.exists(folder / "state.safetensors"):
        state.read_state(folder / "state.safetensors")
    assert run(folder) == 0, where
    found = weights(folder)
    assert found.keys() == calm.keys() and all(torch.equal(found[k], calm[k]) for k in calm), where
    return status


def everywhere(tmp_path: Path, stride: int, monkeypatch: pytest.MonkeyPatch,
               capsys: pytest.CaptureFixture[str]) -> None:
    count = writes(tmp_path / "calm", monkeypatch)
    assert count > 100
    calm, ends = weights(tmp_path / "calm"), []
    for index, at in enumerate(range(1, count + 1, stride)):
        for lasts in (1, 10**9):
            folder = tmp_path / f"{index}.{lasts}"
            ends.append(refuse(folder, calm, Disk(at, lasts), monkeypatch, capsys))
    assert 1 in ends, "a disk that stays full is an error"


def test_a_disk_that_is_full_at_some_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    everywhere(tmp_path, 61, monkeypatch, capsys)


@pytest.mark.soak
def test_a_disk_that_is_full_at_every_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    everywhere(tmp_path, 1, monkeypatch, capsys)


def test_a_disk_that_is_full_from_the_second_save_on_keeps_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    count = writes(tmp_path / "calm", monkeypatch)
    status = refuse(tmp_path / "run", weights(tmp_path / "calm"), Disk(count * 2 // 3, 10**9), monkeypatch, capsys)
    assert status == 1


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_trained(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with monkeypatch.context() as patch:
        Disk(1, 10**9, errno.EROFS).install(patch)
        assert run(tmp_path / "run") == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and os.strerror(errno.EROFS) in said.err and "kimg" not in said.out
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """SIGKILL while it trains and saves after every step."""
    folder = tmp_path / "run"
    process = kill_soak.start(folder, 10_000_000)
    deadline = time.monotonic() + 60
    while not state.exists(folder / "state.safetensors") and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    seen = kill_soak.seen_in(folder)
    assert seen > 0 and len(list(folder.glob(".*.tmp"))) <= 1
    more = f"total_kimg={seen / 1000 + 0.016}"
    assert train.main(["toy", "--out", str(folder), "--resume", "save_minutes=0", more]) == 0
    assert kill_soak.seen_in(folder) >= seen + 16 and not list(folder.glob(".*.tmp"))


@pytest.mark.soak
def test_every_stage_is_killed() -> None:
    """`make soak` runs a hundred kills beside this; here every stage once or twice."""
    done = python("-m", "tests.kill_soak", "--kills", "20", timeout=1800)
    assert done.returncode == 0 and "20 kills" in done.stdout, done.stdout + done.stderr


def test_a_damaged_newest_state_gives_way_to_the_one_before(tmp_path: Path,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert run(folder) == 0
    newest = folder / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:2000])
    with pytest.raises(CheckpointError):
        read_checkpoint(newest)
    assert run(folder) == 0 and "trying the one before" in capsys.readouterr().out
    read_checkpoint(newest, "training")
