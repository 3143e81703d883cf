"""Draws the pictures of the help pages with the packaged weights: ``python -m tests.help_pictures [NODE ...]``."""

from __future__ import annotations

import argparse
import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image, ImageDraw

from tests.host_stubs import ROOT, call, host_modules, load_pack

FOLDER = ROOT / "web" / "docs" / "pictures"
PACKAGED, CELL = "portraits (packaged)", 128
Shown = list[tuple[str, torch.Tensor]]


class Desk:
    """The nodes, and what most pictures start from."""

    def __init__(self, pack: Any) -> None:
        self.pack = pack
        self.generator = self("LoadStyleGAN", file=PACKAGED)[0]
        self.photo = self("PortraitExample", example="hat.png")[0]
        self.latent, self.inversion, self.image = self("E4EInvert", generator=self.generator, image=self.photo)
        self.delta, self.lost = self("ComputeDelta", image=self.image, inversion=self.inversion)

    def __call__(self, node: str, **inputs: Any) -> tuple:
        return call(self.pack, node, **inputs)

    def edited(self, edits: str) -> torch.Tensor:
        """DyStyle Edit's picture."""
        return self("DyStyleEdit", generator=self.generator, latent=self.latent, edits=edits)[1]


def inversion(desk: Desk) -> Shown:
    return [("image", desk.image), ("inversion", desk.inversion)]


def methods(desk: Desk) -> Shown:
    shown = [("image", desk.image)]
    for method, steps in (("e4e", 0), ("w+", 60), ("pti", 80)):
        found = desk("InvertImage", generator=desk.generator, image=desk.photo, method=method, iterations=steps)
        shown.append((method, found[1]))
    return shown


def sliders(desk: Desk) -> Shown:
    return [("inversion", desk.inversion),
            *((edits, desk.edited(edits)) for edits in ("yaw=+15", "smile=+0.5", "glasses=on"))]


def direction(desk: Desk) -> Shown:
    shown = [("inversion", desk.inversion)]
    for strength in (-15.0, 15.0):
        found = desk("DirectionEdit", generator=desk.generator, latent=desk.latent, direction="yaw", strength=strength)
        shown.append((f"yaw {strength:+g}", found[1]))
    return shown


def text(desk: Desk) -> Shown:
    target = "a smiling old woman with glasses"
    found = desk("StyleCLIPEdit", generator=desk.generator, latent=desk.latent, target=target, strength=1.5)
    return [("inversion", desk.inversion), ("edited", found[1])]


def delta(desk: Desk) -> Shown:
    return [("image", desk.image), ("inversion", desk.inversion), ("preview", desk.lost)]


def rectify(desk: Desk) -> Shown:
    edited, shown = desk.edited("yaw=+15"), [("image", desk.image)]
    for strength in (0.0, 0.5, 1.0):
        shown.append((f"strength {strength:g}", desk("Rectify", edited=edited, delta=desk.delta, strength=strength)[0]))
    return shown


def compare(desk: Desk) -> Shown:
    after = desk("Rectify", edited=desk.edited("yaw=+15"), delta=desk.delta)[0]
    both, middle = after.clone(), after.shape[2] // 2
    both[:, :, :middle] = desk.image[:, :, :middle]
    both[:, :, middle - 1 : middle] = 1.0
    return [("before", desk.image), ("the pointer in the middle", both), ("after", after)]


def samples(desk: Desk) -> Shown:
    codes = desk("SampleLatent", generator=desk.generator, seed=3, count=5)[0]
    return [("", one[None]) for one in desk("Synthesize", generator=desk.generator, latent=codes)[0]]


def blend(desk: Desk) -> Shown:
    other, shown = desk("SampleLatent", generator=desk.generator, seed=5, count=1)[0], []
    for amount in (0.0, 0.25, 0.5, 0.75, 1.0):
        mixed = desk("BlendLatents", first=desk.latent, second=other, amount=amount)[0]
        shown.append((f"amount {amount:g}", desk("Synthesize", generator=desk.generator, latent=mixed)[0]))
    return shown


def examples(desk: Desk) -> Shown:
    options = desk.pack.nodes["PortraitExample"].INPUT_TYPES()["required"]["example"][1]["options"]
    return [(name.removesuffix(".png"), desk("PortraitExample", example=name)[0]) for name in options]


def _photo(desk: Desk) -> tuple[torch.Tensor, torch.Tensor, Any]:
    photo, points = desk("PhotoExample", kind="photo", count=2)
    crops, face, _ = desk("AlignFace", photo=photo, find="points", points=points, which="all", framing="portraits",
                          size=256)
    return photo, crops, face


def align(desk: Desk) -> Shown:
    photo, crops, face = _photo(desk)
    picture = _pil(desk, photo)
    pen = ImageDraw.Draw(picture)
    for one in face.faces:
        corners = [tuple(corner) for corner in one.corners.tolist()]
        pen.line([*corners, corners[0]], fill=(255, 255, 255), width=5)
    marked = desk.pack.rc.images.to_comfy(desk.pack.rc.images.from_pil(picture))
    return [("photo", marked), *((f"aligned {i}", crop[None]) for i, crop in enumerate(crops))]


