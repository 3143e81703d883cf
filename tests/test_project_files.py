"""Requirements that can do no harm in a host, and files that agree with each other."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image

# Before 3.11 pytest brings the package it was made from.
tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "reganie_core" / "portraits" / "weights"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(name: str) -> list[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_lower_bounds_only_and_no_torch(name):
    for line in requirements(name):
        assert re.fullmatch(r"[a-z0-9_-]+>=[0-9.]+", line), line
        assert not re.match(r"(torch|opencv|pickle|nvidia|triton|xformers)", line)


def test_dependencies_equal_requirements():
    assert PROJECT["project"]["dependencies"] == requirements("requirements.txt")


def test_constraints_are_exact_and_cover_everything():
    pins: dict[str, dict[str, str]] = {"<": {}, ">=": {}}  # of Python 3.10, and of those after it
    for line in requirements("constraints.txt"):
        match = re.fullmatch(r'([A-Za-z0-9_-]+)==([0-9][0-9A-Za-z.]*)(?:; python_version (<|>=) "3\.11")?', line)
        assert match, line
        for side in [match[3]] if match[3] else pins:
            assert match[1].lower() not in pins[side], line
            pins[side][match[1].lower()] = match[2]
    assert set(pins["<"]) - set(pins[">="]) == {"exceptiongroup", "tomli"} and set(pins[">="]) <= set(pins["<"])
    for pinned in pins.values():
        assert pinned["torch"] == "2.13.0"
        for line in requirements("requirements.txt") + requirements("requirements-dev.txt"):
            name, bound = line.split(">=")
            parts = [tuple(int(n) for n in re.findall(r"\d+", v)) for v in (pinned[name], bound)]
            assert parts[0] >= parts[1], line


def test_installed_packages_meet_the_lower_bounds():
    for line in requirements("requirements.txt"):
        name, bound = line.split(">=")
        found = tuple(int(n) for n in re.findall(r"\d+", version(name))[:3])
        assert found >= tuple(int(n) for n in bound.split(".")), line


def test_registry_metadata():
    project, comfy = PROJECT["project"], PROJECT["tool"]["comfy"]
    assert re.fullmatch(r"[a-z][a-z0-9-]*", project["name"]) and "comfyui" not in project["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    # Addresses are complete, or there are none: an invented one would send people somewhere else.
    assert "urls" not in project or {"Repository", "Documentation", "Bug Tracker"} <= set(project["urls"])
    with Image.open(ROOT / "docs" / "icon.png") as icon:
        assert icon.size == (400, 400)  # the registry takes at most 800 x 400
    assert comfy["PublisherId"] and comfy["DisplayName"] and "web" not in comfy
    assert (ROOT / project["license"]["file"]).read_text().lstrip().startswith("Apache License")
    init = (ROOT / "reganie_core" / "__init__.py").read_text()
    assert f'__version__ = "{project["version"]}"' in init


def test_documents_link_to_what_exists():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"),
             *(ROOT / "trainer").rglob("*.md")]
    links = [(page, link) for page in pages
             for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))]
    assert len(links) > 20
    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []


def test_make_targets_and_ci():
    makefile = (ROOT / "Makefile").read_text()
    for target in ("venv", "demo", "test", "lint", "bench", "clean"):
        assert re.search(rf"^{target}:", makefile, re.M), target
    ci = (ROOT / ".ci" / "run").read_text()
    assert ci.index("lint") < ci.index("make --no-print-directory test")
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)
    assert "index-url" not in makefile + ci + (ROOT / "constraints.txt").read_text()


def test_the_packaged_domain_names_its_files():
    path = WEIGHTS / "domain.json"
    manifest = json.loads(path.read_text())
    for part in ("generator", "encoder", "directions", "rectifier"):
        assert (path.parent / manifest[part]).stat().st_size < 32e6, part
