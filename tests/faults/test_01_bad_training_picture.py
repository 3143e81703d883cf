"""A training picture that cannot be used counts once, however often it is drawn; what was learned is saved first."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reganie_core.errors import InputError, ReganieWarning
from tests.toy_stage import ToyConfig, ToyStage
from tests.trainer_files import one_thread  # noqa: F401
from trainer.data.sources import open_pictures
from trainer.loop import state
from trainer.loop.config import build
from trainer.loop.preflight import preflight
from trainer.loop.randomness import numbers
from trainer.loop.run import Run

PAGE = b"<html><body>404</body></html>"
SIDE = 8


def folder_of(place: Path, good: int, bad: int) -> Path:
    place.mkdir()
    for number in range(good):
        Image.new("RGB", (SIDE, SIDE), (number,) * 3).save(place / f"good_{number:03d}.png")
    for number in range(bad):       # among the good ones
        (place / f"good_{number:03d}_page.jpg").write_bytes(PAGE)
    return place


def twelve_in_a_row(place: Path) -> Path:
    """Where a picture has no neighbour that could stand in for it."""
    folder_of(place, 48, 0)
    for number in range(12):
        (place / f"page_{number:03d}.jpg").write_bytes(PAGE)
    return place


class Learner(ToyStage):
    """The toy, which looks at pictures of a folder before it trains."""

    def __init__(self, config: ToyConfig, folder: Path) -> None:
        super().__init__(config)
        self.data = open_pictures(folder, SIDE)

    def step(self, seen: int) -> dict:
        self.data.batch(numbers(self.data, seen, 8, torch.Generator().manual_seed(seen)))
        return super().step(seen)


def run_of(folder: Path, out: Path, steps: int) -> Run:
    run = Run(Learner(build(ToyConfig, None, [f"total_kimg={steps * 8 / 1000}", "sheet_kimg=100"]), folder), out, [])
    run.prepare(False)
    return run


def test_one_bad_file_of_sixty_ends_no_run_however_long(tmp_path: Path) -> None:
    source = open_pictures(folder_of(tmp_path / "pictures", 59, 1), SIDE)
    random = torch.Generator().manual_seed(0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ReganieWarning)
        for seen in range(0, 4000, 100):
            source.batch(numbers(source, seen, 100, random))
    assert len(said) == 1 and "good_000_page.jpg" in str(said[0].message)
    assert "0x" not in str(said[0].message) and "BytesIO" not in str(said[0].message)


@pytest.mark.parametrize(("kind", "words"), [("page", "not a picture"), ("half", "truncated"), ("small", "smaller")])
def test_texts_name_the_file_and_hold_no_address(tmp_path: Path, kind: str, words: str) -> None:
    place = folder_of(tmp_path / "pictures", 1, 1)
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (place / "good_000_page.jpg").write_bytes({
        "page": PAGE, "half": (tmp_path / "whole.png").read_bytes()[:900],
        "small": (place / "good_000.png").read_bytes()}[kind])
    with pytest.raises(InputError) as error:
        open_pictures(place, SIDE + (kind == "small")).check()
    assert words in str(error.value) and "0x" not in str(error.value)


def test_the_preflight_counts_files(tmp_path: Path) -> None:
    run = run_of(folder_of(tmp_path / "pictures", 1, 1), tmp_path / "run", 2)
    with pytest.raises(InputError, match="^1 of 2 pictures looked at"):
        preflight(run)
    assert len(open_pictures(tmp_path / "pictures", SIDE).spread(32)) == 2


def test_many_bad_files_end_the_run_with_their_number_and_what_was_learned(tmp_path: Path) -> None:
    """12 of 60: the run ends at the eleventh, after a whole step, so that resuming is the same run."""
    run = run_of(folder_of(tmp_path / "pictures", 48, 12), tmp_path / "run", 500)
    with pytest.warns(ReganieWarning), pytest.raises(InputError, match="^11 of [1-6][0-9] pictures cannot be used"):
        run.run()
    assert 0 < run.seen < 4000
    counters = state.load_state(run.state_path, run.stage.modules, run.stage.optimizers)
    assert counters["seen"] == run.seen and run.export_path.exists()


def test_a_step_that_cannot_be_made_keeps_what_was_learned(tmp_path: Path) -> None:
    run = run_of(twelve_in_a_row(tmp_path / "pictures"), tmp_path / "run", 500)
    with pytest.warns(ReganieWarning), pytest.raises(InputError, match="^11 pictures in a row cannot be used"):
        run.run()
    assert run.seen and state.read_state(run.state_path).provenance["counters"] and run.export_path.exists()


def test_what_cannot_be_saved_does_not_hide_the_cause(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(twelve_in_a_row(tmp_path / "pictures"), tmp_path / "run", 500)
    run._write_state = lambda: (_ for _ in ()).throw(OSError("disk full"))
    with pytest.warns(ReganieWarning), pytest.raises(InputError, match="cannot be used"):
        run.run()
    assert "disk full" in capsys.readouterr().out
