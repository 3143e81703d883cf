#!/usr/bin/env python3
"""Train every network of a domain in the order they need each other, and measure what came out.

    python trainer/chain.py --configs trainer/configs/portraits-128 --out runs/p128
    python trainer/chain.py --configs trainer/configs/portraits-128 --out runs/p128 --parallel 4 device=cuda
    python trainer/chain.py --configs trainer/configs/portraits-128 --out runs/p128 --chain methods
    python trainer/chain.py --configs trainer/configs/portraits-128 --out runs/p128 --chain ablation total_kimg=10
    python trainer/chain.py --configs trainer/configs/portraits-128 --out runs/p128 --chain tables \\
        --measure "--domain runs/portraits"

The folder of configs holds one NAME.json per stage. A chain is a file of the folder (chain.json unless --chain names
another) or of trainer/configs/chains, where those lie that suit every domain. It is a list of jobs, or an object
{"options": [...], "jobs": [...]} with options for all of its training. A job has a "name", the names it comes "after",
and one of

    "stage": STAGE            python trainer/train.py STAGE --config NAME.json --out OUT/NAME; "config" names another
                              file, "options" are key=value that override it
    "evaluate": EXPERIMENT    python trainer/evaluate.py EXPERIMENT --json OUT/NAME.json, with its "arguments"

In options and arguments {out} stands for --out.

Up to --parallel jobs run at a time, with their output in OUT/NAME.log. Calling it again goes on where it stopped:
finished stages are skipped, begun ones resumed, measurements reuse their finished pieces. `key=value` goes to every
stage, `NAME.key=value` to one; --measure TEXT goes to every measurement.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__" and not __package__:
    # Replace, not add: the modules of trainer/ must not shadow anything.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from reganie_core.cli.common import escape_output  # noqa: E402
from reganie_core.errors import InputError, NotFoundError, ReganieError  # noqa: E402
from reganie_core.paths import read_text  # noqa: E402

TRAIN, EVALUATE = (Path(__file__).resolve().with_name(name) for name in ("train.py", "evaluate.py"))
CHAINS = TRAIN.with_name("configs") / "chains"


@dataclass
class Job:
    """One stage or measurement of the chain, and the process that works on it, if it runs."""

    name: str
    stage: str = ""
    after: list[str] = field(default_factory=list)
    config: str = ""
    options: list[str] = field(default_factory=list)
    evaluate: str = ""
    arguments: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    done: bool = False


def parse_job(entry: dict[str, Any], shared: list[str]) -> Job:
    """A job of a chain's file; raises TypeError or ValueError for one that says something else."""
    job = Job(**entry)
    for name in ("name", "stage", "config", "evaluate"):
        if not isinstance(getattr(job, name), str) or not job.name:
            raise TypeError(f'"{name}" of a job must be a text')
    for name in ("after", "options", "arguments"):
        if not isinstance(getattr(job, name), list) or not all(isinstance(item, str) for item in getattr(job, name)):
            raise TypeError(f'"{name}" of {job.name} must be a list of texts')
    if job.process is not None or job.done is not False:
        raise TypeError(f"{job.name} says that it is at work already")
    if bool(job.stage) == bool(job.evaluate):
        raise ValueError(f'{job.name} needs either "stage" or "evaluate"')
    job.options, job.config = [*shared, *job.options], job.config or job.name
    return job


def read_chain(folder: Path, only: list[str], chain: str = "chain") -> list[Job]:
    """The jobs of a chain; with `only`, those, without waiting for what is left out."""
    places = (folder / f"{chain}.json", CHAINS / f"{chain}.json")
    path = next((p for p in places if p.is_file()), None)
    if path is None:
        raise NotFoundError(f"No chain {places[0]} nor {places[1]}; shipped chains are in trainer/configs.")
    try:
        data = json.loads(read_text(path))
        shared = data["options"] if isinstance(data, dict) else []
        if not isinstance(shared, list) or not all(isinstance(item, str) for item in shared):
            raise TypeError('"options" must be a list of texts')
        jobs = [parse_job(entry, shared) for entry in (data["jobs"] if isinstance(data, dict) else data)]
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise InputError(f'{path} must be a list of {{"name", "stage" or "evaluate", "after"}}: {error}.') from error
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


def command_of(job: Job, configs: Path, out: Path, overrides: list[str], measure: list[str],
               names: set[str]) -> list[str]:
    """What to run for a job; `names` are those that `NAME.key=value` may begin with."""
    if job.evaluate:
        given = [a.replace("{out}", str(out)) for a in job.arguments]
        return [sys.executable, str(EVALUATE), job.evaluate, *given, *measure, "--json", str(out / f"{job.name}.json")]
    options = [o.replace("{out}", str(out)) for o in job.options]
    own = [o.partition(".")[2] for o in overrides if o.split("=")[0].startswith(f"{job.name}.")]
    shared = [o for o in overrides if o.split("=")[0].split(".")[0] not in names]
    return [sys.executable, str(TRAIN), job.stage, "--config", str(configs / f"{job.config}.json"), "--out",
            str(out / job.name), "--resume", *options, *shared, *own]


def start(job: Job, command: list[str], out: Path) -> None:
    """Begin or resume a job."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / f"{job.name}.log").open("ab") as log:
        job.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    print(f"{job.name}: started", flush=True)


def run(jobs: list[Job], configs: Path, out: Path, parallel: int, overrides: list[str],
        measure: list[str] | None = None) -> int:
    """Start what can start until all is done or something fails; returns the number of failed jobs."""
    failed = 0
    names = {p.stem for p in configs.glob("*.json")} | {job.name for job in jobs}
    for job in jobs:
        job.done = not job.evaluate and finished(out / job.name)
    try:
        while any(not job.done for job in jobs):
            running = [job for job in jobs if job.process is not None and not job.done]
            done = {job.name for job in jobs if job.done}
            ready = [job for job in jobs if not job.done and job.process is None and done.issuperset(job.after)]
            for job in ready[:max(0, parallel - len(running))] if not failed else []:
                start(job, command_of(job, configs, out, overrides, measure or [], names), out)
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
    p.add_argument("--configs", required=True, metavar="DIR", help="folder of configs and chains")
    p.add_argument("--out", required=True, metavar="DIR", help="folder of the runs, one folder and log per job")
    p.add_argument("--chain", default="chain", metavar="NAME", help="which chain (default: chain)")
    p.add_argument("--parallel", type=int, default=1, help="jobs at a time (default 1)")
    p.add_argument("--only", default="", metavar="A,B", help="these jobs, without the others")
    p.add_argument("--measure", default="", metavar="TEXT",
                   help='more arguments for every measurement, for example "--domain runs/portraits --count 200"')
    p.add_argument("overrides", nargs="*", metavar="[NAME.]key=value")
    args = p.parse_intermixed_args(argv)
    escape_output()
    try:
        jobs = read_chain(Path(args.configs), [n for n in args.only.split(",") if n], args.chain)
        return 1 if run(jobs, Path(args.configs), Path(args.out), args.parallel, args.overrides,
                        shlex.split(args.measure)) else 0
    except ReganieError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
