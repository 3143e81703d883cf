"""Promise 10: the rectifier keeps the edit.

On held-out generated portraits, whose exact answer to an edit is known because it can be drawn, at least 95 % of the
change of the edited attribute is left after Rectify, while the perceptual distance to that answer falls. Seeds are
fixed and reserved: no training and no choice has seen these people. Not promised: the same for other pictures and
networks; ``trainer/evaluate.py editing`` measures those.
"""

from __future__ import annotations

from typing import Any

import pytest

import reganie_core as rc
from trainer.evaluation.bench import PERCEPTUAL, Bench, load_networks
from trainer.evaluation.chunks import Chunks
from trainer.evaluation.editing import editing
from trainer.evaluation.people import held_out_people

FIRST = 1_000_700_000
LEAST_KEPT = 0.95
EDITS = {"yaw=+15": {"yaw": 15.0}, "yaw=-15": {"yaw": -15.0}, "smile=+0.5": {"smile": 0.5}, "age=+0.5": {"age": 0.5},
         "glasses=on": {"glasses": 1.0}}
SHORT = ("yaw=+15", "smile=+0.5")  # the other edits are measured by the long form
# What the packaged weights miss. The promise stays as it is; when a better rectifier keeps it, strict says so.
MISSED = {"smile=+0.5": "0.866"}
MISSED_BY_MANY = {**MISSED, "yaw=+15": "0.940"}  # in the long form only


@pytest.fixture(scope="module")
def bench() -> Bench:
    domain = rc.load_domain("portraits")
    return Bench(domain, *load_networks(domain), Chunks(None, progress=False), FIRST)


_tables: dict[tuple[str, int], dict[str, Any]] = {}


def table(bench: Bench, edit: str, count: int) -> dict[str, Any]:
    if (edit, count) not in _tables:
        _tables[edit, count] = editing(bench, held_out_people(count, FIRST), EDITS[edit])
    return _tables[edit, count]


def _known(edit: str, missed: dict[str, str]) -> Any:
    if edit not in missed:
        return edit
    reason = f"the packaged rectifier keeps {missed[edit]} of this edit; {LEAST_KEPT} are promised"
    return pytest.param(edit, marks=pytest.mark.xfail(reason=reason, strict=True))


def keeps(bench: Bench, edit: str, count: int) -> None:
    for name, share in table(bench, edit, count)["kept"].items():
        assert share["mean"] >= LEAST_KEPT, f"{edit}: {share['mean']:.3f} of the change of {name} is left"


def comes_closer(bench: Bench, edit: str, count: int) -> None:
    found = table(bench, edit, count)
    ours, plain = (found["rows"][row][PERCEPTUAL]["all"]["mean"]
                   for row in ("Y_r (learned rectifier)", "Y^ (edited inversion)"))
    assert 0 < ours < plain, f"{edit}: perceptual distance to the exact answer, Y_r {ours:.3f}, Y^ {plain:.3f}"


@pytest.mark.parametrize("edit", [_known(edit, MISSED) for edit in SHORT])
def test_the_change_of_the_attribute_is_kept(bench: Bench, edit: str) -> None:
    keeps(bench, edit, 12)


@pytest.mark.parametrize("edit", SHORT)
def test_the_distance_to_the_exact_answer_falls(bench: Bench, edit: str) -> None:
    comes_closer(bench, edit, 12)


@pytest.mark.soak
@pytest.mark.parametrize("edit", [_known(edit, MISSED_BY_MANY) for edit in EDITS])
def test_both_on_many_people(bench: Bench, edit: str) -> None:
    comes_closer(bench, edit, 400)
    keeps(bench, edit, 400)
