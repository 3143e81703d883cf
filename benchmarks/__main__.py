"""Time, FLOPs, roof and memory of everything that takes long, beside a textbook path on the same weights.

    python -m benchmarks [ROW ...] [--rounds 7] [--threads N] [--public FOLDER] [--again]
    python -m benchmarks --document docs/performance.md

Writes one ``out/bench/ROW.json`` per row. A row that the same commit has measured with as many threads is not measured
again unless ``--again``, so that the table can be made in pieces; ``--list`` names the rows. All of them take about 25
minutes on two free cores, none more than four; ``--rounds 3`` is a quick look. ``--document`` puts the rows and the
list of targets into one Markdown file; ``--clock cpu`` does so with processor time, for a machine that others use.
``--public`` names a checkout of stylegan2-ada-pytorch.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from . import public
from .cases import BUILDERS, make_case
from .document import document
from .files import FILE_ROWS
from .measure import CLOCKS, measure, say
from .routes import automatic

ORDER = [*(n for n in BUILDERS if not n.startswith("train-")), *FILE_ROWS, *(n for n in BUILDERS if "train-" in n)]
ROOT = Path(__file__).resolve().parents[1]
# What a row's figures depend on; a commit that touches none of it does not make them old.
SOURCES = ("reganie_core", "nodes", "trainer", "benchmarks", "__init__.py")


def processor() -> str:
    """The name of what computes."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def git(*arguments: str) -> str:
    """Output of git, or "unknown"."""
    try:
        run = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, cwd=ROOT)
        return run.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def commit() -> str:
    """Short hash of the last commit that touched the sources, with "+" when there is more than that."""
    dirty = git("status", "--porcelain", "--untracked-files=no", "--", *SOURCES)
    return git("log", "-1", "--format=%h", "--", *SOURCES) + ("+" if dirty else "")


def machine(threads: int) -> dict[str, Any]:
    """Stated with every row."""
    return {"processor": processor(), "cores": os.cpu_count(), "threads": threads, "torch": torch.__version__,
            "commit": commit(), "dtype by itself": automatic(), "date": str(datetime.date.today()),
            "load": round(os.getloadavg()[0], 1)}


def known(path: Path, threads: int) -> bool:
    """Whether a row has been measured from these sources with as many threads."""
    if not path.exists():
        return False
    about = json.loads(path.read_text()).get("machine", {})
    return about.get("threads") == threads and about.get("commit") == commit()


def run_row(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Measure and write."""
    about = machine(args.threads)
    if name in FILE_ROWS:
        row = FILE_ROWS[name](args.rounds, args.threads)
    else:
        row = measure(name, make_case(name), args.rounds, args.threads, args.budget, not args.no_memory)
    row["machine"] = about
    args.out.mkdir(parents=True, exist_ok=True)
    temporary = args.out / f".{name}.json"
    temporary.write_text(json.dumps(row, indent=1))
    temporary.replace(args.out / f"{name}.json")
    return row


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("rows", nargs="*", metavar="ROW", help="default: all; a prefix with a star takes all that fit")
    p.add_argument("--list", action="store_true", help="name the rows")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--threads", type=int, default=torch.get_num_threads())
    p.add_argument("--budget", type=float, default=45.0, help="seconds for a route, after three rounds (45)")
    p.add_argument("--public", metavar="FOLDER", help="a checkout of stylegan2-ada-pytorch to measure as well")
    p.add_argument("--no-memory", action="store_true", help="leave the processes out that measure memory")
    p.add_argument("--again", action="store_true", help="measure what is known, too")
    p.add_argument("--out", type=Path, default=ROOT / "out" / "bench")
    p.add_argument("--document", type=Path, metavar="FILE", help="write the Markdown file from the rows so far")
    p.add_argument("--clock", choices=CLOCKS, default="wall", help="whose time the document states")
    return p


def chosen(patterns: list[str]) -> list[str]:
    """Names of rows, in order. Raises SystemExit for one that does not exist."""
    if not patterns:
        return ORDER
    wanted = []
    for pattern in patterns:
        fitting = [n for n in ORDER if n == pattern or (pattern.endswith("*") and n.startswith(pattern[:-1]))]
        if not fitting:
            raise SystemExit(f"There is no row {pattern!r}; rows: {', '.join(ORDER)}.")
        wanted += fitting
    return wanted


def main() -> int:
    """Measure rows, or write the document; exit status 1 where a row has failed."""
    args = parser().parse_args()
    if args.list:
        print("\n".join(ORDER))
        return 0
    if args.document and not args.rows:
        args.document.write_text(document(args.out, ORDER, args.clock))
        return 0
    if args.public:
        os.environ[public.VARIABLE] = str(Path(args.public).resolve())
    torch.set_num_threads(args.threads)
    failed = []
    for name in chosen(args.rows):
        if not args.again and known(args.out / f"{name}.json", args.threads):
            say(f"{name}: known")
            continue
        start = time.perf_counter()
        # A process per row: its memory is gone when it ends, and what fails fails alone.
        if len(chosen(args.rows)) == 1:
            run_row(name, args)
        else:
            again = [sys.executable, "-m", "benchmarks", name, "--again", *passed_on(args)]
            if subprocess.run(again, cwd=ROOT).returncode:
                failed.append(name)
        say(f"{name}: {time.perf_counter() - start:.0f} s" + (" FAILED" if name in failed else ""))
    if args.document:
        args.document.write_text(document(args.out, ORDER, args.clock))
    return 1 if failed else 0


def passed_on(args: argparse.Namespace) -> list[str]:
    """The options of the process of one row."""
    more = ["--no-memory"] if args.no_memory else []
    return ["--rounds", str(args.rounds), "--threads", str(args.threads), "--budget", str(args.budget), "--out",
            str(args.out), *more]


if __name__ == "__main__":
    sys.exit(main())
