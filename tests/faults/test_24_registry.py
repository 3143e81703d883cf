"""What ComfyUI's registry and a newer ComfyUI say about the pack."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.host_stubs import ROOT
from tests.registry_files import publish

tomllib = pytest.importorskip("tomllib", reason="tomllib is part of Python from 3.11 on")
DEPRECATED = {"ImageBatch", "ImageScaleBy", "ControlNetApply", "DiffusersLoader", "CheckpointLoader"}  # in ComfyUI 0.33


@pytest.fixture
def copy(tmp_path):
    (tmp_path / "reganie_core").mkdir()
    for name in ("pyproject.toml", "reganie_core/__init__.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_one_address_fills_the_registrys_fields(copy):
    for address in ("https://example.org/first/reganie.git", "https://example.org/me/reganie/"):
        publish(copy, address, "1.2.3")
    found = tomllib.loads((copy / "pyproject.toml").read_text(encoding="utf-8"))
    assert found["project"]["urls"] == {
        "Repository": "https://example.org/me/reganie",
        "Documentation": "https://example.org/me/reganie/blob/HEAD/README.md",
        "Bug Tracker": "https://example.org/me/reganie/issues",
    }
    assert found["tool"]["comfy"]["Icon"] == "https://example.org/me/reganie/raw/HEAD/docs/icon.png"
    assert found["project"]["version"] == "1.2.3" and found["project"]["scripts"]
    assert '__version__ = "1.2.3"' in (copy / "reganie_core" / "__init__.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [("reganie",), ("http://example.org/me/x",), ("https://example.org/me/x", "1.2")])
def test_what_the_registry_would_refuse_is_refused(copy, words):
    before = (copy / "pyproject.toml").read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match="no address|no version"):
        publish(copy, *words)
    assert (copy / "pyproject.toml").read_text(encoding="utf-8") == before


def test_templates_use_no_node_that_the_host_calls_deprecated():
    for path in (ROOT / "workflows" / "api").glob("*.json"):
        kinds = {node["class_type"] for node in json.loads(path.read_text(encoding="utf-8")).values()}
        assert not kinds & DEPRECATED, path.name
