"""Nothing edited: how exactly a photo comes back through aligning, inverting and pasting."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image
from torch import Tensor

import reganie_core as rc
from reganie_core.faces import Face, align_faces, align_photos, paste_faces
from reganie_core.images import to_pil
from reganie_core.portraits.scenes import Scene, sample_scene

FIRST_SEED = 600_010_000  # of the seeds for development
Photo = Tensor | Image.Image


def one(x: float, y: float, side: float, turn: float, width: int, height: int, seed: int) -> Scene:
    """One person at a place; ``x``, ``y`` as shares of the picture."""
    return Scene(rc.portraits.sample(1, FIRST_SEED + seed), ((x * width, y * height, side, turn),), width, height, seed)


def situations(large: int = 4000) -> Iterator[tuple[str, Scene, Callable[[Tensor], Photo]]]:
    """Name, scene, and the form in which the photo is given."""
    def as_it_is(photo: Tensor) -> Photo:
        return photo

    def with_alpha(photo: Tensor) -> Photo:
        picture = to_pil(photo)[0].convert("RGBA")
        alpha = np.random.default_rng(0).integers(0, 256, (picture.height, picture.width), dtype=np.uint8)
        picture.putalpha(Image.fromarray(alpha))
        return picture

    yield "in the middle", one(0.5, 0.5, 190, 0, 480, 320, 0), as_it_is
    yield "across the left border", one(0.12, 0.5, 200, 8, 480, 320, 1), as_it_is
    yield "in the lower right corner", one(0.93, 0.85, 200, -5, 480, 320, 2), as_it_is
    yield "turned by 30 degrees", one(0.5, 0.5, 190, 30, 480, 320, 3), as_it_is
    yield "turned by -30 degrees, at the top", one(0.5, 0.2, 190, -30, 480, 320, 4), as_it_is
    yield "five people", sample_scene(5, FIRST_SEED + 5, 480, 320), as_it_is
    yield f"a photo of {large} px", one(0.6, 0.5, 0.14 * large, 12, large, large * 3 // 4, 6), as_it_is
    yield "RGBA, 8 bits, random alpha", one(0.5, 0.5, 190, 10, 480, 320, 7), with_alpha
    yield "grey, 8 bits", one(0.5, 0.5, 190, -10, 480, 320, 8), lambda photo: to_pil(photo)[0].convert("L")


def values(photo: Photo) -> np.ndarray:
    """``[H,W,C]`` in the photo's own numbers."""
    if isinstance(photo, Tensor):
        return photo[0].permute(1, 2, 0).numpy()
    found = np.asarray(photo)
    return found[..., None] if found.ndim == 2 else found


def decibel(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR over the range of the numbers (2 for [-1,1], 255 for bytes); 140 where nothing differs."""
    span = 255.0 if a.dtype == np.uint8 else 2.0
    mean = float(((a.astype(np.float64) - b.astype(np.float64)) ** 2).mean()) / span**2
    return 140.0 if mean < 1e-14 else -10.0 * math.log10(mean)


def judge(photo: Photo, result: Photo, mask: Tensor) -> dict[str, object]:
    """PSNR inside the square, and whether every pixel outside it (and alpha everywhere) has the same bits."""
    before, after, inside = values(photo), values(result), mask[0, 0].numpy() > 0
    colours = 3 if before.shape[2] >= 3 else 1
    same = np.array_equal(before[~inside], after[~inside])
    same = same and np.array_equal(before[..., colours:], after[..., colours:])
    return {"db": decibel(before[inside][:, :colours], after[inside][:, :colours]), "outside_identical": bool(same)}


def round_trip(photo: Photo, scene: Scene, factor: float, domain: rc.Domain) -> dict[str, dict[str, object]]:
    """Each way through, for crops ``factor`` times as large as the squares."""
    found = align_photos(photo, 64, points=scene.points(), which="all", framing="portraits")
    sizes = [max(16, math.ceil(factor * face.side)) for face in found.faces]
    faces: list[Face] = [face.resized(max(sizes)) for face in found.faces]
    crops, rows = align_faces(photo, faces), {}
    for mode in ("auto", "replace"):
        pasted = paste_faces(photo, crops, faces, mode=mode)  # type: ignore[arg-type]
        rows[mode] = judge(photo, pasted.photos, pasted.mask)
    result = rc.edit(crops, "", domain=domain, rectify=False)
    pasted = paste_faces(photo, result.result, faces, reference=result.inversion)
    rows["chain"] = judge(photo, pasted.photos, pasted.mask)
    return rows


def measure(domain: rc.Domain, large: int = 4000) -> list[dict[str, object]]:
    """All situations; crops as large as the largest square of the photo, and twice that."""
    found: list[dict[str, object]] = []
    for name, scene, form in situations(large):
        photo = form(scene.render())
        for factor in (1.0, 2.0):
            found.append({"photo": name, "crop_to_square": factor, **round_trip(photo, scene, factor, domain)})
    return found


def table(rows: list[dict[str, object]]) -> Iterator[str]:
    """Markdown lines."""
    yield ("| face | crop / square | unchanged crop, `auto` | unchanged crop, `replace` | inverted, not edited | "
           "outside the square |")
    yield "| --- | ---: | ---: | ---: | ---: | --- |"
    for row in rows:
        ways = [row[way] for way in ("auto", "replace", "chain")]
        figures = ["identical" if way["db"] >= 140 else f"{way['db']:.1f} dB" for way in ways]  # type: ignore[index]
        same = all(way["outside_identical"] for way in ways)  # type: ignore[index]
        yield (f"| {row['photo']} | {row['crop_to_square']:g} | {' | '.join(figures)} | "
               f"{'bit-identical' if same else 'CHANGED'} |")
