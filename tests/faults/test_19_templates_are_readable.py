"""Below about 57 % zoom ComfyUI draws boxes without text: every template fits a window of 1600 x 1000 above that."""

from __future__ import annotations

import json

import pytest

from tests.host_stubs import ROOT
from tests.workflow_graphs import GRAPHS

WIDEST, HIGHEST, TITLE = 2000, 1000, 30
PATHS = sorted((ROOT / "workflows").glob("*.json"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_template_fits(path):
    graph = json.loads(path.read_text(encoding="utf-8"))
    boxes = [(n["pos"][0], n["pos"][1] - TITLE, n["size"][0], n["size"][1] + TITLE) for n in graph["nodes"]]
    boxes += [group["bounding"] for group in graph["groups"]]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    assert max(x + width for x, _, width, _ in boxes) - left <= WIDEST
    assert max(y + height for _, y, _, height in boxes) - top <= HIGHEST


def test_every_template_has_a_before_and_after():
    assert {path.stem for path in PATHS} == {told.title for told in GRAPHS.values()}
    for path in PATHS:
        types = [node["type"] for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]]
        assert "ReGANIE_BeforeAfter" in types, path.stem


def test_the_panel_of_parameters_leaves_our_elements_on_the_node():
    """It would take the one element there is, and the node shrinks; test_17 looks at Before and After's."""
    assert "hideInPanel: true" in (ROOT / "web" / "sliders.js").read_text(encoding="utf-8")
