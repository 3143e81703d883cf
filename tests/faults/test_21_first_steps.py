"""What the README says about places and sizes is there when somebody follows it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.host_stubs import ROOT, host_modules, load_pack


def test_the_model_folders_are_made_at_import(tmp_path):
    load_pack(host_modules(tmp_path), suffix="_folders")
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"stylegan", "reganie"}


def test_a_place_that_cannot_be_written_stops_nothing(tmp_path):
    host = host_modules(tmp_path)
    host.folder_paths.models_dir = str(tmp_path / "models" / "file")
    Path(host.folder_paths.models_dir).write_text("no folder can be made below a file")
    assert "Rectify" in load_pack(host, suffix="_unwritable").NODE_CLASS_MAPPINGS


def test_the_readme_clones_what_is_needed_and_says_how_much():
    for name in ("README.md", "docs/walkthrough.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for line in re.findall(r"git clone.*", text):
            assert "--depth 1" in line and "MB" in line, f"{name}: {line}"
    start = (ROOT / "README.md").read_text(encoding="utf-8").split("works at\nonce")[-1][:300]
    assert "128" in start, "how large the packaged domain's pictures are"