def paste(desk: Desk) -> Shown:
    photo, crops, face = _photo(desk)
    latent, inverted, image = desk("E4EInvert", generator=desk.generator, image=crops)
    lost = desk("ComputeDelta", image=image, inversion=inverted)[0]
    edited = desk("DyStyleEdit", generator=desk.generator, latent=latent, edits="age=+0.6")[1]
    ours, plain = (desk("Rectify", edited=one, delta=lost)[0] for one in (edited, inverted))
    return [("photo", photo), ("pasted", desk("PasteFace", edited=ours, face=face, reference=plain)[0])]


def photos(desk: Desk) -> Shown:
    clip = desk("PhotoExample", kind="clip", count=8)[0]
    return [("photo", desk("PhotoExample", kind="photo", count=2)[0]),
            *((f"clip, frame {i}", clip[i : i + 1]) for i in (0, 2, 6))]


def sweep(desk: Desk) -> Shown:
    found = desk("EditSweep", generator=desk.generator, latent=desk.latent, control="yaw", start=-20.0, stop=20.0,
                 steps=5, cell=CELL)
    return [("", found[2])]


def sheet(desk: Desk) -> Shown:
    codes, edited, _, labels = desk("EditSweep", generator=desk.generator, latent=desk.latent, control="yaw",
                                    start=-20.0, stop=20.0, steps=5, cell=CELL)
    painted = desk("Rectify", edited=edited, delta=desk.delta)[0]
    return [("", desk("PictureSheet", images=painted, labels=labels, before=desk.image, cell=CELL, title="Yaw")[0])]


def steady(desk: Desk) -> Shown:
    photo, points = desk("PhotoExample", kind="clip", count=8, people=1)
    crops = desk("AlignFace", photo=photo, find="points", points=points, framing="portraits", size=256, smooth=2.0)[0]
    codes = desk("E4EInvert", generator=desk.generator, image=crops)[0]
    pictures = desk("SmoothLatents", generator=desk.generator, latent=codes, smooth=1.0)[1]
    return [(f"frame {i}", pictures[i : i + 1]) for i in (0, 1, 2, 3, 4)]


def flicker(desk: Desk) -> Shown:
    photo = desk("PhotoExample", kind="clip", count=8, people=1)[0]
    title = desk("MeasureFlicker", frames=photo)[0]
    return [("", desk("PictureSheet", images=photo[:5], title=title, cell=CELL)[0])]


PICTURES: dict[str, Callable[[Desk], Shown]] = {
    "E4EInvert": inversion, "InvertImage": methods, "DyStyleEdit": sliders, "DirectionEdit": direction,
    "StyleCLIPEdit": text, "EditSweep": sweep, "PictureSheet": sheet, "ComputeDelta": delta, "Rectify": rectify,
    "BeforeAfter": compare, "SampleLatent": samples, "Synthesize": samples, "BlendLatents": blend,
    "AlignFace": align, "PasteFace": paste, "PortraitExample": examples, "PhotoExample": photos,
    "SmoothLatents": steady, "MeasureFlicker": flicker,
}


def _pil(desk: Desk, picture: torch.Tensor) -> Image.Image:
    return desk.pack.rc.images.to_pil(desk.pack.rc.images.from_comfy(picture[:1]))[0]


def strip(desk: Desk, shown: Shown) -> Image.Image:
    """Pictures side by side, each with its name below."""
    if len(shown) == 1:
        return _pil(desk, shown[0][1])
    parts = [(name, _pil(desk, picture)) for name, picture in shown]
    parts = [(name, one.resize((round(one.width * CELL / one.height), CELL), Image.LANCZOS)) for name, one in parts]
    named, gap = any(name for name, _ in parts), 6
    width = sum(one.width + gap for _, one in parts) - gap
    drawn = Image.new("RGB", (width, CELL + (18 if named else 0)), (32, 32, 34))
    pen, x = ImageDraw.Draw(drawn), 0
    for name, one in parts:
        drawn.paste(one, (x, 0))
        pen.text((x + one.width / 2, CELL + 3), name, fill=(225, 225, 225), anchor="ma")
        x += one.width + gap
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"which nodes (default: all of {', '.join(PICTURES)})")
    options = parser.parse_args()
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        module = load_pack(host_modules(Path(folder)))
        rc = importlib.import_module(module.__name__ + ".reganie_core")
        desk = Desk(SimpleNamespace(module=module, nodes=module.NODE_CLASS_MAPPINGS, rc=rc))
        for name in options.names or PICTURES:
            path = FOLDER / f"{name}.jpg"
            strip(desk, PICTURES[name](desk)).save(path, quality=85, optimize=True)
            print(f"{path.name}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
