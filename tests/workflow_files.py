"""Writes the graphs of workflows/: ``python -m tests.workflow_files [NAME ...] [--thumbnails]``.

Each graph is described once (workflow_graphs.py, workflow_notes.*.md) and written twice: as the page saves it, under
its title, which is what ComfyUI's list of templates shows; and in the API's form, under its name. ``--thumbnails``
runs it with the packaged weights and draws its thumbnail. Graphs that need a part the packaged domain lacks are left
out.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from tests.host_stubs import ROOT, call, host_modules, load_pack
from tests.schema_files import PREFIX

FOLDER = ROOT / "workflows"
CORE: dict[str, dict[str, Any]] = {
    "PreviewImage": {"sockets": {"images": "IMAGE"}, "widgets": {}, "outputs": {}},
    "MaskToImage": {"sockets": {"mask": "MASK"}, "widgets": {}, "outputs": {"IMAGE": "IMAGE"}},
    "ImageCompositeMasked": {
        "sockets": {"destination": "IMAGE", "source": "IMAGE", "mask": "MASK"},
        "widgets": {"x": ("INT", 0), "y": ("INT", 0), "resize_source": ("BOOLEAN", False)},
        "optional": {"mask"}, "outputs": {"IMAGE": "IMAGE"}},
    "MarkdownNote": {"sockets": {}, "widgets": {"text": ("STRING", "")}, "outputs": {}},
}
CORE_TITLES = {"PreviewImage": "Preview Image", "MaskToImage": "Convert Mask to Image",
               "ImageCompositeMasked": "Image Composite Masked"}
WIDTH, STEP, TOP = 320, 395, 40


def definition(pack: Any, kind: str) -> dict[str, Any]:
    """Sockets, widgets (type, default) and outputs of a node, each in order."""
    if kind in CORE:
        return CORE[kind]
    cls = pack.nodes[kind]
    groups = cls.INPUT_TYPES()
    specs = {key: spec for group in ("required", "optional") for key, spec in groups.get(group, {}).items()}
    wires = {key for key, spec in specs.items() if spec[0] in ("IMAGE", "MASK") or spec[0].startswith("REGANIE_")}
    return {
        "sockets": {key: specs[key][0] for key in specs if key in wires},
        "widgets": {key: (spec[0], spec[1]["default"]) for key, spec in specs.items() if key not in wires},
        "optional": set(groups.get("optional", {})),
        "outputs": dict(zip(cls.RETURN_NAMES, cls.RETURN_TYPES, strict=True)),
    }


class Graph:
    """Nodes and wires, told in the order a reader meets them."""

    def __init__(self, pack: Any, number: int) -> None:
        self.pack, self.nodes, self.links = pack, [], []
        self.id = f"6f0d7a52-2f6e-4c0e-9d43-1f2f0c5b7a{number:02d}"
        self.groups: list[dict[str, Any]] = []

    def add(self, kind: str, column: float, y: float, height: float = 0, /, title: str = "", width: int = WIDTH,
            **values: Any) -> int:
        """A node in a column; widget values by name, wires as ``name=(node, "output")``. Returns its number."""
        kind = PREFIX + kind if PREFIX + kind in self.pack.nodes else kind
        known = definition(self.pack, kind)
        number, order = len(self.nodes) + 1, len(self.nodes)
        optional = known.get("optional", set())
        inputs = []
        for name, wire in (*known["sockets"].items(), *((k, spec[0]) for k, spec in known["widgets"].items())):
            entry: dict[str, Any] = {"localized_name": name, "name": name}
            if name in optional:
                entry["shape"] = 7
            entry["type"] = wire
            if name in known["widgets"]:
                entry["widget"] = {"name": name}
            inputs.append(entry | {"link": None})
        widgets = {name: values.pop(name) if not isinstance(values.get(name), tuple) and name in values else default
                   for name, (_, default) in known["widgets"].items()}
        height = height or 46 + 20 * max(len(known["sockets"]), len(known["outputs"])) + 26 * len(widgets)
        node = {
            "id": number, "type": kind, "pos": [40 + round(STEP * column), TOP + round(y)],
            "size": [width, round(height)], "flags": {}, "order": order, "mode": 0,
            "inputs": [] if kind == "MarkdownNote" else inputs,
            "outputs": [{"localized_name": n, "name": n, "type": t, "links": []} for n, t in known["outputs"].items()],
            **({"title": title} if title else {}),
            "properties": {} if kind == "MarkdownNote" else {"Node name for S&R": kind},
            "widgets_values": list(widgets.values()),
        }
        if kind == "MarkdownNote":
            node |= {"color": "#432", "bgcolor": "#653"}
        self.nodes.append(node)
        for name, (origin, output) in values.items():
            self._link(origin, output, node, name)
        return number

    def note(self, column: float, y: float, height: float, name: str) -> int:
        """The graph's note, which the page shows in Chinese where it is Chinese (web/notes.js)."""
        english, chinese = notes("en")[name], notes("zh")[name]
        number = self.add("MarkdownNote", column, y, height, title="Read me", text=english)
        self.nodes[-1]["properties"] = {"reganie_note": {"zh": chinese, "replaces": len(english)}}
        return number

    def wire(self, origin: int, output: str, target: int, name: str) -> None:
        """Connect two nodes that are there already."""
        self._link(origin, output, self.nodes[target - 1], name)

    def _link(self, origin: int, output: str, node: dict[str, Any], name: str) -> None:
        source = self.nodes[origin - 1]
        slot = [item["name"] for item in source["outputs"]].index(output)
        index = [item["name"] for item in node["inputs"]].index(name)
        kind, number = source["outputs"][slot]["type"], len(self.links) + 1
        assert kind in node["inputs"][index]["type"].split(","), (source["type"], output, node["type"], name)
        source["outputs"][slot]["links"].append(number)
        node["inputs"][index]["link"] = number
        self.links.append([number, origin, slot, node["id"], index, kind])

    def page(self) -> dict[str, Any]:
        """As the page saves it."""
        return {"id": self.id, "revision": 0, "last_node_id": len(self.nodes), "last_link_id": len(self.links),
                "nodes": self.nodes, "links": self.links, "groups": self.groups, "config": {}, "extra": {},
                "version": 0.4}

    def api(self) -> dict[str, Any]:
        """As it is sent to be run."""
        found, names = {}, self.pack.module.NODE_DISPLAY_NAME_MAPPINGS
        links = {link[0]: [str(link[1]), link[2]] for link in self.links}
        for node in self.nodes:
            kind = node["type"]
            if kind == "MarkdownNote":
                continue
            inputs = dict(zip(definition(self.pack, kind)["widgets"], node["widgets_values"], strict=True))
            inputs |= {item["name"]: links[item["link"]] for item in node["inputs"] if item["link"] is not None}
            title = node.get("title") or names.get(kind) or CORE_TITLES[kind]
            found[str(node["id"])] = {"inputs": inputs, "class_type": kind, "_meta": {"title": title}}
        return found


