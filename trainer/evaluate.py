#!/usr/bin/env python3
"""Measure a portraits domain against exact answers.

    python trainer/evaluate.py summary                              both experiments, the tables of the README
    python trainer/evaluate.py reconstruction --domain portraits --json out/reconstruction.json
    python trainer/evaluate.py editing --edit yaw=+15 --edit age=+0.5

Every table has three trivial rows: the picture unchanged, the plain (edited) inversion, and the pasted difference.
People come from seeds that training never sees. Results go to standard output as Markdown and, with --json, to a file.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__" and not __package__:
    # Replace, not add: the modules of trainer/ must not shadow anything.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import reganie_core as rc  # noqa: E402
from trainer import provenance  # noqa: E402
from trainer.data import FIRST_RESERVED_SEED  # noqa: E402
from trainer.evaluation import tables  # noqa: E402

EXPERIMENTS = ("summary", "reconstruction", "editing")
DEFAULT_EDITS = ("yaw=+15", "age=+0.5", "smile=+0.5", "glasses=on")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python trainer/evaluate.py", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("experiment", choices=EXPERIMENTS)
    p.add_argument("--domain", default="portraits", help="packaged name or folder (default: portraits)")
    p.add_argument("--judge", default="", metavar="FILE", help="attribute network that only tables use")
    p.add_argument("--count", type=int, default=400, help="portraits, half of them with a long-tail item")
    p.add_argument("--seed", type=int, default=FIRST_RESERVED_SEED, help="first seed, from 10^9 up")
    p.add_argument("--edit", action="append", default=[], metavar="NAME=+V", help="edits to measure, one table each")
    p.add_argument("--json", metavar="FILE", help="write the numbers here")
    return p


def run(args: argparse.Namespace, command: list[str]) -> dict[str, Any]:
    """The numbers of one invocation."""
    import torch

    from reganie_core.editing import parse_edits
    from trainer.evaluation.people import held_out_people, judge
    from trainer.evaluation.pictures import editing, reconstruction
    domain = rc.load_domain(args.domain)
    domain.require("generator", "encoder", "rectifier")
    people = held_out_people(args.count, args.seed)
    results: dict[str, Any] = {"about": {
        "command": " ".join(command), "count": len(people), "seed": args.seed, "domain": args.domain,
        "commit": provenance.commit(), "torch": torch.__version__}}
    with torch.inference_mode():
        if args.experiment in ("summary", "reconstruction"):
            results["reconstruction"] = reconstruction(domain, people)
        if args.experiment in ("summary", "editing"):
            reader = judge(args.judge)
            edits = [parse_edits(text) for text in args.edit or DEFAULT_EDITS]
            results["editing"] = [
                editing(domain, people, {k: float(v) for k, v in edit.items()}, reader) for edit in edits]
    return results


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(argv)
    try:
        results = run(args, ["python", "trainer/evaluate.py", *argv])
        if args.json:
            Path(args.json).parent.mkdir(parents=True, exist_ok=True)
            Path(args.json).write_text(json.dumps(results, indent=1) + "\n")
    except rc.ReganieError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(tables.report(results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
