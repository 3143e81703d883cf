"""What the graphs of workflows/ are: each small, about one thing, and within 2000 x 1000, so texts stay readable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.workflow_files import Graph

LAST = 390  # width of what stands in the last column
COMPARED = 420  # height of Before and After


def _start(pack: Any, number: int, name: str, example: str = "hat.png", note: int = 400,
           **values: Any) -> tuple[Graph, int, int]:
    """A generator, a picture and a note; returns the graph and the numbers of the first two."""
    graph = Graph(pack, number)
    generator = graph.add("LoadStyleGAN", 0, 0, 60, **values)
    picture = graph.add("PortraitExample", 0, 130, 60, example=example)
    graph.note(0, 280, note, name)
    return graph, generator, picture


def _compare(graph: Graph, before: tuple[int, str], after: tuple[int, str], x: float = 4, y: float = 0,
             width: int = LAST) -> None:
    graph.add("BeforeAfter", x, y, COMPARED, width=width, before=before, after=after)


def _card(pack: Any, number: int, name: str, edit: str, height: int, example: str, domain: str = "portraits (packaged)",
          **values: Any) -> Graph:
    """The design card: invert, edit, compute the difference, rectify."""
    graph, generator, picture = _start(pack, number, name, example, file=domain)
    invert = graph.add("E4EInvert", 1, 0, 190, generator=(generator, "generator"), image=(picture, "image"),
                       encoder_name=domain)
    edited = graph.add(edit, 2, 0, height, width=340, generator=(generator, "generator"), latent=(invert, "latent"),
                       inversion=(invert, "inversion"), editor_name=domain, **values)
    delta = graph.add("ComputeDelta", 1, 270, 70, image=(invert, "image"), inversion=(invert, "inversion"))
    result = graph.add("Rectify", 3, 0, 220, edited=(edited, "edited"), delta=(delta, "delta"))
    graph.add("PreviewImage", 1, 430, 320, title="Inversion", images=(invert, "inversion"))
    graph.add("PreviewImage", 3, 310, 340, title="After", images=(result, "image"))
    _compare(graph, (invert, "image"), (result, "image"))
    return graph


def quick_edit(pack: Any) -> Graph:
    """Sliders. The edit node has room for its preview: growing would be an entry in the history."""
    return _card(pack, 1, "quick_edit", "DyStyleEdit", 760, "woman.jpg", "faces (packaged)",
                 edits="smile=+2.5")


def text_edit(pack: Any) -> Graph:
    """The same by a text."""
    return _card(pack, 3, "text_edit", "StyleCLIPEdit", 320, "pattern.png", target="a person with blond hair")


def full_phase_1_and_2(pack: Any) -> Graph:
    """Everything by hand, with what lies between."""
    graph = Graph(pack, 2)
    kinds = ("LoadStyleGAN", "LoadE4E", "LoadDirections")
    generator, encoder, editor = (graph.add(kind, 0, 30 + 120 * i, 60) for i, kind in enumerate(kinds))
    graph.note(0, 430, 490, "full_phase_1_and_2")
    picture = graph.add("PortraitExample", 1, 30, 60, example="hat.png")
    invert = graph.add("E4EInvert", 1, 160, 190, generator=(generator, "generator"), image=(picture, "image"),
                       encoder=(encoder, "encoder"))
    graph.add("PreviewImage", 1, 430, 320, title="Inversion", images=(invert, "inversion"))
    yaw = graph.add("DirectionEdit", 2, 30, 220, title="Direction Edit: yaw", direction="yaw", strength=10.0,
                    generator=(generator, "generator"), latent=(invert, "latent"), editor=(editor, "editor"),
                    inversion=(invert, "inversion"))
    aged = graph.add("DirectionEdit", 2, 330, 220, title="Direction Edit: age", direction="age", strength=-0.4,
                      generator=(generator, "generator"), latent=(yaw, "latent"), editor=(editor, "editor"),
                      inversion=(yaw, "edited"))
    graph.add("PreviewImage", 2, 630, 290, title="Edited inversion", images=(aged, "edited"))
    delta = graph.add("ComputeDelta", 3, 30, 70, image=(invert, "image"), inversion=(invert, "inversion"))
    edit = graph.add("Rectify", 3, 150, 205, title="Rectify: the edit", edited=(aged, "edited"),
                     delta=(delta, "delta"))
    same = graph.add("Rectify", 3, 405, 205, title="Rectify: the reconstruction", edited=(invert, "inversion"),
                     delta=(delta, "delta"))
    graph.add("PreviewImage", 3, 660, 260, title="What the inversion lost", images=(delta, "preview"))
    _compare(graph, (invert, "image"), (edit, "image"), y=30, width=370)
    graph.add("PreviewImage", 4, 530, 390, title="Rectified reconstruction", width=370, images=(same, "image"))
    boxes = (("Models", 0, 1, "#3f789e"), ("Phase I: invert and edit", 1, 2, "#8A8"),
             ("Phase II: bring back what was lost", 3, 1, "#b58b2a"), ("Compare", 4, 1, "#a1309b"))
    graph.groups = [{"id": i, "title": title, "bounding": [25 + 395 * x, 5, 395 * count - 10, 980], "color": color,
                     "font_size": 24, "flags": {}} for i, (title, x, count, color) in enumerate(boxes, 1)]
    return graph


def edit_sweep(pack: Any) -> Graph:
    """One control over a range."""
    graph, generator, picture = _start(pack, 4, "edit_sweep", "earrings.png", note=240)
    invert = graph.add("E4EInvert", 1, 0, 190, generator=(generator, "generator"), image=(picture, "image"))
    delta = graph.add("ComputeDelta", 1, 270, 70, image=(invert, "image"), inversion=(invert, "inversion"))
    sweep = graph.add("EditSweep", 2, 0, 380, generator=(generator, "generator"), latent=(invert, "latent"),
                      control="yaw", start=-20.0, stop=20.0, inversion=(invert, "inversion"))
    result = graph.add("Rectify", 3, 0, 220, edited=(sweep, "edited"), delta=(delta, "delta"))
    sheet = graph.add("PictureSheet", 3, 290, 260, images=(result, "image"), labels=(sweep, "labels"),
                      before=(invert, "image"), title="")
    _compare(graph, (invert, "image"), (result, "image"))
    graph.add("PreviewImage", 0, 700, 260, width=960, title="Edits before rectifying", images=(sweep, "sheet"))
    graph.add("PreviewImage", 2.53, 700, 260, width=960, title="After: the rectified edits", images=(sheet, "sheet"))
    return graph


def compare_methods(pack: Any) -> Graph:
    """Three inversions of one picture, and what they let an edit do."""
    graph, generator, picture = _start(pack, 5, "compare_methods", note=150)
    columns: dict[str, list[tuple[int, str]]] = {"inversion": [], "edited": []}
    for i, method in enumerate(("e4e", "w+", "pti")):
        invert = graph.add("InvertImage", 1 + i, 0, 412, title=f"Invert Image: {method}", method=method,
                           generator=(generator, "generator"), image=(picture, "image"))
        edit = graph.add("DirectionEdit", 1 + i, 464, 225, direction="yaw", strength=15.0,
                         generator=(generator, "generator"), latent=(invert, "latent"), inversion=(invert, "inversion"))
        columns["inversion"].append((invert, "inversion"))
        columns["edited"].append((edit, "edited"))
    for i, (what, (first, second, third)) in enumerate(columns.items()):
        sheet = graph.add("PictureSheet", 4 * i, 480, 250, title=f"Picture Sheet: {what}", labels="e4e\nw+\npti",
                          images=first, images_2=second, images_3=third, before=(picture, "image"))
        graph.add("PreviewImage", 1 + 1.42 * i, 750, 210, width=545, title="After: edits" if i else "Inversions",
                  images=(sheet, "sheet"))
    _compare(graph, columns["inversion"][2], columns["edited"][2])
    return graph


def _photo(pack: Any, number: int, name: str, first: dict[str, Any], align: dict[str, Any], smooth: float = 0.0,
           ) -> tuple[Graph, int, int]:
    """Align, invert (codes smoothed over the frames), edit, rectify, paste."""
    graph = Graph(pack, number)
    generator = graph.add("LoadStyleGAN", 0, 0, 60)
    photo = graph.add("PhotoExample", 0, 130, 110, **first)
    graph.note(0, 340, 320, name)
    cut = graph.add("AlignFace", 1, 0, 380, photo=(photo, "photo"), points=(photo, "points"), find="points", size=0,
                    framing="portraits", **align)
    image = graph.add("E4EInvert", 2, 0, 190, generator=(generator, "generator"), image=(cut, "aligned"))
    invert, below = image, 270
    if smooth:
        invert = graph.add("SmoothLatents", 2, below, 70, generator=(generator, "generator"), latent=(image, "latent"),
                           smooth=smooth)
        below += 150
    edit = graph.add("DirectionEdit", 2, below, 220, direction="age" if smooth else "smile", strength=0.6,
                     generator=(generator, "generator"), latent=(invert, "latent"), inversion=(invert, "inversion"))
    delta = graph.add("ComputeDelta", 3, 0, 70, image=(image, "image"), inversion=(invert, "inversion"))
    result = graph.add("Rectify", 3, 150, 220, edited=(edit, "edited"), delta=(delta, "delta"))
    plain = graph.add("Rectify", 2, below + 300, 220, title="Rectify: without the edit", edited=(invert, "inversion"),
                      delta=(delta, "delta"))
    paste = graph.add("PasteFace", 3, 450, 250, edited=(result, "image"), face=(cut, "face"),
                      reference=(plain, "image"))
    _compare(graph, (photo, "photo"), (paste, "photo"))
    return graph, photo, paste


def photo_align_and_paste(pack: Any) -> Graph:
    """Faces out of a photo and back."""
    graph, _, paste = _photo(pack, 6, "photo_align_and_paste", {"kind": "photo", "count": 2}, {"which": "all"})
    cut = next(node["id"] for node in graph.nodes if node["type"] == "ReGANIE_AlignFace")
    graph.add("PreviewImage", 1, 460, 320, title="The crops", images=(cut, "aligned"))
    graph.add("PreviewImage", 4, 510, 320, width=LAST, title="After", images=(paste, "photo"))
    return graph


def clip(pack: Any) -> Graph:
    """The same for frames."""
    first, align = {"kind": "clip", "count": 12}, {"smooth": 1.0, "missing": "skip"}
    graph, photo, paste = _photo(pack, 7, "clip", first, align, 0.5)
    told = graph.add("MeasureFlicker", 3, 780, 70, frames=(paste, "photo"), before=(photo, "photo"))
    sheet = graph.add("PictureSheet", 4, 510, 280, images=(paste, "photo"))
    graph.wire(told, "report", sheet, "title")  # a widget called title, not the node's
    graph.add("PreviewImage", 0, 730, 200, width=715, title="All frames", images=(sheet, "sheet"))
    return graph


def own_checkpoints(pack: Any) -> Graph:
    """Every network by name, for people's own files."""
    graph = Graph(pack, 8)
    kinds = ("LoadStyleGAN", "LoadE4E", "LoadDirections")
    generator, encoder, editor = (graph.add(kind, 0, 120 * i, 60) for i, kind in enumerate(kinds))
    graph.note(0, 400, 540, "own_checkpoints")
    picture = graph.add("PortraitExample", 1, 0, 60, example="hand.png")
    invert = graph.add("E4EInvert", 1, 140, 190, generator=(generator, "generator"), image=(picture, "image"),
                       encoder=(encoder, "encoder"))
    graph.add("PreviewImage", 1, 430, 340, title="Inversion", images=(invert, "inversion"))
    edit = graph.add("DirectionEdit", 2, 0, 220, direction="yaw", strength=-12.0, generator=(generator, "generator"),
                     latent=(invert, "latent"), editor=(editor, "editor"), inversion=(invert, "inversion"))
    delta = graph.add("ComputeDelta", 2, 300, 70, image=(invert, "image"), inversion=(invert, "inversion"))
    result = graph.add("Rectify", 3, 0, 220, edited=(edit, "edited"), delta=(delta, "delta"))
    graph.add("PreviewImage", 3, 310, 340, title="After", images=(result, "image"))
    _compare(graph, (invert, "image"), (result, "image"))
    return graph


