"""The identity stage: what a person's pictures share, and that reading it is learned."""

from __future__ import annotations

from pathlib import Path

import torch

from reganie_core import portraits
from reganie_core.portraits.parameters import DRAWN
from trainer.stages.identity import SHARED, IdentityStage, IdentityStageConfig


def stage(folder: Path, **options: object) -> IdentityStage:
    return IdentityStage(IdentityStageConfig(**{
        "device": "cpu", "resolution": 16, "channels": (8, 12), "dim": 16, "batch": 24, "data": str(folder),
        "data_people": 12, "data_views": 3, "held_out_people": 8, **options}))


def test_shared_parameters_do_not_differ_between_pictures_of_a_person() -> None:
    people = portraits.sample(8, 40)
    views = portraits.variants(people, 2, 3)
    for i in SHARED:
        if DRAWN[i] == "age":                                      # moves by up to a quarter
            continue
        if DRAWN[i] in views.values:
            assert torch.equal(views.values[DRAWN[i]][1::2], people.values[DRAWN[i]]), DRAWN[i]
    assert {"yaw", "smile", "glasses"}.isdisjoint(DRAWN[i] for i in SHARED)


def test_rows_of_what_is_read_are_the_people_of_the_pictures(tmp_path: Path) -> None:
    one = stage(tmp_path)
    seed = one.config.data_seed
    assert torch.equal(one.shared[5], portraits.scores(1, seed + 5)[0, SHARED].float())
    column = [DRAWN[i] for i in SHARED].index("skin_tone")
    rank = portraits.sample(12, seed).values["skin_tone"].argsort()
    assert torch.equal(one.shared[:, column].argsort(), rank)


def test_reading_is_learned_and_off_by_default(tmp_path: Path) -> None:
    assert "read" not in stage(tmp_path).step(0)
    one = stage(tmp_path, read=4.0, lr=0.01)
    errors = [float(one.step(24 * i)["read"]) for i in range(40)]
    assert sum(errors[-5:]) < 0.8 * sum(errors[:5])
