"""One command makes a domain: its stages in order, what is finished skipped, what is begun resumed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from trainer import domain


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Every command the chain starts; `fail` names a script that fails."""
    seen = SimpleNamespace(words=[], fail="", ended=[], stopped=False)

    def run(words, check):
        script, rest = words[1].rsplit("/", 1)[-1], words[2:]
        seen.words.append([script, *rest])
        if script == "train.py" and script != seen.fail and not seen.stopped:
            out = Path(rest[rest.index("--out") + 1])
            seen.ended.append(str(out))
            out.mkdir(parents=True, exist_ok=True)
            for file in ("directions.safetensors", "sheet_last.png"):
                (out / file).touch()
        return SimpleNamespace(returncode=int(script == seen.fail))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("trainer.domain.subprocess.run", run)
    monkeypatch.setattr(domain, "finished", lambda folder: str(folder) in seen.ended)
    (tmp_path / "pictures").mkdir()
    for i in range(40):
        (tmp_path / "pictures" / f"{i}.png").touch()
    seen.arguments = ["--images", str(tmp_path / "pictures"), "--name", "mine", "--out", str(tmp_path)]
    seen.folder = tmp_path / "mine"
    return seen


def test_stages_run_in_order_and_only_once(calls):
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


def test_a_stage_that_was_stopped_does_not_count_as_finished(calls, capsys):
    calls.stopped = True                        # train.py leaves with 0 when it was told to stop
    assert domain.main(calls.arguments) == 1 and len(calls.words) == 1
    assert "stopped before its end" in capsys.readouterr().err


def test_what_is_usual_is_measured_on_pictures_that_were_held_out(calls):
    assert domain.main(calls.arguments) == 0
    usual = next(words for words in calls.words if words[0] == "usual.py")
    linked = {link.resolve().name for link in calls.folder.joinpath("held_out").iterdir()}
    assert usual[usual.index("--images") + 1] == str(calls.folder / "held_out")
    held = domain.split([f"{i}.png" for i in range(40)])[1].tolist()
    assert linked == {f"{i}.png" for i in held} and 0 < len(linked) < 10


def test_labels_choose_labelled_directions_and_a_weak_encoder_does_not_stop_it(calls):
    for stage in domain.STAGES:
        (calls.folder / stage).mkdir(parents=True)
    calls.fail = "usual.py"
    labels = calls.folder / "labels.csv"
    labels.write_text("file,x\n" + "".join(f"{i}.png,{i}\n" for i in range(40)))
    assert domain.main([*calls.arguments, "--labels", str(labels)]) == 0
    assert [w[0] for w in calls.words] == ["train.py", "package.py", "usual.py", "label_directions.py", "package.py",
                                           "usual.py"]


@pytest.mark.parametrize(("images", "text", "words"), [("pictures.zip", "file,x\n", "Unpack it"),
                                                       ("pictures", "file,x\n0.png,1\n", "at least 20")])
def test_labels_are_read_before_training(calls, capsys, tmp_path, images, text, words):
    (tmp_path / "pictures.zip").touch()
    (tmp_path / "labels.csv").write_text(text)
    calls.arguments[1] = str(tmp_path / images)
    assert domain.main([*calls.arguments, "--labels", str(tmp_path / "labels.csv")]) == 1
    assert words in capsys.readouterr().err and not calls.words


@pytest.mark.parametrize("option", ["total_kimg=5", "editor.lr=1", "joint.lr"])
def test_an_option_of_no_stage_is_named(calls, capsys, option):
    assert domain.main([*calls.arguments, option]) == 1
    assert "STAGE.key=value" in capsys.readouterr().err and not calls.words
