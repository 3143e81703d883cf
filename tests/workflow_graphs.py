"""What the graphs of workflows/ are: each small and about one thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.workflow_files import PICTURE, Graph

OWN = ("For a picture of your own, put **Load Image** in place of *Portrait Example*, and models that fit it into the "
       "name lists.")


def _start(pack: Any, number: int, title: str, note: str, example: str = "hat.png") -> tuple[Graph, int, int]:
    """A note, a generator and a picture; returns the graph and the numbers of the last two."""
    graph = Graph(pack, number)
    graph.add("MarkdownNote", 0, 380, 320, title="Read me", text=f"## ReGANIE: {title}\n\n{note}")
    generator = graph.add("LoadStyleGAN", 0, 0, 60)
    picture = graph.add("PortraitExample", 0, 180, 60, example=example)
    return graph, generator, picture


def _card(pack: Any, number: int, title: str, note: str, edit: str, height: int, **values: Any) -> Graph:
    """The design card: invert, edit, compute the difference, rectify."""
    graph, generator, picture = _start(pack, number, title, note)
    invert = graph.add("E4EInvert", 1, 0, 170, generator=(generator, "generator"), image=(picture, "image"))
    edited = graph.add(edit, 2, 0, height, generator=(generator, "generator"), latent=(invert, "latent"), **values)
    delta = graph.add("ComputeDelta", 3, 0, 70, image=(invert, "image"), inversion=(invert, "inversion"))
    result = graph.add("Rectify", 3, 180, 170, edited=(edited, "edited"), delta=(delta, "delta"))
    graph.add("PreviewImage", 1, 380, PICTURE[1], title="Before", images=(invert, "image"))
    graph.add("PreviewImage", 3, 520, PICTURE[1], title="After", images=(result, "image"))
    return graph


def quick_edit(pack: Any) -> Graph:
    """Sliders."""
    note = ("A picture the generator cannot express, turned without losing what makes it special.\n\n1. Press "
            "**Run**.\n2. Move the sliders of **DyStyle Edit** and run again, or tick *run while moving*.\n3. Move the "
            "pointer over **Before and After**.\n\n" + OWN)
    graph = _card(pack, 1, "quick edit", note, "DyStyleEdit", 720, edits="yaw=+15")
    kinds = {node["type"]: node["id"] for node in graph.nodes}
    graph.add("BeforeAfter", 4, 0, 480, width=440, before=(kinds["E4EInvert"], "image"),
              after=(kinds["Rectify"], "image"))
    return graph


def text_edit(pack: Any) -> Graph:
    """The same by a text."""
    note = ("Describe what the picture should show; the hat stays.\n\n1. Press **Run**.\n2. Write another **target**. "
            "Raise **threshold** when too much changes.\n\n" + OWN)
    return _card(pack, 3, "text edit", note, "StyleCLIPEdit", 270, target="a smiling old woman with glasses")


def full_phase_1_and_2(pack: Any) -> Graph:
    """Everything by hand, with what lies between."""
    graph = Graph(pack, 2)
    graph.add("MarkdownNote", 0, 60, 330, title="Read me", text=(
        "## ReGANIE: Phase I and Phase II\n\n**Phase I** finds the picture's latent code and edits it. The hat, the "
        "hand or the earrings are gone: the generator cannot express them.\n\n**Phase II** takes the difference "
        "between the picture and its inversion, and paints it back where it belongs *after* the edit.\n\nThe last "
        "Rectify does the same without an edit: the rectified reconstruction.\n\nEvery network has its own loader "
        "here. *Load ReGANIE* replaces all four for one domain."))
    loaders = [graph.add(kind, 0, 480 + 140 * i, 60)
               for i, kind in enumerate(("LoadStyleGAN", "LoadE4E", "LoadDirections", "LoadRectifier"))]
    generator, encoder, editor, rectifier = loaders
    picture = graph.add("PortraitExample", 1.05, 60, 60, example="hat.png")
    invert = graph.add("E4EInvert", 1.05, 240, 170, generator=(generator, "generator"), image=(picture, "image"),
                       encoder=(encoder, "encoder"))
    yaw = graph.add("DirectionEdit", 1.95, 60, 210, title="Direction Edit: yaw", direction="yaw", strength=15.0,
                    generator=(generator, "generator"), latent=(invert, "latent"), editor=(editor, "editor"))
    smile = graph.add("DirectionEdit", 1.95, 380, 210, title="Direction Edit: smile", direction="smile", strength=0.5,
                      generator=(generator, "generator"), latent=(yaw, "latent"), editor=(editor, "editor"))
    graph.add("PreviewImage", 1.05, 720, 340, title="Inversion", images=(invert, "inversion"))
    graph.add("PreviewImage", 1.95, 720, 340, title="Edited inversion", images=(smile, "edited"))
    delta = graph.add("ComputeDelta", 3, 60, 70, image=(invert, "image"), inversion=(invert, "inversion"))
    graph.add("PreviewImage", 3, 720, 340, title="What the inversion lost", images=(delta, "preview"))
    edit = graph.add("Rectify", 3.9, 60, 170, title="Rectify: the edit", edited=(smile, "edited"),
                     delta=(delta, "delta"), rectifier=(rectifier, "rectifier"))
    same = graph.add("Rectify", 3.9, 340, 170, title="Rectify: the reconstruction", edited=(invert, "inversion"),
                     delta=(delta, "delta"), rectifier=(rectifier, "rectifier"))
    graph.add("PreviewImage", 4.95, 60, 340, title="Before", images=(invert, "image"))
    graph.add("PreviewImage", 4.95, 580, 340, title="Rectified reconstruction", images=(same, "image"))
    graph.add("PreviewImage", 5.85, 60, 340, title="After: the rectified edit", images=(edit, "image"))
    boxes = (("Models", (20, 360), "#3f789e"), ("Phase I: invert and edit", (440, 720), "#8A8"),
             ("Phase II: bring back what was lost", (1220, 720), "#b58b2a"), ("Compare", (2000, 720), "#a1309b"))
    graph.groups = [{"id": i, "title": title, "bounding": [x, 20, width, 1110], "color": color, "font_size": 24,
                     "flags": {}} for i, (title, (x, width), color) in enumerate(boxes, 1)]
    return graph


def edit_sweep(pack: Any) -> Graph:
    """One control over a range."""
    note = ("One control over a range, each step rectified with the one difference of the picture.\n\n1. Press **Run**."
            "\n2. Choose another **control** and its ends (degrees for yaw, -1 to 1 for smile and age).")
    graph, generator, picture = _start(pack, 4, "edit sweep", note, "earrings.png")
    invert = graph.add("E4EInvert", 1, 0, 170, generator=(generator, "generator"), image=(picture, "image"))
    delta = graph.add("ComputeDelta", 1, 300, 70, image=(invert, "image"), inversion=(invert, "inversion"))
    sweep = graph.add("EditSweep", 2, 0, 320, generator=(generator, "generator"), latent=(invert, "latent"),
                      control="yaw", start=-20.0, stop=20.0)
    result = graph.add("Rectify", 3, 0, 170, edited=(sweep, "edited"), delta=(delta, "delta"))
    sheet = graph.add("PictureSheet", 3, 300, 260, images=(result, "image"), labels=(sweep, "labels"),
                      before=(invert, "image"), title="")
    graph.add("PreviewImage", 4, 0, 340, width=720, title="Edits before rectifying", images=(sweep, "sheet"))
    graph.add("PreviewImage", 4, 520, 340, width=720, title="After: the rectified edits", images=(sheet, "sheet"))
    return graph


def compare_methods(pack: Any) -> Graph:
    """Three inversions of one picture, and what they let an edit do."""
    note = ("Three ways to invert the same picture. The upper sheet shows how close they come, the lower one what is "
            "left of that after an edit: what is inverted closest does not edit best.\n\nOptimisation (w+, pti) takes "
            "a while.")
    graph, generator, picture = _start(pack, 5, "compare methods", note)
    columns: dict[str, list[tuple[int, str]]] = {"inversion": [], "edited": []}
    for i, method in enumerate(("e4e", "w+", "pti")):
        invert = graph.add("InvertImage", 1, 560 * i, 260, title=f"Invert Image: {method}", method=method,
                           generator=(generator, "generator"), image=(picture, "image"))
        edit = graph.add("DirectionEdit", 2, 560 * i, 210, direction="yaw", strength=15.0,
                         generator=(generator, "generator"), latent=(invert, "latent"))
        columns["inversion"].append((invert, "inversion"))
        columns["edited"].append((edit, "edited"))
    for row, (what, parts) in enumerate(columns.items()):
        y = 520 * row
        two = graph.add("ImageBatch", 3, y, 60, image1=parts[0], image2=parts[1])
        three = graph.add("ImageBatch", 3, y + 130, 60, image1=(two, "IMAGE"), image2=parts[2])
        sheet = graph.add("PictureSheet", 4, y, 300, images=(three, "IMAGE"), labels="e4e\nw+\npti",
                          before=(picture, "image"))
        graph.add("PreviewImage", 5, y, 340, width=720, title="Inversions" if what == "inversion" else "After: edits",
                  images=(sheet, "sheet"))
    return graph


def _photo(pack: Any, number: int, title: str, note: str, first: dict[str, Any], align: dict[str, Any],
           smooth: float = 0.0) -> Graph:
    """Align, invert (codes smoothed over the frames), edit, rectify, paste."""
    graph = Graph(pack, number)
    graph.add("MarkdownNote", 0, 380, 320, title="Read me", text=f"## ReGANIE: {title}\n\n{note}")
    generator = graph.add("LoadStyleGAN", 0, 0, 60)
    photo = graph.add("PhotoExample", 0, 180, 110, **first)
    cut = graph.add("AlignFace", 1, 0, 360, photo=(photo, "photo"), points=(photo, "points"), find="points", size=256,
                    framing="portraits", **align)
    image = graph.add("E4EInvert", 2, 0, 170, generator=(generator, "generator"), image=(cut, "aligned"))
    invert, below = image, 0
    if smooth:
        invert, below = graph.add("SmoothLatents", 2, 230, 100, generator=(generator, "generator"),
                                  latent=(image, "latent"), smooth=smooth), 140
    edit = graph.add("DirectionEdit", 2, 260 + below, 210, direction="smile", strength=0.6,
                     generator=(generator, "generator"), latent=(invert, "latent"))
    delta = graph.add("ComputeDelta", 3, 0, 70, image=(image, "image"), inversion=(invert, "inversion"))
    result = graph.add("Rectify", 3, 180, 170, edited=(edit, "edited"), delta=(delta, "delta"))
    plain = graph.add("Rectify", 2, 540 + below, 170, title="Rectify: without the edit", edited=(invert, "inversion"),
                      delta=(delta, "delta"))
    paste = graph.add("PasteFace", 3, 480, 210, edited=(result, "image"), face=(cut, "face"),
                      reference=(plain, "image"))
    graph.add("PreviewImage", 4, 0, 340, width=520, title="Before", images=(photo, "photo"))
    graph.add("PreviewImage", 4, 520, 340, width=520, title="After", images=(paste, "photo"))
    graph.add("PreviewImage", 1, 520, 340, title="The crops", images=(cut, "aligned"))
    return graph


def photo_align_and_paste(pack: Any) -> Graph:
    """Faces out of a photo and back."""
    note = ("Every face is cut out as the generator's training pictures were, edited, rectified and put back. Pixels "
            "outside stay as they are.\n\nFor a photo of your own: **Load Image** in place of *Photo Example*, find = "
            "**detector** with YuNet's weights in models/reganie, framing = **ffhq**.")
    return _photo(pack, 6, "photo, align and paste", note, {"kind": "photo", "count": 2}, {"which": "all"})


def clip(pack: Any) -> Graph:
    """The same for frames."""
    note = ("The frames of a clip are a batch. **smooth** of Align Face keeps the squares from jittering, Smooth "
            "Latents the codes; the sheet says how much the clip flickers before and after.\n\nFor a clip of your own: "
            "any node that loads frames in place of *Photo Example*.")
    graph = _photo(pack, 7, "clip", note, {"kind": "clip", "count": 12}, {"smooth": 1.0, "missing": "skip"}, 0.5)
    photo, paste = (next(n["id"] for n in graph.nodes if n["type"] == kind) for kind in ("PhotoExample", "PasteFace"))
    told = graph.add("MeasureFlicker", 5.4, 0, 70, frames=(paste, "photo"), before=(photo, "photo"))
    sheet = graph.add("PictureSheet", 5.4, 180, 260, images=(paste, "photo"))
    graph.wire(told, "report", sheet, "title")  # a widget called title, not the node's
    graph.add("PreviewImage", 5.4, 580, 340, width=720, title="All frames", images=(sheet, "sheet"))
    return graph


def own_checkpoints(pack: Any) -> Graph:
    """Every network by name, for people's own files."""
    note = ("For your own StyleGAN: choose your files in the four loaders.\n\n- **generator** (`.pkl`, `.pt`, "
            "`.safetensors`): models/stylegan\n- **encoder, directions, rectifier**: models/reganie\n\nThen put "
            "**Load Image** with an aligned square crop in place of *Portrait Example* (for faces, Align Face makes "
            "one). docs/checkpoints.md lists public files; a rectifier is trained with `python trainer/train.py`, see "
            "docs/training.md.\n\nAs it is, the graph runs with the packaged portraits.")
    graph = Graph(pack, 8)
    graph.add("MarkdownNote", 0, 560, 420, title="Read me", text=f"## ReGANIE: your own checkpoints\n\n{note}")
    kinds = ("LoadStyleGAN", "LoadE4E", "LoadDirections", "LoadRectifier")
    generator, encoder, editor, rectifier = (graph.add(kind, 0, 130 * i, 60) for i, kind in enumerate(kinds))
    picture = graph.add("PortraitExample", 1, 0, 60, example="earrings.png")
    invert = graph.add("E4EInvert", 1, 130, 170, generator=(generator, "generator"), image=(picture, "image"),
                       encoder=(encoder, "encoder"))
    edit = graph.add("DirectionEdit", 2, 0, 210, direction="yaw", strength=12.0, generator=(generator, "generator"),
                     latent=(invert, "latent"), editor=(editor, "editor"))
    delta = graph.add("ComputeDelta", 2, 320, 70, image=(invert, "image"), inversion=(invert, "inversion"))
    result = graph.add("Rectify", 3, 0, 170, edited=(edit, "edited"), delta=(delta, "delta"),
                       rectifier=(rectifier, "rectifier"))
    graph.add("PreviewImage", 1, 420, 340, title="Before", images=(invert, "image"))
    graph.add("PreviewImage", 2, 520, 340, title="Inversion", images=(invert, "inversion"))
    graph.add("PreviewImage", 3, 300, 340, title="After", images=(result, "image"))
    return graph


# name -> (what it is, parts the packaged domain must have, pictures of its thumbnail)
GRAPHS: dict[str, tuple[Callable[[Any], Graph], tuple[str, ...], tuple[str, ...]]] = {
    "quick_edit": (quick_edit, ("dystyle",), ("Before", "After")),
    "full_phase_1_and_2": (full_phase_1_and_2, ("directions",), ("Before", "After: the rectified edit")),
    "text_edit": (text_edit, ("styleclip",), ("Before", "After")),
    "edit_sweep": (edit_sweep, ("directions",), ("After: the rectified edits",)),
    "compare_methods": (compare_methods, ("directions",), ("Inversions",)),
    "photo_align_and_paste": (photo_align_and_paste, ("directions",), ("Before", "After")),
    "clip": (clip, ("directions",), ("Before", "After")),
    "own_checkpoints": (own_checkpoints, ("directions",), ("Before", "After")),
}
