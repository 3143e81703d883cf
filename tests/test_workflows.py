"""The graphs people open: well formed, the same in both formats, and the same picture as the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.host_stubs import ROOT
from tests.workflow_files import Graph, definition, run
from tests.workflow_graphs import GRAPHS as BUILDERS

pytest_plugins = ["tests.nodes_fixtures"]

GRAPHS = sorted((ROOT / "workflows").glob("*.json"))
NAMES = {told.title: name for name, told in BUILDERS.items()}
GAP_BELOW_PICTURES = 120
QUICK = {"ReGANIE_PhotoExample": {"kind": "clip", "count": 3}, "ReGANIE_InvertImage": {"iterations": 2},
         "ReGANIE_EditSweep": {"steps": 3}}


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _api(path: Path) -> dict[str, Any]:
    """The API form of a page's graph."""
    return _read(path.parent / "api" / f"{NAMES[path.stem]}.json")


def _as_api(pack: Any, graph: dict[str, Any]) -> dict[str, Any]:
    """What the page sends when it runs this graph."""
    links = {link[0]: [str(link[1]), link[2]] for link in graph["links"]}
    api = {}
    for node in graph["nodes"]:
        if node["type"] == "MarkdownNote":
            continue
        names = definition(pack, node["type"])["widgets"]
        inputs = dict(zip(names, node.get("widgets_values") or [], strict=True))
        inputs |= {item["name"]: links[item["link"]] for item in node["inputs"] if item.get("link") is not None}
        api[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return api


def _in_range(api: dict[str, Any]) -> dict[str, Any]:
    """The faces' smile is counted in standard deviations, the tiny domain's from -1 to 1."""
    for node in api.values():
        if node["class_type"] == "DyStyleEdit":
            node["inputs"]["edits"] = node["inputs"]["edits"].replace("smile=+2.5", "smile=+0.5")
    return api


def _edits(api: dict[str, Any]) -> list[str]:
    """The edits of a graph as the command line takes them."""
    words = []
    for node in api.values():
        inputs = node["inputs"]
        if node["class_type"] == "ReGANIE_DirectionEdit":
            words.append(f"{inputs['direction']}={inputs['strength']:+g}")
        if node["class_type"] == "DyStyleEdit":
            words += inputs["edits"].split(", ")
    return words


def test_the_graphs_are_there():
    found = {NAMES[path.stem]: {node["type"] for node in _read(path)["nodes"]} for path in GRAPHS}
    assert set(found) == set(BUILDERS)
    assert {"LoadStyleGAN", "E4EInvert", "ComputeDelta", "Rectify"} <= found["quick_edit"]
    loaders = {"LoadStyleGAN", "ReGANIE_LoadE4E", "ReGANIE_LoadDirections"}
    assert loaders <= found["full_phase_1_and_2"]


@pytest.mark.parametrize("name", ["quick_edit", "text_edit"])
def test_the_design_card_is_a_graph(pack, name):
    graph: Graph = BUILDERS[name].build(pack)
    edit = "DyStyleEdit" if name == "quick_edit" else "StyleCLIPEdit"
    shown = ("MarkdownNote", "PreviewImage", "ReGANIE_BeforeAfter")
    types = [node["type"] for node in graph.nodes if node["type"] not in shown]
    card = ["LoadStyleGAN", "ReGANIE_PortraitExample", "E4EInvert", edit, "ComputeDelta", "Rectify"]
    assert types == card
    assert _as_api(pack, graph.page()).keys() == graph.api().keys()


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_a_graph_is_well_formed(pack, path):
    graph = _read(path)
    nodes = {node["id"]: node for node in graph["nodes"]}
    for number, origin, slot, target, index, kind in graph["links"]:
        assert number in nodes[origin]["outputs"][slot]["links"] and nodes[origin]["outputs"][slot]["type"] == kind
        assert nodes[target]["inputs"][index]["link"] == number
    for node in nodes.values():
        known = definition(pack, node["type"])
        assert len(node.get("widgets_values") or []) == len(known["widgets"]), node["type"]
        assert [item["name"] for item in node["inputs"] if "widget" not in item] == list(known["sockets"])
    thumbnail = Image.open(path.with_suffix(".jpg"))
    assert thumbnail.format == "JPEG" and min(thumbnail.size) >= 200
    assert "/home/" not in path.read_text() and "C:\\" not in path.read_text()


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_pictures_have_room_below(path):
    """The newer page draws picture nodes taller than they were saved."""
    nodes = _read(path)["nodes"]
    for upper in nodes:
        left, top = upper["pos"]
        width, height = upper["size"]
        for lower in nodes:
            if lower["pos"][1] <= top or lower["pos"][0] >= left + width or left >= lower["pos"][0] + lower["size"][0]:
                continue
            room = lower["pos"][1] - 30 - (top + height)  # a title is 30 high
            assert room >= (GAP_BELOW_PICTURES if upper["type"] == "PreviewImage" else 20), (upper["id"], lower["id"])


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_the_api_form_is_what_the_page_sends(pack, path):
    api = {
        key: {"class_type": node["class_type"], "inputs": node["inputs"]}
        for key, node in _api(path).items()
    }
    assert api == _as_api(pack, _read(path))


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_a_graph_runs(pack, path, edit_domain, monkeypatch):
    api = _api(path)
    if any(node["class_type"] == "StyleCLIPEdit" for node in api.values()):
        pytest.skip("the tiny domain reads no texts; the host test runs this graph with the packaged weights")
    for node in api.values():
        node["inputs"] |= {k: v for k, v in QUICK.get(node["class_type"], {}).items()}
    for name in ("portraits", "faces"):
        monkeypatch.setitem(pack.rc.domains.PACKAGED, name, edit_domain)
    shown = run(pack, _in_range(api), "one.png")
    titles = {node["_meta"]["title"] for node in api.values() if node["class_type"] == "PreviewImage"}
    assert set(shown) == titles | {"Before", "After"} >= set(BUILDERS[NAMES[path.stem]].pictures)
    assert all(picture.std() > 0.01 for picture in shown.values())


@pytest.mark.parametrize("name", ["quick_edit", "full_phase_1_and_2"])
def test_a_graph_gives_the_picture_of_the_command_line(pack, name, tiny_domain, edit_domain, tmp_path, monkeypatch):
    from reganie_core.__main__ import main

    api = _read(ROOT / "workflows" / "api" / f"{name}.json")
    domain = edit_domain if any(node["class_type"] == "DyStyleEdit" for node in api.values()) else tiny_domain
    for packaged in ("portraits", "faces"):
        monkeypatch.setitem(pack.rc.domains.PACKAGED, packaged, domain)
    shown = run(pack, _in_range(api), "one.png")
    out = tmp_path / "out.png"
    arguments = [str(domain / "examples" / "one.png"), "-o", str(out), "--domain", str(domain)]
    assert main(["edit", *arguments, *(word for edit in _edits(api) for word in ("--edit", edit))]) == 0
    expected = torch.from_numpy(np.array(Image.open(out).convert("RGB"))).float()
    found = shown["After"]
    assert ((found[0] * 255).round() - expected).abs().max() <= 1