def doubt(pack: Any) -> Graph:
    """Rectify's mask, and a simple fill with nodes of ComfyUI's own."""
    graph, generator, picture = _start(pack, 9, "doubt", "earrings.png")
    invert = graph.add("E4EInvert", 1, 0, 190, generator=(generator, "generator"), image=(picture, "image"))
    delta = graph.add("ComputeDelta", 1, 270, 70, image=(invert, "image"), inversion=(invert, "inversion"))
    edit = graph.add("DyStyleEdit", 2, 0, 760, width=340, edits="yaw=+20", generator=(generator, "generator"),
                     latent=(invert, "latent"), inversion=(invert, "inversion"))
    result = graph.add("Rectify", 3, 0, 220, edited=(edit, "edited"), delta=(delta, "delta"))
    mask = graph.add("MaskToImage", 3, 300, 30, mask=(result, "doubt"))
    graph.add("PreviewImage", 3, 390, 320, title="Doubt", images=(mask, "IMAGE"))
    fill = graph.add("ImageCompositeMasked", 1, 430, 190, destination=(result, "image"), source=(edit, "edited"),
                     mask=(result, "doubt"), resize_source=True)
    _compare(graph, (result, "image"), (fill, "IMAGE"))
    graph.add("PreviewImage", 4, 510, 320, width=LAST, title="After", images=(fill, "IMAGE"))
    return graph


