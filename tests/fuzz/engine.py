"""The loop: mutate, read, judge, keep what is new, and make finds small.

A reader is right when it returns or raises a :class:`ReganieError`. Anything else is a find: another exception, more
than two seconds of computing, more than 200 MB of memory. What guides the mutations is where a reader stops: an input
whose error comes from lines that no input before came to joins the seeds.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reganie_core.errors import ReganieError

SECONDS = 2.0                # of computing, for one case
MEMORY = 200 << 20           # bytes, for one case
MOST_SEEDS = 400             # of one target
HONEST = 0.7                 # share of the cases that damage an honest seed
SHRINKS = 400                # tries to make a find smaller
ROOT = str(Path(__file__).resolve().parents[2])

Mutate = Callable[[bytes, list[bytes], random.Random], bytes]


class TooSlow(BaseException):
    """Raised inside a case that computes for too long; no reader's `except Exception` holds it back."""


@dataclass
class Target:
    """One reader: ``seeds()`` are honest inputs, ``read`` takes any bytes, ``mutate`` makes other bytes of them."""

    name: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes], Any]
    mutate: Mutate
    share: float = 1.0       # of all cases


@dataclass
class Find:
    """What went wrong, where, and the smallest input that shows it."""

    target: str
    problem: str
    where: str
    data: bytes
    text: str = ""

    @property
    def name(self) -> str:
        """A file name for it."""
        return f"{self.target}-{hashlib.sha256((self.problem + self.where).encode()).hexdigest()[:8]}.bin"


@dataclass
class Tally:
    """What a target has seen."""

    cases: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    paths: int = 0
    finds: dict[str, Find] = field(default_factory=dict)


def _ticking(*_: Any) -> None:
    raise TooSlow


@contextmanager
def limits(seconds: float = SECONDS) -> Iterator[None]:
    """:class:`TooSlow` after so many seconds of computing (not of waiting for the machine)."""
    before = signal.signal(signal.SIGVTALRM, _ticking)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def limit_memory(extra: int = MEMORY) -> Callable[[], None]:
    """Let allocations fail that go ``extra`` bytes beyond what the process has now (Linux); returns the way back."""
    if sys.platform != "linux":
        return lambda: None
    import resource

    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + extra, before[1]))
    return lambda: resource.setrlimit(resource.RLIMIT_AS, before)


def judge(target: Target, data: bytes) -> tuple[str, str, Find | None]:
    """(outcome, where it stopped, the find if it is one) of one input."""
    try:
        with limits():
            target.read(data)
        return "read", "", None
    except ReganieError as error:
        if greedy := _too_large(error):
            return "TooLarge", _where(error, 1), Find(target.name, "TooLarge", _where(error, 1), data, greedy)
        first = re.sub(r"'[^']*'|\"[^\"]*\"|[\d\W]+", " ", str(error))[:40]  # checks of one line tell different things
        return type(error).__name__, f"{_where(error)} {first}", None
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        problem = "TooSlow" if isinstance(error, TooSlow) else type(error).__name__
        where = _where(error, 1) if problem != "TooSlow" else target.name
        text = "".join(traceback.format_exception(error)[-6:])
        return problem, where, Find(target.name, problem, where, data, text)


def _too_large(error: BaseException | None) -> str:
    """What it says when an allocation beyond the limit was made and failed somewhere below a typed error."""
    while error is not None:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            return "".join(traceback.format_exception(error)[-6:])
        error = error.__cause__ or error.__context__
    return ""


def _where(error: BaseException, depth: int = 3) -> str:
    """File and line of the last places in this project that an error came through."""
    while isinstance(error.__cause__, BaseException):      # readers add the file's name to what their parts raise
        error = error.__cause__
    places, frame = [], error.__traceback__
    while frame is not None:
        name = frame.tb_frame.f_code.co_filename
        if name.startswith(ROOT) and "/tests/" not in name and "/.venv/" not in name:
            places.append(f"{os.path.basename(name)}:{frame.tb_lineno}")
        frame = frame.tb_next
    return " ".join(places[-depth:])


def run(target: Target, cases: int, seed: int, say: Callable[[str], None] = lambda text: None) -> Tally:
    """``cases`` mutations of a target's seeds, which come first; they follow from ``seed`` and the seeds' bytes."""
    dice, tally, seen = random.Random(f"{seed} {target.name}"), Tally(), set()
    seeds = list(target.seeds())
    honest, begin = len(seeds), time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = limit_memory()
        try:
            for index in range(cases):
                if index % 2000 == 1999:
                    free(), (free := limit_memory())
                # Damage of what is damaged already ends early, so most cases begin with something honest.
                origin = seeds[:honest] if dice.random() < HONEST else seeds
                data = seeds[index] if index < honest else target.mutate(dice.choice(origin), seeds, dice)
                outcome, where, find = judge(target, data)
                tally.cases += 1
                tally.outcomes[outcome] += 1
                path = f"{outcome} {where}"
                if find is not None:
                    if path not in tally.finds:
                        tally.finds[path] = shrink(target, find, dice)
                        say(f"  find in {target.name}: {path} ({len(tally.finds[path].data)} bytes)")
                elif path not in seen and len(seeds) < honest + MOST_SEEDS and index >= honest:
                    seeds.append(data)
                seen.add(path)
        finally:
            free()
    tally.paths, tally.seconds = len(seen), time.monotonic() - begin
    return tally


def shrink(target: Target, find: Find, dice: random.Random) -> Find:
    """The same find with fewer bytes: pieces are left out, from halves down to single bytes."""
    data, tries, piece = find.data, 0, max(1, len(find.data) // 2)
    limit = 8 if find.problem == "TooSlow" else SHRINKS
    while piece and tries < limit:
        start, smaller = 0, False
        while start < len(data) and tries < limit:
            part = data[:start] + data[start + piece:]
            tries += 1
            problem, where, again = judge(target, part)
            if again is not None and (problem, where) == (find.problem, find.where):
                data, smaller = part, True
            else:
                start += piece
        piece = piece if smaller and piece < len(data) else piece // 2
    return Find(find.target, find.problem, find.where, data, find.text)
