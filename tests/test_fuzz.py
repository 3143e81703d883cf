"""The short form of the fuzzing, and what it has found before."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from reganie_core.errors import InputError
from tests.fuzz import engine, mutate
from tests.fuzz.targets import TARGETS

FINDS = sorted((Path(__file__).parent / "fuzz" / "finds").glob("*.bin"))
CASES = 2500


@pytest.mark.parametrize("path", FINDS, ids=lambda path: path.stem)
def test_what_was_found_stays_mended(path: Path) -> None:
    target = TARGETS[path.stem.split("-")[0]]
    outcome, where, find = engine.judge(target, path.read_bytes())
    assert find is None, f"{outcome} at {where}\n{find.text}"


def test_a_few_thousand_cases_find_nothing() -> None:
    total = sum(target.share for target in TARGETS.values())
    for target in TARGETS.values():
        cases = max(30, round(CASES * target.share / total))
        tally = engine.run(target, cases, seed=0)
        # Some containers hold addresses and times, so that a find may not come again: its bytes belong to the message.
        assert not tally.finds, "\n".join(f"{find.text}\n{find.data[:4000]!r}" for find in tally.finds.values())
        assert tally.cases == cases and tally.paths > 0


def test_honest_seeds_are_read() -> None:
    """Fuzzing from files that nobody can read would prove nothing."""
    mixed = {"used", "convert", "pickle", "overrides", "edits", "graph", "array", "safetensors", "legacy", "zip",
             "picture", "folder"}
    for name in set(TARGETS) - mixed:
        for data in TARGETS[name].seeds():
            outcome, where, _ = engine.judge(TARGETS[name], data)
            assert outcome == "read", f"{name}: {outcome} {where}"
    for name in mixed:
        found = [engine.judge(TARGETS[name], data)[0] for data in TARGETS[name].seeds()]
        assert "read" in found, f"{name}: {found}"


def wrong(data: bytes) -> None:
    """A reader with one mistake of every kind."""
    if b"index" in data:
        data[10_000]
    if b"slow" in data:
        while True:
            pass
    if b"large" in data:
        try:
            bytearray(engine.MEMORY * 2)
        except MemoryError as error:
            raise InputError("It is too large.") from error
    if b"typed" in data:
        raise InputError("Found this, expected that.")


@pytest.mark.parametrize(("data", "problem"), [(b"--index--", "IndexError"), (b"large!", "TooLarge")])
def test_mistakes_are_found_and_made_small(data: bytes, problem: str) -> None:
    target = engine.Target("wrong", lambda: [data], wrong, mutate.flip)
    tally = engine.run(target, 5, seed=0)
    (find,) = [find for find in tally.finds.values() if find.problem == problem]
    assert find.data in (b"index", b"large")


def test_a_reader_that_never_ends_is_found() -> None:
    target = engine.Target("wrong", lambda: [b"slow"], wrong, mutate.flip)
    begin = time.process_time()
    with pytest.raises(engine.TooSlow), engine.limits(0.05):
        wrong(b"slow")
    assert time.process_time() - begin < 1.0
    assert engine.judge(target, b"typed")[0] == "InputError" and engine.judge(target, b"fine")[0] == "read"


def test_mutations_follow_the_seed() -> None:
    data = [target.seeds()[0] for target in TARGETS.values()]
    for way in {target.mutate for target in TARGETS.values()}:
        first, second = ([way(one, data, random.Random(5)) for one in data] for _ in range(2))
        assert first == second and first != data
