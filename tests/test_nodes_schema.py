"""What saved graphs hang on: node ids, input names and order, output order; and what every node must explain."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from tests.host_stubs import ROOT
from tests.schema_files import GOLDEN, HOSTS_OWN, PREFIX, english, former, schema

pytest_plugins = ["tests.nodes_fixtures"]

DESIGN_CARD = {"LoadStyleGAN", "E4EInvert", "DyStyleEdit", "StyleCLIPEdit", "ComputeDelta", "Rectify"}


def test_saved_graphs_stay_valid(pack):
    golden, found = json.loads(GOLDEN.read_text(encoding="utf-8")), schema(pack.nodes)
    assert set(golden) <= set(found), "a node id was removed or renamed"
    for name, node in golden.items():
        outputs = found[name]["outputs"]
        assert outputs[: len(node["outputs"])] == node["outputs"], f"{name}: outputs are only ever appended"
        for group in ("required", "optional"):
            frozen = [entry for entry in node["inputs"] if entry[0] == group]
            now = [entry for entry in found[name]["inputs"] if entry[0] == group]
            assert now[: len(frozen)] == frozen, f"{name}: inputs are only ever appended"
    assert set(found) == set(golden), "a new node: run python -m tests.schema_files"


def test_the_frozen_names(pack):
    assert DESIGN_CARD <= set(pack.nodes)
    names = {name: [key for group in ("required", "optional") for key in cls.INPUT_TYPES().get(group, {})]
             for name, cls in pack.nodes.items()}
    assert names["E4EInvert"] == ["generator", "image", "encoder", "encoder_name", "fit"]
    assert names["DirectionEdit"] == [
        *("generator", "latent", "direction", "strength", "layers", "editor", "editor_name", "inversion")
    ]
    assert names["DyStyleEdit"] == ["generator", "latent", "edits", "editor", "editor_name", "inversion"]
    assert names["StyleCLIPEdit"] == [
        *("generator", "latent", "target", "neutral", "strength", "threshold", "editor", "editor_name", "inversion")
    ]
    assert names["ComputeDelta"] == ["image", "inversion"]
    assert names["Rectify"] == ["edited", "delta", "strength", "output", "rectifier", "rectifier_name"]
    assert pack.nodes["LoadReGANIE"].RETURN_TYPES == tuple(
        f"REGANIE_{kind}" for kind in ("GENERATOR", "ENCODER", "DYSTYLE", "STYLECLIP", "DIRECTIONS", "RECTIFIER")
    )


def test_every_node_explains_itself(pack):
    ours = {name: cls for name, cls in pack.nodes.items() if name not in former(pack.nodes)}
    assert set(pack.module.NODE_DISPLAY_NAME_MAPPINGS) == set(pack.nodes)
    for name, cls in ours.items():
        assert cls.DESCRIPTION.endswith(".") and cls.CATEGORY.startswith("ReGANIE/") and len(cls.SEARCH_ALIASES) > 2, (
            name
        )
        assert callable(getattr(cls, cls.FUNCTION))
        assert len(cls.OUTPUT_TOOLTIPS) == len(cls.RETURN_NAMES) == len(cls.RETURN_TYPES)
        assert all(tip.endswith(".") for tip in cls.OUTPUT_TOOLTIPS), name
        keys = []
        for group in (cls.INPUT_TYPES().get(name, {}) for name in ("required", "optional")):
            for key, spec in group.items():
                keys.append(key)
                assert spec[1]["tooltip"].endswith("."), f"{name}.{key}"
                if spec[0] == "COMBO":
                    assert spec[1]["options"] and spec[1]["default"] in spec[1]["options"], f"{name}.{key}"
        page = (ROOT / "web" / "docs" / f"{name}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {pack.module.NODE_DISPLAY_NAME_MAPPINGS[name]}\n")
        assert re.findall(r"^## (.+)$", page, re.M) == ["Inputs", "Outputs", "Typical wiring", "What can go wrong"], (
            name
        )
        for word in (*keys, *cls.RETURN_NAMES):
            assert f"**{word}**" in page, f"{name}: the help page does not explain {word}"
        for picture in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page):  # the page looks for them beside the help pages
            assert (ROOT / "web" / "docs" / picture).stat().st_size < 65536, f"{name}: {picture}"
        short = name.removeprefix(PREFIX)
        assert f"](pictures/{short}.jpg)" in page or short.startswith(("Load", "Save")), f"{name} has no picture"
    pages = {path.stem for path in (ROOT / "web" / "docs").glob("*.md")}
    assert pages == set(pack.nodes) - HOSTS_OWN


@pytest.mark.parametrize("language", ["en", "zh"])
def test_translations_cover_every_node(pack, language):
    wanted = english(pack.nodes, pack.module.NODE_DISPLAY_NAME_MAPPINGS)
    found = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
    if language == "en":
        assert found == wanted, "run python -m tests.schema_files"

    def shape(value: Any) -> Any:
        return {key: shape(part) for key, part in value.items()} if isinstance(value, dict) else bool(value)

    assert shape(found) == shape(wanted)

    def texts(value: Any) -> list[str]:
        return sum((texts(part) for part in value.values()), []) if isinstance(value, dict) else [value]

    for text in texts(found):
        assert not re.search(r"[@{}|]", re.sub(r"\{'[@{}|]'\}", "", text)), f"quote it as {{'@'}}: {text}"


def test_the_pages_scripts_show_texts_only(pack):
    for path in (ROOT / "web").glob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), path.name
    assert pack.module.WEB_DIRECTORY == "./web"


def test_defaults_of_the_call_are_the_defaults_of_the_page(pack):
    import inspect

    for name, cls in pack.nodes.items():
        signature = inspect.signature(getattr(cls, cls.FUNCTION)).parameters
        groups: dict[str, SimpleNamespace] = cls.INPUT_TYPES()
        for group in ("required", "optional"):
            for key, spec in groups.get(group, {}).items():
                parameter = signature[key]
                assert group == "required" or parameter.default is not inspect.Parameter.empty, f"{name}.{key}"
                if parameter.default not in (inspect.Parameter.empty, None):
                    assert parameter.default == spec[1]["default"], f"{name}.{key}"


IMPORT = """
import os, sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.host_stubs import host_modules, load_pack
import torch
host = host_modules(Path({base!r}))
def world():
    return (list(sys.path), os.getcwd(), dict(os.environ), torch.is_grad_enabled(), torch.get_default_dtype(),
            torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.allow_tf32, torch.are_deterministic_algorithms_enabled(),
            torch.get_rng_state().tolist(),
            host.folder_paths.folder_names_and_paths["checkpoints"], sorted(host.folder_paths.folder_names_and_paths))
