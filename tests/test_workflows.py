"""The graphs people open: well formed, the same in both formats, and the same picture as the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.host_stubs import ROOT, call

pytest_plugins = ["tests.nodes_fixtures"]

GRAPHS = sorted((ROOT / "workflows").glob("*.json"))
CORE = {"PreviewImage": (["images"], []), "MarkdownNote": ([], ["text"])}
GAP_BELOW_PICTURES = 120


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _names(pack: Any, node: str) -> tuple[list[str], list[str]]:
    """(sockets, widgets) of a node, each in the order of its definition."""
    if node in CORE:
        return CORE[node]
    groups = pack.nodes[node].INPUT_TYPES()
    specs = groups["required"] | groups.get("optional", {})
    sockets = [name for name, spec in specs.items() if spec[0] == "IMAGE" or spec[0].startswith("REGANIE_")]
    return sockets, [name for name in specs if name not in sockets]


def _as_api(pack: Any, graph: dict[str, Any]) -> dict[str, Any]:
    """What the page sends when it runs this graph."""
    links = {link[0]: [str(link[1]), link[2]] for link in graph["links"]}
    api = {}
    for node in graph["nodes"]:
        if node["type"] == "MarkdownNote":
            continue
        inputs = dict(zip(_names(pack, node["type"])[1], node.get("widgets_values") or [], strict=True))
        inputs |= {item["name"]: links[item["link"]] for item in node["inputs"] if item.get("link") is not None}
        api[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return api


def test_both_graphs_are_there():
    assert {path.stem for path in GRAPHS} >= {"quick_edit", "full_phase_1_and_2"}
    types = {path.stem: {node["type"] for node in _read(path)["nodes"]} for path in GRAPHS}
    assert {"LoadStyleGAN", "E4EInvert", "DirectionEdit", "ComputeDelta", "Rectify"} <= types["quick_edit"]
    assert {"LoadStyleGAN", "LoadE4E", "LoadDirections", "LoadRectifier"} <= types["full_phase_1_and_2"]


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_a_graph_is_well_formed(pack, path):
    graph = _read(path)
    nodes = {node["id"]: node for node in graph["nodes"]}
    for number, origin, slot, target, index, kind in graph["links"]:
        assert number in nodes[origin]["outputs"][slot]["links"] and nodes[origin]["outputs"][slot]["type"] == kind
        assert nodes[target]["inputs"][index]["link"] == number
    for node in nodes.values():
        sockets, widgets = _names(pack, node["type"])
        assert len(node.get("widgets_values") or []) == len(widgets), node["type"]
        saved = [item["name"] for item in node["inputs"] if "widget" not in item]
        assert saved == sockets
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
        for key, node in _read(path.parent / "api" / path.name).items()
    }
    assert api == _as_api(pack, _read(path))


def _run(pack: Any, api: dict[str, Any], example: str) -> dict[str, torch.Tensor]:
    """Execute an API graph; returns the pictures by the title of their PreviewImage."""
    done: dict[str, tuple] = {}
    shown: dict[str, torch.Tensor] = {}

    def result(key: str) -> tuple:
        if key not in done:
            node = api[key]
            inputs = {
                name: result(value[0])[value[1]] if isinstance(value, list) else value
                for name, value in node["inputs"].items()
            }
            if node["class_type"] == "PreviewImage":
                shown[node["_meta"]["title"]] = inputs["images"]
                done[key] = ()
            else:
                if node["class_type"] == "PortraitExample":
                    inputs["example"] = example
                done[key] = call(pack, node["class_type"], **inputs)
        return done[key]

    for key in api:
        result(key)
    return shown


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_a_graph_gives_the_picture_of_the_command_line(pack, path, tiny_domain, tmp_path):
    from reganie_core.__main__ import main

    api = _read(path.parent / "api" / path.name)
    shown = _run(pack, api, "one.png")
    edits = [
        f"{node['inputs']['direction']}={node['inputs']['strength']:+g}"
        for node in api.values()
        if node["class_type"] == "DirectionEdit"
    ]
    out = tmp_path / "out.png"
    arguments = [str(tiny_domain / "examples" / "one.png"), "-o", str(out), "--domain", str(tiny_domain)]
    assert main(["edit", *arguments, *(word for edit in edits for word in ("--edit", edit))]) == 0
    expected = torch.from_numpy(np.array(Image.open(out).convert("RGB"))).float()
    found = next(picture for title, picture in shown.items() if title.startswith("After"))
    assert ((found[0] * 255).round() - expected).abs().max() <= 1
