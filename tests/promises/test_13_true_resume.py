"""Promise 13: resuming is the same run.

``train.py`` for 2N images, and for N images and then with ``--resume`` for N more, give the same bits on a CPU:
networks, averages, both optimisers' moments, position and the random numbers that follow from it. Changed options are
named, another network is refused, and a run is never overwritten. Not promised: equal bits on a GPU or with another
number of processes.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from reganie_core.checkpoints import read_checkpoint
from tests import soak_stages
from tests.promises.helpers import python
from trainer import train
from trainer.stages.editor import EditorStage

SHORT = ("generator",)  # two networks against each other, a lazy penalty, an average
LONG = tuple(stage for stage in soak_stages.OPTIONS if stage not in (*SHORT, "directions", "styleclip"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that stages start from."""
    return soak_stages.prepare(tmp_path_factory.mktemp("stages"))


def options(stage: str, root: Path, folder: Path, steps: int) -> list[str]:
    """A run of some steps that saves when it ends. Nothing in it depends on how long it is meant to be."""
    given = soak_stages.options(stage, root, folder.with_name("data"))
    batch = next(int(o.partition("=")[2]) for o in given if o.startswith("batch="))
    skipped = ("total_kimg", "save_minutes", "sheet_kimg")
    kept = [o for o in given if o.partition("=")[0] not in skipped]
    return [*kept, f"total_kimg={steps * batch / 1000}", "save_minutes=60", "sheet_kimg=100", "seed=7",
            "lr_decay_from=1"]


def same(one: Path, other: Path) -> None:
    a, b = (read_checkpoint(folder / "state.safetensors", "training") for folder in (one, other))
    assert a.tensors.keys() == b.tensors.keys()
    assert {"module", "optimizer"} <= {name.split(".")[0] for name in a.tensors}
    wrong = [name for name in a.tensors if not torch.equal(a.tensors[name], b.tensors[name])]
    assert wrong == []
    assert json.loads(a.provenance["counters"])["seen"] == json.loads(b.provenance["counters"])["seen"] > 0


def resumed_equals_whole(stage: str, root: Path, tmp_path: Path) -> None:
    def go(name: str, steps: int, *more: str) -> int:
        return train.main([stage, "--out", str(tmp_path / name), *more, *options(stage, root, tmp_path / name, steps)])

    assert go("whole", 6) == 0 and go("parts", 3) == 0
    with pytest.raises(AssertionError):
        same(tmp_path / "whole", tmp_path / "parts")  # three more steps must change something
    assert go("parts", 6, "--resume") == 0
    same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("stage", SHORT)
def test_a_resumed_run_equals_one_that_went_on(stage: str, root: Path, tmp_path: Path) -> None:
    resumed_equals_whole(stage, root, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("stage", LONG)
def test_every_other_stage(stage: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EditorStage, "progress", lambda self, seen: 1.0)     # its schedule follows total_kimg
    resumed_equals_whole(stage, root, tmp_path)


@pytest.mark.soak
def test_in_processes_of_their_own(root: Path, tmp_path: Path) -> None:
    """The command line as people use it, interpreter by interpreter."""
    for name, steps, more in (("whole", 6, []), ("parts", 3, []), ("parts", 6, ["--resume"])):
        run = python("trainer/train.py", "generator", "--out", tmp_path / name, *more,
                     *options("generator", root, tmp_path / name, steps))
        assert run.returncode == 0, run.stderr
    same(tmp_path / "whole", tmp_path / "parts")


def test_what_changed_is_named_and_what_cannot_be_resumed_is_refused(
        root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def go(*more: str) -> int:
        run = tmp_path / "run"
        return train.main(["generator", "--out", str(run), *options("generator", root, run, 2), *more])

    assert go() == 0
    capsys.readouterr()
    assert go() == 1 and "--resume" in capsys.readouterr().err, "a run is never overwritten"
    assert go("--resume", "lr=0.5", "total_kimg=0.012") == 0
    said = capsys.readouterr().out
    assert "changed options:" in said and " -> 0.5" in said
    assert go("--resume", "w_dim=12") == 1
    assert "another configuration" in capsys.readouterr().err
