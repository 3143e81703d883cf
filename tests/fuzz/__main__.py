"""Fuzz every reader: `python -m tests.fuzz [--cases 1000000] [--target NAME ...] [--json out/soak/fuzz.json]`."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch

from tests.fuzz.engine import Tally, run
from tests.fuzz.targets import TARGETS
from tests.soak_about import about


def fuzz(names: list[str], cases: int, seed: int, finds: Path | None) -> dict[str, Tally]:
    """``cases`` over the targets by their shares; finds go into a folder, with what they did beside them."""
    total, tallies = sum(TARGETS[name].share for name in names), {}
    for name in names:
        target = TARGETS[name]
        tally = tallies[name] = run(target, math.ceil(cases * target.share / total), seed, print)
        rate = tally.cases / max(tally.seconds, 1e-9)
        print(f"{name:12} {tally.cases:8} cases, {rate:6.0f} /s, {tally.paths:4} ways out, {len(tally.finds)} finds",
              flush=True)
        for find in tally.finds.values() if finds else ():
            finds.mkdir(parents=True, exist_ok=True)
            (finds / find.name).write_bytes(find.data)
            (finds / find.name).with_suffix(".txt").write_text(find.text)
    return tallies


def report(tallies: dict[str, Tally], seed: int) -> dict[str, object]:
    """What the summary tells."""
    targets = {name: {"cases": t.cases, "seconds": round(t.seconds, 1), "ways_out": t.paths,
                      "outcomes": dict(t.outcomes.most_common()),
                      "finds": sorted(f"{f.problem} at {f.where}" for f in t.finds.values())}
               for name, t in tallies.items()}
    return {"cases": sum(t.cases for t in tallies.values()), "seed": seed,
            "seconds": round(sum(t.seconds for t in tallies.values())),
            "finds": sum(len(t.finds) for t in tallies.values()), "targets": targets, "about": about()}


def main() -> int:
    """The command; 1 when anything was found."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--cases", type=int, default=1_000_000)
    p.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one; may be given again")
    p.add_argument("--seed", type=int, default=int(time.time()), help="the time, unless given")
    p.add_argument("--finds", type=Path, default=Path("out/soak/finds"), help="where finds go")
    p.add_argument("--json", type=Path, help="write what happened here")
    args = p.parse_args()
    torch.set_num_threads(1)
    found = report(fuzz(args.target or list(TARGETS), args.cases, args.seed, args.finds), args.seed)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{found['cases']} cases in {found['seconds']} s (seed {args.seed}), {found['finds']} finds")
    return 1 if found["finds"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
