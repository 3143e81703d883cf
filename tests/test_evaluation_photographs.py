"""`evaluate.py photographs`: pairs of photographs, with the packaged faces domain and detector."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from reganie_core.errors import NotFoundError
from reganie_core.faces import PACKAGED_DETECTOR
from trainer.evaluate import main
from trainer.evaluation.local import Local
from trainer.evaluation.photographs import CARRY, EDITED, UNCHANGED, measured, pairs, table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two people whose "real smiles" are the neutral pictures themselves, on a wall."""
    path = tmp_path_factory.mktemp("pairs")
    for example in sorted((PACKAGED_DETECTOR.parent / "examples").glob("*.jpg")):
        wall = Image.new("RGB", (420, 420), (170, 170, 170))
        with Image.open(example) as picture:
            wall.paste(picture.convert("RGB").resize((320, 320)), (50, 50))
        for kind in ("neutral", "smiling"):
            wall.save(path / f"{example.stem}_{kind}.png")
    return path


def test_it_measures_every_row_and_draws_a_sheet(folder, tmp_path, capsys):
    arguments = ["photographs", "--domain", "faces", "--pairs", str(folder), "--edit", "smile=+2"]
    assert main([*arguments, "--json", str(tmp_path / "t.json")]) == 0
    rows = json.loads((tmp_path / "t.json").read_text())["photographs"]["tables"]["smile=+2"]
    assert rows[UNCHANGED]["mouth"]["mean"] == 0, "here the real picture is the photograph itself"
    assert 0 < rows[CARRY]["mouth"]["mean"] < rows[EDITED]["mouth"]["mean"]
    assert rows[CARRY]["whole"]["mean"] < 0.5 * rows[EDITED]["whole"]["mean"]
    assert "carry's mouth over this" not in rows[CARRY] and "2 people" in capsys.readouterr().out
    assert Image.open(tmp_path / "t.png").size[1] > 2 * 192


def test_the_ratio_is_of_means_over_the_same_people():
    found = {EDITED: [{"mouth": 0.2}, {"mouth": 0.6}], CARRY: [{"mouth": 0.1}, {"mouth": 0.1}]}
    assert table(found)[EDITED]["carry's mouth over this"]["mean"] == pytest.approx(0.25)


def test_distances_are_of_the_whole_and_of_the_mouth():
    import torch

    real = torch.zeros(1, 3, 512, 512)
    mouth, hair = real.clone(), real.clone()
    mouth[..., 380:400, 200:220] = 1.0
    hair[..., :20, :20] = 1.0
    found = measured({"mouth": mouth, "hair": hair}, real, Local())
    assert found["mouth"]["mouth"] > 0 and found["hair"]["mouth"] == 0
    assert found["mouth"]["whole"] == pytest.approx(found["hair"]["whole"]) == pytest.approx(400 / 512**2)


def test_what_is_missing_is_named(tmp_path, capsys):
    with pytest.raises(NotFoundError, match="_smiling"):
        pairs(str(tmp_path))
    assert main(["photographs", "--domain", "faces"]) == 1 and "--pairs FOLDER" in capsys.readouterr().err
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "a_neutral.png")
    with pytest.raises(NotFoundError):
        pairs(str(tmp_path))
