"""Configs come from defaults, a file and the command line, and wrong ones are refused with a reason."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from reganie_core.errors import InputError, NotFoundError, ReganieWarning
from trainer.loop.config import StageConfig, build, to_dict
from trainer.stages import STAGES, stage_class
from trainer.train import main, split_arguments

CONFIGS = sorted(p for p in (Path(__file__).parents[1] / "trainer" / "configs").glob("*/*.json")
                 if p.stem != "chain" and p.parent.name != "chains")


def stage_of(path: Path) -> str:
    """The stage of a config: what its folder's chain says, else its name."""
    chain = path.with_name("chain.json")
    jobs = {job["name"]: job["stage"] for job in json.loads(chain.read_text())} if chain.exists() else {}
    name = "attributes" if path.stem == "judge" else path.stem
    return jobs.get(path.stem) or next(s for s in sorted(STAGES, key=len, reverse=True) if name.startswith(s))


@dataclass
class Example(StageConfig):
    widths: tuple[int, ...] = (1, 2)
    mirror: bool = True


def test_order_of_precedence(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"batch": 4, "lr": 1, "widths": [3, 4]}))
    config = build(Example, file, ["batch=8", "mirror=off"])
    assert (config.batch, config.lr, config.widths, config.mirror) == (8, 1.0, (3, 4), False)
    assert isinstance(config.lr, float)
    assert build(Example, None, ["widths=5,6,7"]).widths == (5, 6, 7)


@pytest.mark.parametrize(("overrides", "word"), [
    (["batch"], "key=value"), (["bach=3"], "Unknown option"), (["batch=x"], "int"), (["mirror=maybe"], "bool"),
    (["batch=0"], "positive"), (["dtype=float8"], "bfloat16"),
])
def test_bad_command_line(overrides: list[str], word: str) -> None:
    with pytest.raises(InputError, match=word):
        build(Example, None, overrides)


@pytest.mark.parametrize("content", ['{"batch": "four"}', '{"batch": true}', '{"widths": [1.5]}', '{"nope": 1}', "{"])
def test_bad_file(tmp_path: Path, content: str) -> None:
    file = tmp_path / "c.json"
    file.write_text(content)
    with pytest.raises(InputError):
        build(Example, file, [])


def test_a_run_of_an_earlier_version_resumes(tmp_path: Path) -> None:
    """Its config.json names options that are constants by now, or called otherwise."""
    cls, file = stage_class("generator").config_class, tmp_path / "config.json"
    file.write_text(json.dumps({"batch": 4, "pairs": 1.0, "teach": 20, "r1_interval": 16}))
    with pytest.warns(ReganieWarning, match="r1_interval=16"):
        config = build(cls, file, ["lr=0.5"], resuming=True)
    assert (config.batch, config.pretrain_mapping, config.lr) == (4, 20, 0.5)
    with pytest.raises(InputError, match="teach"):
        build(cls, file, [])


def test_missing_file() -> None:
    with pytest.raises(NotFoundError, match="trainer/configs"):
        build(Example, "nowhere.json", [])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_shipped_configs_build(path: Path) -> None:
    config = build(stage_class(stage_of(path)).config_class, path, [])
    assert json.loads(path.read_text()).items() <= to_dict(config).items()


def test_rectifier_is_the_default_stage() -> None:
    assert split_arguments(["batch=2", "--out", "x"]) == ["rectifier", "--out", "x", "batch=2"]
    assert split_arguments(["generator", "--out", "x"])[0] == "generator"
    assert set(STAGES) >= {"generator", "attributes", "encoder", "directions", "rectifier"}


def test_errors_end_the_command_with_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["generator", "--out", str(tmp_path / "r"), "nope=1"]) == 1
    assert capsys.readouterr().err.startswith("error: Unknown option 'nope'")
