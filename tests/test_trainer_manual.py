"""`train.py STAGE --help`: every option of every stage, with its default and a word about it."""

from __future__ import annotations

import dataclasses
import re
import shlex

import pytest

from trainer.compare.restyle import RestyleStageConfig
from trainer.extras import EXTRAS, extra_class
from trainer.loop.config import StageConfig, build, help_of
from trainer.manual import WIDTH, manual
from trainer.stages import STAGES, stage_class
from trainer.train import main


@pytest.mark.parametrize("stage", STAGES)
def test_the_page_of_a_stage(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([stage, "--help"]) == 0
    page = capsys.readouterr().out
    assert page.strip() == manual(stage) and max(map(len, page.splitlines())) <= WIDTH
    config_class = stage_class(stage).config_class
    page, *extras = page.split("\n\nEXTRA ")
    listed = re.findall(r"^ {2}(\w+)=('[^']*'|\S*)", page, re.M)
    assert sorted(name for name, _ in listed) == sorted(f.name for f in dataclasses.fields(config_class))
    simple = [shlex.split(f"{name}={value}")[0] for name, value in listed if value and not value.startswith("{")]
    assert build(config_class, None, [*simple, "device=cpu"]) == build(config_class, None, ["device=cpu"])
    assert f"python trainer/train.py {stage} --out DIR" in page and "OPTIONS OF EVERY STAGE" in page
    for field in dataclasses.fields(config_class):
        assert help_of(config_class, field.name), field.name
    wanted = EXTRAS if stage == "rectifier" else {}
    assert [part.splitlines()[0] for part in extras] == list(wanted)
    for name, part in zip(wanted, extras, strict=True):
        assert all(f"  {field.name}=" in part for field in dataclasses.fields(extra_class(name)))


def test_a_subclass_that_changes_a_default_keeps_the_help() -> None:
    assert "learning rate" in help_of(RestyleStageConfig, "lr") and RestyleStageConfig.lr != StageConfig.lr


def test_what_only_a_renderer_can_do_stands_apart() -> None:
    plain, rendered = manual("encoder").split("OPTIONS WHERE PORTRAITS ARE RENDERED")
    assert "  pairs=" not in plain and "  pairs=" in rendered and "  code_weight=" in plain
    assert manual("encoder").index("e4e-type inversion") < manual("encoder").index("The encoder stage where pictures")
    assert "WHERE PORTRAITS ARE RENDERED" not in manual("restyle")


def test_help_without_a_stage_is_the_whole_manual(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(stage in text for stage in STAGES) and "train.py STAGE --help" in text
