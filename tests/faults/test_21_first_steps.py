"""The folders that the README names are there when somebody follows it."""

from __future__ import annotations

from pathlib import Path

from tests.host_stubs import host_modules, load_pack


def test_the_model_folders_are_made_at_import(tmp_path):
    load_pack(host_modules(tmp_path), suffix="_folders")
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"stylegan", "reganie"}


def test_a_place_that_cannot_be_written_stops_nothing(tmp_path):
    host = host_modules(tmp_path)
    host.folder_paths.models_dir = str(tmp_path / "models" / "file")
    Path(host.folder_paths.models_dir).write_text("no folder can be made below a file")
    assert "Rectify" in load_pack(host, suffix="_unwritable").NODE_CLASS_MAPPINGS
