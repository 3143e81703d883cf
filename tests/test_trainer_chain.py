"""Chains: what runs after what, with which options, and that every shipped one names things that exist."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from reganie_core.errors import InputError, NotFoundError
from trainer import chain, evaluate
from trainer.loop.config import build
from trainer.stages import stage_class

CONFIGS = Path(__file__).parents[1] / "trainer" / "configs"
SHIPPED = [(folder, name) for folder in sorted(CONFIGS.glob("portraits-*"))
           for name in ("chain", *sorted(p.stem for p in (CONFIGS / "chains").glob("*.json")))]


@pytest.mark.parametrize(("folder", "name"), SHIPPED, ids=lambda v: getattr(v, "name", v))
def test_shipped_chains_name_stages_options_and_experiments(folder: Path, name: str, tmp_path: Path) -> None:
    jobs = chain.read_chain(folder, [], name)
    made = {f"{tmp_path / job.name}" for job in jobs if job.stage}
    for job in jobs:
        command = chain.command_of(job, folder, tmp_path, [], ["--count", "3"], {j.name for j in jobs})
        if job.stage:
            options = command[command.index("--resume") + 1:]
            build(stage_class(job.stage).config_class, folder / f"{job.config}.json", options)
            continue
        args = evaluate.parser().parse_intermixed_args(command[2:])
        assert args.experiment == job.evaluate
        if args.rectifier:                         # every row is a run of this very chain
            assert {str(Path(r.partition("=")[2]).parent) for r in args.rectifier} == made
        assert args.count == 3 and Path(args.json) == tmp_path / f"{job.name}.json"


def test_the_tables_are_made_of_the_methods(tmp_path: Path) -> None:
    folder = next(CONFIGS.glob("portraits-*"))
    jobs = {job.name: job for job in chain.read_chain(folder, [], "tables")}
    files = [a.partition("=")[2] for a in jobs["table-reconstruction"].arguments if "=" in a]
    methods = {job.name: job for job in chain.read_chain(folder, [], "methods")}
    assert {Path(f).parent.name for f in files} == set(methods)


def write(folder: Path, data: object, name: str = "chain") -> None:
    (folder / f"{name}.json").write_text(json.dumps(data))


def test_options_reach_the_stage_they_name(tmp_path: Path) -> None:
    write(tmp_path, {"options": ["lr=1", "bank={out}/b"], "jobs": [
        {"name": "a", "stage": "rectifier", "config": "base", "options": ["modulation=spatial"]},
        {"name": "b", "evaluate": "editing", "arguments": ["--rectifier", "a={out}/a/r"], "after": ["a"]}]})
    a, b = chain.read_chain(tmp_path, [])
    out = Path("runs") / "x"
    train = chain.command_of(a, tmp_path, out, ["seed=2", "a.lr=3", "b.lr=4"], [], {"a", "b"})
    assert train == [sys.executable, str(chain.TRAIN), "rectifier", "--config", str(tmp_path / "base.json"), "--out",
                     str(out / "a"), "--resume", "lr=1", f"bank={out}/b", "modulation=spatial", "seed=2", "lr=3"]
    measure = chain.command_of(b, tmp_path, out, ["seed=2"], ["--count", "5"], {"a", "b"})
    assert measure[1:] == [str(chain.EVALUATE), "editing", "--rectifier", f"a={out}/a/r", "--count", "5", "--json",
                           str(out / "b.json")]


def test_jobs_wait_and_measurements_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, [{"name": "late", "evaluate": "editing", "after": ["early"]},
                     {"name": "early", "evaluate": "networks"},
                     {"name": "never", "evaluate": "text", "after": ["late"]}])
    log = tmp_path / "order"

    def command(job: chain.Job, *_: object) -> list[str]:
        code = f"open({str(log)!r}, 'a').write('{job.name} '); raise SystemExit({job.name == 'late'})"
        return [sys.executable, "-c", code]

    monkeypatch.setattr(chain, "command_of", command)
    assert chain.main(["--configs", str(tmp_path), "--out", str(tmp_path / "o"), "--parallel", "2"]) == 1
    assert log.read_text() == "early late "
    assert "late: failed" in capsys.readouterr().out


@pytest.mark.parametrize("jobs", [[{"name": "a"}], [{"name": "a", "stage": "x", "evaluate": "y"}], [{"stage": "x"}],
                                  [{"name": "a", "stage": "x", "afterwards": []}], {"jobs": []},
                                  [{"name": "a", "stage": "x", "after": ["b"]}]])
def test_a_chain_that_makes_no_sense_is_refused(tmp_path: Path, jobs: object) -> None:
    write(tmp_path, jobs)
    with pytest.raises(InputError):
        chain.read_chain(tmp_path, [])
    with pytest.raises(NotFoundError, match="shipped chains"):
        chain.read_chain(tmp_path, [], "nowhere")
