"""One command makes a domain: its stages in order, what is finished skipped, what is begun resumed."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest

from trainer import domain


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Every command the chain starts; `fail` names a script that fails."""
    seen = SimpleNamespace(words=[], fail="")

    def run(words, check):
        script, rest = words[1].rsplit("/", 1)[-1], words[2:]
        seen.words.append([script, *rest])
        return SimpleNamespace(returncode=int(script == seen.fail))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("trainer.domain.subprocess.run", run)
    (tmp_path / "pictures").mkdir()
    seen.arguments = ["--images", str(tmp_path / "pictures"), "--name", "mine", "--out", str(tmp_path)]
    seen.folder = tmp_path / "mine"
    return seen


def test_stages_run_in_order_and_only_once(calls):
    assert domain.main([*calls.arguments, "joint.total_kimg=5", "directions.count=3"]) == 1, "nothing makes the folders"
    for stage in domain.STAGES:
        (calls.folder / stage).mkdir(parents=True)
    calls.words.clear()
    assert domain.main([*calls.arguments, "joint.total_kimg=5", "directions.count=3"]) == 0
    assert [w[0] for w in calls.words] == ["train.py", "package.py", "usual.py", "train.py", "package.py", "usual.py"]
    assert "total_kimg=5" in calls.words[0] and "count=3" in calls.words[3] and "method=sefa" in calls.words[3]
    calls.words.clear()
    assert domain.main(calls.arguments) == 0
    assert [w[0] for w in calls.words] == ["package.py", "usual.py"], "what is finished is not trained again"


def test_a_begun_stage_is_resumed_and_a_failure_stops_the_chain(calls, capsys):
    for stage in domain.STAGES:
        (calls.folder / stage).mkdir(parents=True)
    (calls.folder / "joint" / "state.safetensors").touch()
    calls.fail = "train.py"
    assert domain.main(calls.arguments) == 1
    assert calls.words[0][-1] == "--resume" and len(calls.words) == 1
    assert "call the same command again" in capsys.readouterr().err


def test_labels_choose_labelled_directions_and_a_weak_encoder_does_not_stop_it(calls):
    for stage in domain.STAGES:
        (calls.folder / stage).mkdir(parents=True)
    calls.fail = "usual.py"
    assert domain.main([*calls.arguments, "--labels", "labels.csv"]) == 0
    assert [w[0] for w in calls.words] == ["train.py", "package.py", "usual.py", "label_directions.py", "package.py",
                                           "usual.py"]


@pytest.mark.parametrize("option", ["total_kimg=5", "editor.lr=1", "joint.lr"])
def test_an_option_of_no_stage_is_named(calls, capsys, option):
    assert domain.main([*calls.arguments, option]) == 1
    assert "STAGE.key=value" in capsys.readouterr().err and not calls.words