class Template(NamedTuple):
    """A graph people open: how it is built, its title in the list, parts the domain must have, thumbnail's pictures."""

    build: Callable[[Any], Graph]
    title: str
    parts: tuple[str, ...]
    pictures: tuple[str, ...] = ("Before", "After")


GRAPHS: dict[str, Template] = {  # in the order of the list
    "quick_edit": Template(quick_edit, "1 Quick edit", ("dystyle",)),
    "text_edit": Template(text_edit, "2 Edit by text", ("styleclip",)),
    "full_phase_1_and_2": Template(full_phase_1_and_2, "3 Phase I and II, step by step", ("directions",)),
    "edit_sweep": Template(edit_sweep, "4 Edit sweep", ("directions",), ("After: the rectified edits",)),
    "compare_methods": Template(compare_methods, "5 Compare inversion methods", ("directions",), ("Inversions",)),
    "photo_align_and_paste": Template(photo_align_and_paste, "6 Photo, cut out and put back", ("directions",)),
    "clip": Template(clip, "7 Clip, frame by frame", ("directions",)),
    "doubt": Template(doubt, "8 Where the result is in doubt", ("dystyle",), ("Doubt", "After")),
    "own_checkpoints": Template(own_checkpoints, "9 Your own checkpoints", ("directions",)),
}
