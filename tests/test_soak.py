"""The summary of the long tests takes its own section of a document and leaves the rest alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import soak

BEFORE = "# Promises\n\nSomebody's text.\n\n"
AFTER = "## What is not promised\n\nMore of somebody's text.\n"


@pytest.mark.parametrize(("old", "tail"), [("", ""), ("## Soak\n\nold figures\n\n", ""),
                                           ("## Soak\n\nold figures\n\n", AFTER)])
def test_only_its_own_section_changes(old: str, tail: str) -> None:
    found = soak.refreshed(BEFORE + old + tail, "## Soak\n\nnew figures\n")
    assert found.startswith(BEFORE) and found.endswith(tail or "new figures\n")
    assert found.count("## Soak") == 1 and "old figures" not in found
    assert soak.refreshed(found, "## Soak\n\nnew figures\n") == found


def test_it_is_appended_where_there_is_none() -> None:
    found = soak.refreshed(BEFORE + AFTER, "## Soak\n\nnew\n")
    assert found.startswith(BEFORE + AFTER.rstrip()) and found.endswith("\n\n## Soak\n\nnew\n")
    assert soak.refreshed(found, "## Soak\n\nnewer\n") == found.replace("new\n", "newer\n")
    assert soak.refreshed("", "## Soak\n") == "## Soak\n"


def test_the_section_is_written_from_what_the_runs_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "OUT", tmp_path)
    about = {"date": "2026-01-02", "commit": "abc1234", "machine": "a machine"}
    (tmp_path / "fuzz.json").write_text(json.dumps(
        {"cases": 1000000, "finds": 0, "targets": {"points": {"cases": 1000000}}, "about": about}))
    (tmp_path / "kills.json").write_text(json.dumps(
        {"kills": 100, "stages": {"generator": {}}, "phases": {"write": 24, "step": 76}, "about": about}))
    text = soak.section()
    assert "1,000,000 cases over 1 readers, 0 finds" in text and "100 SIGKILLs" in text and "24 in a write" in text
    assert "2026-01-02, abc1234" in text and "on a machine" in text and "Memory" not in text
    for find in json.loads((Path(soak.__file__).parent / "soak_finds.json").read_text()):
        assert find["found"] in text and find["fixed"] in text and find["by"] in soak.STEPS
