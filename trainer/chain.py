#!/usr/bin/env python3
"""Train every network of a domain, in the order they need each other.

    python trainer/chain.py --configs trainer/configs/portraits-128 --out runs/p128
    python trainer/chain.py --configs trainer/configs/portraits-128 --out runs/p128 --parallel 4 device=cuda

The folder of configs holds chain.json, a list of {"name", "stage", "after": [names]}, and one NAME.json per entry. Each
stage runs as `python trainer/train.py STAGE --config NAME.json --out OUT/NAME`, up to --parallel at a time, with its
output in OUT/NAME.log. Calling it again goes on where it stopped: finished stages are skipped, begun ones resumed.
`key=value` goes to every stage, `NAME.key=value` to one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Replace, not add: the modules of trainer/ must not shadow anything.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from reganie_core.errors import InputError, NotFoundError, ReganieError  # noqa: E402

TRAIN = Path(__file__).resolve().with_name("train.py")


@dataclass
class Job:
    """One stage of the chain and the process that trains it, if it runs."""

    name: str
    stage: str
    after: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    done: bool = False


def read_chain(folder: Path, only: list[str]) -> list[Job]:
    """The jobs of chain.json; with `only`, those, without waiting for what is left out."""
    path = folder / "chain.json"
    if not path.is_file():
        raise NotFoundError(f"No {path}; shipped chains are in trainer/configs.")
    try:
        jobs = [Job(entry["name"], entry["stage"], list(entry.get("after", []))) for entry in
                json.loads(path.read_text())]
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f'{path} must be a list of {{"name", "stage", "after"}}: {error}.') from error
    names = [job.name for job in jobs]
    unknown = sorted({n for job in jobs for n in job.after} - set(names) | set(only) - set(names))
    if unknown:
        raise InputError(f"{path} has no stage {', '.join(unknown)}; it has {', '.join(names)}.")
    jobs = [job for job in jobs if not only or job.name in only]
    for job in jobs:
        job.after = [n for n in job.after if any(other.name == n for other in jobs)]
    return jobs


def finished(out: Path) -> bool:
    """Whether a run's statistics say that it reached its end."""
    config, stats = out / "config.json", out / "stats.jsonl"
    if not (config.is_file() and stats.is_file()) or not list(out.glob("*.safetensors")):
        return False
    records = [json.loads(line) for line in stats.read_text().splitlines() if line]
    seen = max((r.get("kimg", 0.0) for r in records), default=0.0)
    tick = json.loads(config.read_text())
    return seen + tick["batch"] / 1000 + tick["tick_kimg"] > tick["total_kimg"] and (out / "sheet_last.png").exists()


def start(job: Job, configs: Path, out: Path, overrides: list[str]) -> None:
    """Begin or resume a stage."""
    names = {p.stem for p in configs.glob("*.json")}
    own = [o.partition(".")[2] for o in overrides if o.split("=")[0].startswith(f"{job.name}.")]
    shared = [o for o in overrides if o.split("=")[0].split(".")[0] not in names]
    command = [sys.executable, str(TRAIN), job.stage, "--config", str(configs / f"{job.name}.json"), "--out",
               str(out / job.name), "--resume", *shared, *own]
    out.mkdir(parents=True, exist_ok=True)
    with (out / f"{job.name}.log").open("ab") as log:
        job.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    print(f"{job.name}: started", flush=True)


def run(jobs: list[Job], configs: Path, out: Path, parallel: int, overrides: list[str]) -> int:
    """Start what can start until all is done or something fails; returns the number of failed stages."""
    failed = 0
    for job in jobs:
        job.done = finished(out / job.name)
    try:
        while any(not job.done for job in jobs):
            running = [job for job in jobs if job.process is not None and not job.done]
            done = {job.name for job in jobs if job.done}
            ready = [job for job in jobs if not job.done and job.process is None and done.issuperset(job.after)]
            for job in ready[:max(0, parallel - len(running))] if not failed else []:
                start(job, configs, out, overrides)
                running.append(job)
            if not running:
                break
            for job in running:
                code = job.process.poll()
                if code is not None:
                    job.done = True
                    failed += code != 0
                    print(f"{job.name}: {'done' if code == 0 else f'failed, see {out / job.name}.log'}", flush=True)
            time.sleep(0.5)
    finally:
        for job in jobs:
            if job.process is not None and job.process.poll() is None:
                job.process.terminate()          # train.py saves and leaves
        for job in jobs:
            if job.process is not None:
                job.process.wait()
    return failed


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python trainer/chain.py", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--configs", required=True, metavar="DIR")
    p.add_argument("--out", required=True, metavar="DIR")
    p.add_argument("--parallel", type=int, default=1, help="stages at a time (default 1)")
    p.add_argument("--only", default="", metavar="A,B", help="these stages, without the others")
    p.add_argument("overrides", nargs="*", metavar="[NAME.]key=value")
    args = p.parse_intermixed_args(argv)
    try:
        jobs = read_chain(Path(args.configs), [n for n in args.only.split(",") if n])
        return 1 if run(jobs, Path(args.configs), Path(args.out), args.parallel, args.overrides) else 0
    except ReganieError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
