"""`train.py STAGE --help`: every option of every stage, with its default and a word about it."""

from __future__ import annotations

import dataclasses
import re
import shlex

import pytest

from trainer.compare.inverters import InverterStageConfig
from trainer.compare.restyle import RestyleStageConfig
from trainer.loop.config import build
from trainer.manual import GENERAL, WIDTH, manual, notes
from trainer.stages import STAGES, stage_class
from trainer.train import main


@pytest.mark.parametrize("stage", STAGES)
def test_the_page_of_a_stage(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([stage, "--help"]) == 0
    page = capsys.readouterr().out
    assert page.strip() == manual(stage) and max(map(len, page.splitlines())) <= WIDTH
    config_class = stage_class(stage).config_class
    listed = re.findall(r"^ {2}(\w+)=('[^']*'|\S*)", page, re.M)
    assert sorted(name for name, _ in listed) == sorted(f.name for f in dataclasses.fields(config_class))
    simple = [shlex.split(f"{name}={value}")[0] for name, value in listed if value and not value.startswith("{")]
    assert build(config_class, None, [*simple, "device=cpu"]) == build(config_class, None, ["device=cpu"])
    assert f"python trainer/train.py {stage} --out DIR" in page and "OPTIONS OF EVERY STAGE" in page
    mute = [line for line in page.splitlines() if re.fullmatch(r" {2}\w+=\S*", line)]
    assert len(mute) < 0.35 * len(listed)


def test_comments_of_a_subclass_go_first() -> None:
    assert notes(RestyleStageConfig)["iterations"] == "" and GENERAL["iterations"]
    assert notes(RestyleStageConfig)["generated"] == notes(InverterStageConfig)["generated"] != ""
    assert "half-life" in notes(RestyleStageConfig)["ema_kimg"]


def test_help_without_a_stage_is_the_whole_manual(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(stage in text for stage in STAGES) and "train.py STAGE --help" in text