before = world()
started = time.process_time()
pack = load_pack(host)
seconds = time.process_time() - started
for cls in pack.NODE_CLASS_MAPPINGS.values():
    cls.INPUT_TYPES()
after = world()
assert after[-1] == sorted([*before[-1], "reganie", "stylegan"]), after[-1]
assert before[:-1] == after[:-1]
assert not any(name == "reganie_core" or name.startswith("reganie_core.") for name in sys.modules)
assert sorted(os.listdir({base!r})) == ["models"]
assert sorted(os.listdir(os.path.join({base!r}, "models"))) == ["reganie", "stylegan"]
print(seconds)
"""


def test_importing_is_quick_and_changes_nothing_else(tmp_path):
    code = IMPORT.format(root=str(ROOT), base=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout) < 1.0


def test_outside_comfyui_the_root_registers_nothing():
    code = "import runpy, sys; ns = runpy.run_path(sys.argv[1]); assert ns['NODE_CLASS_MAPPINGS'] == {}"
    subprocess.run([sys.executable, "-c", code, str(ROOT / "__init__.py")], check=True, timeout=60)


@pytest.mark.parametrize("path", sorted((ROOT / "nodes").glob("*.py")), ids=lambda path: path.name)
def test_only_one_file_knows_comfyui(path):
    source = path.read_text(encoding="utf-8")
    if path.name != "_host.py":
        assert not re.search(r"^\s*(import|from) (comfy|folder_paths|server|execution)\b", source, re.M)
    assert not re.search(r"^\s*(import|from) (nodes|reganie_core)\b", source, re.M), "relative imports only"
