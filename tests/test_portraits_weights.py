"""The packaged weights, on a few people that no training has seen."""

from __future__ import annotations

from pathlib import Path

import pytest

import reganie_core as rc
from reganie_core import portraits
from reganie_core.checkpoints import read_checkpoint
from trainer.evaluation.bench import Bench, load_networks
from trainer.evaluation.chunks import Chunks
from trainer.evaluation.editing import editing
from trainer.evaluation.people import FIRST_VALIDATION_SEED, held_out_people

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


@pytest.fixture(scope="module")
def bench(domain: rc.Domain) -> Bench:
    return Bench(domain, *load_networks(domain), Chunks(None, progress=False), FIRST_VALIDATION_SEED, validation=True)


def test_the_rectifier_brings_back_what_the_inversion_lost(domain: rc.Domain) -> None:
    people = held_out_people(12, FIRST_VALIDATION_SEED, validation=True)
    photo = portraits.render(people.parameters, domain.generator.resolution)
    result = rc.edit(photo, domain=domain, rectifier="own", output="rectifier")
    lost, left = ((x - photo).square().mean() for x in (result.inversion, result.reconstruction))
    assert 0 < left <= lost / 3


def test_carrying_is_the_closest_to_the_exact_answer_and_what_was_learned_no_better(bench: Bench) -> None:
    turned = editing(bench, held_out_people(12, FIRST_VALIDATION_SEED, validation=True), {"yaw": 15.0})
    changed = {name: row["changed"]["all"]["mean"] for name, row in turned["rows"].items()}
    learned, carried = changed.pop("Y_r (learned rectifier)"), changed.pop("carry (no network)")
    assert len(changed) == 5 and carried < min(changed.values())
    assert learned < 1.1 * carried
    assert turned["asked"]["yaw"]["mean"] == pytest.approx(15.0, abs=1.5)
