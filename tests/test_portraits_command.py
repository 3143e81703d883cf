"""``python -m reganie_core render``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reganie_core import portraits
from reganie_core.__main__ import main


def test_sheet(tmp_path: Path) -> None:
    out = tmp_path / "new" / "sheet.png"
    assert main(["render", "--count", "3", "--size", "24", "--columns", "2", "-o", str(out)]) == 0
    with Image.open(out) as sheet:
        assert sheet.width >= 2 * 24 and sheet.height >= 2 * 24


def test_folder_masks_edit_and_table(tmp_path: Path) -> None:
    out, table = tmp_path / "set", tmp_path / "set.csv"
    assert main(["render", "--count", "2", "--seed", "1000000000", "--size", "32", "--items", "hat,pattern", "--masks",
                 "--edit", "yaw=@12", "--edit", "glasses=on", "-o", str(out), "--attributes", str(table)]) == 0
    assert sorted(p.name for p in out.iterdir()) == sorted(
        f"portrait_{seed}{part}.png" for seed in (10**9, 10**9 + 1) for part in ("", "_hat", "_pattern"))
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["seed"] for row in rows] == ["1000000000", "1000000001"]
    assert all(float(row["yaw"]) == 12 and float(row["glasses"]) == 1 and row["items"] == "hat+pattern" for row in rows)
    person = portraits.sample(1, 10**9 + 1, items=("hat", "pattern"))
    person = portraits.edit(person, {"yaw": 12 - person.values["yaw"], "glasses": 1})
    expected = (portraits.render(person, 32)[0].permute(1, 2, 0).numpy() + 1) * 127.5
    with Image.open(out / "portrait_1000000001.png") as picture:
        assert np.abs(np.asarray(picture, dtype=np.float32) - expected).max() <= 1.0
    with Image.open(out / "portrait_1000000001_hat.png") as mask:
        assert mask.mode == "L" and mask.getextrema()[1] > 200


def test_json_table_alone_and_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "a.json"
    assert main(["render", "--count", "70", "--attributes", str(table)]) == 0
    rows = json.loads(table.read_text())
    truth = portraits.attributes(portraits.sample(70, 0))
    assert len(rows) == 70 and abs(rows[69]["age"] - truth["age"][69].item()) < 1e-4
    assert main(["render", "--list"]) == 0
    listing = json.loads(capsys.readouterr().out)
    assert [c["name"] for c in listing["controls"]] == list(truth) and listing["items"] == list(portraits.ITEMS)


@pytest.mark.parametrize("arguments, says", [
    ([], "Nothing to write"), (["--items", "hut", "-o", "x"], "earrings"), (["--count", "0", "-o", "x"], "at least 1"),
    (["--size", "100000", "-o", "x"], "4096"), (["--masks", "-o", "x.png"], "folder"),
    (["--edit", "noes=1", "-o", "x"], "eye_openness"), (["--attributes", "x.txt"], ".csv"),
    (["--count", "5000", "-o", "x.png"], "folder"), (["--style", "oil", "-o", "x"], "toon"),
])
def test_refusals_are_one_sentence(arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["render", *arguments]) == 1
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
