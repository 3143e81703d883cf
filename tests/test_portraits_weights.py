"""The packaged weights do what the README says, on a few people that no training has seen."""

from __future__ import annotations

from pathlib import Path

import pytest

import reganie_core as rc
from reganie_core import portraits
from reganie_core.checkpoints import read_checkpoint
from trainer.evaluation.bench import Bench, load_judges
from trainer.evaluation.chunks import Chunks
from trainer.evaluation.editing import editing
from trainer.evaluation.people import FIRST_VALIDATION_SEED, held_out_people
from trainer.evaluation.reconstruction import reconstruction

WEIGHTS = Path(portraits.__file__).parent / "weights"


@pytest.fixture(scope="module")
def domain() -> rc.Domain:
    return rc.load_domain("portraits")


def test_every_file_says_how_it_was_trained() -> None:
    files = sorted(WEIGHTS.glob("*.safetensors"))
    assert {f.stem for f in files} >= {"generator", "encoder", "directions", "rectifier", "attributes", "judge"}
    for file in files:
        record = read_checkpoint(file).provenance
        assert record["command"].startswith("python trainer/train.py") and record["kimg"] > 0, file
        assert len(record["commit"]) >= 7 and "seed" in record and not record["command"].count("/tmp/"), file


def test_the_parts_belong_together(domain: rc.Domain) -> None:
    marks = domain.rectifier.provenance["fingerprints"]
    assert marks["generator"] == domain.generator.fingerprint and marks["encoder"] == domain.encoder.fingerprint


def test_the_rectifier_beats_the_inversion_and_keeps_the_turn(domain: rc.Domain) -> None:
    people = held_out_people(40, FIRST_VALIDATION_SEED, validation=True)
    bench = Bench(domain, *load_judges(domain), Chunks(None, progress=False), FIRST_VALIDATION_SEED, validation=True)
    rebuilt = reconstruction(bench, people)
    turned = editing(bench, people, {"yaw": 15.0})
    assert rebuilt["ratios"]["L2"]["all"]["mean"] <= 0.7
    changed = {name: row["changed"]["all"]["mean"] for name, row in turned["rows"].items()}
    best = changed.pop("Y_r (rectified)")
    assert len(changed) == 3 and best < min(changed.values())
    assert turned["kept"]["yaw"]["mean"] >= 0.85
    assert turned["asked"]["yaw"]["mean"] == pytest.approx(15.0, abs=1.0)