@cache
def notes(language: str) -> dict[str, str]:
    """The notes of the graphs by name, in Markdown."""
    parts = re.split(r"<!-- (\w+) -->", Path(__file__).with_name(f"workflow_notes.{language}.md").read_text("utf-8"))
    found = dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
    return {name: text.replace("{own}", found["own"]) for name, text in found.items()}


def run(pack: Any, api: dict[str, Any], example: str = "") -> dict[str, torch.Tensor]:
    """Execute an API graph; the pictures by the title of their PreviewImage, and Before and After's two.

    ``example`` replaces the packaged one.
    """
    done: dict[str, tuple] = {}
    shown: dict[str, torch.Tensor] = {}  # by title

    def result(key: str) -> tuple:
        if key not in done:
            node = api[key]
            inputs = {name: result(value[0])[value[1]] if isinstance(value, list) else value
                      for name, value in node["inputs"].items()}
            kind = node["class_type"]
            if kind == "PreviewImage":
                shown[node["_meta"]["title"]] = inputs["images"]
                done[key] = ()
            elif kind == "MaskToImage":
                done[key] = (inputs["mask"][..., None].expand(-1, -1, -1, 3),)
            elif kind == "ImageCompositeMasked":  # as ComfyUI does, for a source that is resized to the destination
                below, above, mask = inputs["destination"], inputs["source"], inputs["mask"][..., None]
                above = torch.nn.functional.interpolate(above.permute(0, 3, 1, 2), below.shape[1:3], mode="bilinear")
                done[key] = (torch.lerp(below, above.permute(0, 2, 3, 1), mask),)
            elif kind == PREFIX + "BeforeAfter":
                done[key] = call(pack, kind, **inputs)
                shown.update(Before=inputs["before"], After=inputs["after"])
            else:
                if kind == PREFIX + "PortraitExample" and example:
                    inputs["example"] = example
                done[key] = call(pack, kind, **inputs)
        return done[key]

    for key in api:
        result(key)
    return shown


def thumbnail(pack: Any, shown: dict[str, torch.Tensor], titles: tuple[str, ...], path: Path) -> None:
    """One picture as it is, or two side by side, 640 pixels wide."""
    from PIL import Image

    sheet = Image.new("RGB", (640, 320), (250, 249, 247))
    for i, title in enumerate(titles):
        picture = pack.rc.images.to_pil(pack.rc.images.from_comfy(shown[title][:1]))[0]
        room = (640 // len(titles), 320)
        factor = min(room[0] / picture.width, room[1] / picture.height)
        picture = picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.LANCZOS)
        place = (i * room[0] + (room[0] - picture.width) // 2, (room[1] - picture.height) // 2)
        sheet.paste(picture, place)
    sheet.save(path, quality=90)


def write(pack: Any, name: str, draw: bool) -> None:
    """Both forms of one graph, and its thumbnail if wanted."""
    from tests.workflow_graphs import GRAPHS

    told = GRAPHS[name]
    graph = told.build(pack)
    page, api = FOLDER / f"{told.title}.json", FOLDER / "api" / f"{name}.json"
    page.write_text(json.dumps(graph.page(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    api.write_text(json.dumps(graph.api(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if draw:
        thumbnail(pack, run(pack, graph.api()), told.pictures, page.with_suffix(".jpg"))


def main() -> None:
    from tests.workflow_graphs import GRAPHS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"which graphs (default: all of {', '.join(GRAPHS)})")
    parser.add_argument("--thumbnails", action="store_true", help="run the graphs and draw their thumbnails")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        module = load_pack(host_modules(Path(folder)))
        import importlib

        rc = importlib.import_module(module.__name__ + ".reganie_core")
        pack = SimpleNamespace(module=module, nodes=module.NODE_CLASS_MAPPINGS, rc=rc)
        has = rc.domains.load_manifest("portraits")[1]
        for name in options.names or GRAPHS:
            lacks = [part for part in GRAPHS[name].parts if not has.get(part)]
            if lacks:
                print(f"{name}: left out, the packaged domain has no {' and no '.join(lacks)}")
                continue
            write(pack, name, options.thumbnails)
            print(f"{name}: written")


if __name__ == "__main__":
    main()
