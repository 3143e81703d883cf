"""The whole chain on photos with exact answers: points, alignment, edit, pasting back.

    python -m benchmarks.photos [--scenes 10] [--domain portraits] [--edit yaw=+10 ...] [--json OUT.json]
                                [--markdown docs/photos.md] [--picture docs/photos.jpg]

First nothing is edited, see :mod:`benchmarks.round_trip`. Then scenes of 1 to 5 rendered people are edited face by face
and put back; the exact answer is the same scene rendered with the edit. Errors are mean absolute differences in levels
of 255 inside the people's squares, and over the pixels that the edit should change. Points are off by shares of the
face's size (half a portrait's side). The rows "photo" (nothing done) and "exact crop" (the true edited crop pasted)
bound what the networks can lose or win; the rows "exact crop, points off" show what the geometry alone loses.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

import reganie_core as rc
from reganie_core.faces import Face, align_faces, align_photos, paste_faces
from reganie_core.images import to_pil
from reganie_core.portraits.scenes import Scene, sample_scene

from . import round_trip

FIRST_SEED = 600_000_000  # of the seeds for development
OFFSETS = (0.0, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03)
LEVELS = 127.5
CHANGED = 0.1  # of a range of 2: what the edit should change
Errors = tuple[float, float]


def measure(scene: Scene, edits: dict[str, float], domain: rc.Domain, seed: int) -> dict[str, Errors]:
    """{row: (error inside the squares, error where the edit should change something)} of one scene."""
    photo, exact = scene.render(), scene.edited(edits).render()
    size = domain.generator.resolution
    squares = [Face.from_quad(quad, size, (scene.width, scene.height)) for quad in scene.quads()]
    inside = paste_faces(photo, align_faces(photo, squares), squares).mask > 0.5
    rows = {"photo": photo, "exact crop": true_crop(photo, exact, squares),
            "square known, whole crop pasted": chain(photo, squares, edits, domain, whole=True),
            "square known": chain(photo, squares, edits, domain)}
    for offset in OFFSETS:
        found = found_faces(photo, scene, offset, size, seed)
        rows[f"exact crop, points off by {100 * offset:g} %"] = true_crop(photo, exact, found)
        rows[f"points off by {100 * offset:g} %"] = chain(photo, found, edits, domain)
    changed = inside & ((exact - photo).abs().amax(1, keepdim=True) > CHANGED)
    return {name: (error(picture, exact, inside), error(picture, exact, changed)) for name, picture in rows.items()}


def found_faces(photo: Tensor, scene: Scene, offset: float, size: int, seed: int) -> list[Face]:
    """Squares from points that are off by ``offset`` times the face's size, in random directions."""
    noise = torch.randn(scene.points().shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    sides = torch.tensor([place[2] for place in scene.places], dtype=torch.float64)[:, None, None]
    points = scene.points() + noise * (offset * 0.5 / 2**0.5) * sides
    return list(align_photos(photo, size, points=points, which="all", framing="portraits").faces)


def true_crop(photo: Tensor, exact: Tensor, faces: list[Face]) -> Tensor:
    """The photo with the exact answer's own crops pasted: what aligning and pasting lose by themselves."""
    fine = [face.resized(2 * max(16, round(face.side / 2))) for face in faces]
    picture = photo
    for face in fine:  # of several sizes, so one after the other
        picture = paste_faces(picture, align_faces(exact, face), face).photos
    return picture


def chain(photo: Tensor, faces: list[Face], edits: dict[str, float], domain: rc.Domain, whole: bool = False) -> Tensor:
    """Align, edit with the rectifier, paste back what the edit changed (``whole``: everything the networks drew)."""
    result = rc.edit(align_faces(photo, faces), edits, domain=domain, rectify=domain.rectifier is not None)
    unedited = result.inversion if result.reconstruction is None else result.reconstruction
    return paste_faces(photo, result.result, faces, reference=None if whole else unedited).photos


def error(picture: Tensor, exact: Tensor, where: Tensor) -> float:
    """Mean absolute difference in levels of 255."""
    return float((picture - exact).abs()[where.expand_as(picture)].mean()) * LEVELS


def table(results: dict[str, list[Errors]]) -> Iterator[str]:
    """Markdown lines."""
    yield "| row | inside the squares | where it should change |"
    yield "| --- | ---: | ---: |"
    for name, values in results.items():
        if " by " not in name:
            a, b = means(values)
            yield f"| {name} | {a:.2f} | {b:.2f} |"


def curve(results: dict[str, list[Errors]]) -> Iterator[str]:
    """The same for points that are off."""
    yield "| points off by | chain: inside | where it should change | exact crop: inside | where it should change |"
    yield "| ---: | ---: | ---: | ---: | ---: |"
    for offset in OFFSETS:
        name = f"points off by {100 * offset:g} %"
        figures = (*means(results[name]), *means(results["exact crop, " + name]))
        yield f"| {100 * offset:g} % | " + " | ".join(f"{value:.2f}" for value in figures) + " |"


def means(values: list[Errors]) -> Errors:
    """Over the scenes."""
    return tuple(sum(v[i] for v in values) / len(values) for i in (0, 1))  # type: ignore[return-value]


def example(edits: dict[str, float], domain: rc.Domain, path: Path) -> None:
    """One scene of three with hats: photo, chain from found points, exact answer, side by side."""
    scene = sample_scene(3, FIRST_SEED + 7, 560, 300, items=("hat",))
    photo = scene.render()
    faces = found_faces(photo, scene, 0.01, domain.generator.resolution, 0)
    pictures = [photo, chain(photo, faces, edits, domain), scene.edited(edits).render()]
    drawn = [to_pil(picture)[0] for picture in pictures]
    sheet = Image.new("RGB", (560, 300 * 3 + 16), (255, 255, 255))
    for i, picture in enumerate(drawn):
        sheet.paste(picture, (0, 308 * i))
    sheet.save(path, quality=88)


def document(trips: list[dict[str, object]], results: dict[str, list[Errors]], people: list[int],
             edits: dict[str, float], command: str, picture: str) -> Iterator[str]:
    """docs/photos.md."""
    yield "# Photos: aligned, edited, put back\n"
    yield f"`{command}`\n"
    yield ("Rendered scenes (`reganie_core/portraits/scenes.py`), so that every answer is known exactly. The points "
           "are the exact ones, or off by a known amount: no face detector takes part.\n")
    yield "## Nothing edited\n"
    yield ("PSNR inside the square, over the range of the picture. `auto` is Paste Face's own mode: an unchanged crop "
           "changes nothing. `replace` covers the photo with the crop whatever it holds, so its figure is what two "
           "resamplings lose, and at a photo's border the soft continuation of the published alignment as well. "
           "*Inverted, not edited*: align, invert, no edit, no rectifier, and paste with the inversion "
           "as reference. A crop of 1 has as many pixels across as the largest square in the photo.\n")
    yield from round_trip.table(trips)
    yield "\n## Edited\n"
    told = rc.editing.format_edits(edits)
    count = ", ".join(str(n) for n in sorted(set(people)))
    yield (f"Edit {told} of everybody in {len(people)} scenes of {count} people, 480x320. Mean absolute difference to "
           "the exact answer (the scene rendered with the edit) in levels of 255, lower is better. *Photo*: nothing "
           "done. *Exact crop*: the true edited crops pasted, the best any networks could do.\n")
    yield from table(results)
    yield "\nPoints off in random directions by a share of the face's size (root mean square):\n"
    yield from curve(results)
    yield "\nInside the squares by the number of people:\n"
    numbers = sorted(set(people))
    yield "| row | " + " | ".join(f"{n}" for n in numbers) + " |"
    yield "| --- |" + " ---: |" * len(numbers)
    for name in ("photo", "exact crop", "square known", "points off by 0 %", "points off by 3 %"):
        cells = [means([v for v, n in zip(results[name], people, strict=True) if n == wanted])[0] for wanted in numbers]
        yield f"| {name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |"
    if picture:
        yield f"\n![a photo of three people with hats, the edit put back, the exact answer]({picture})\n"
        yield "Three people with hats: the photo, the edit put back (points off by 1 %), the exact answer."


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photos", description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=10)
    parser.add_argument("--domain", default="portraits")
    parser.add_argument("--edit", action="append", default=[], metavar="CONTROL=CHANGE")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="write the document there")
    parser.add_argument("--picture", type=Path, help="and its example picture there")
    args = parser.parse_args()
    edits = {name: float(value) for name, value in rc.parse_edits(", ".join(args.edit or ["yaw=+10"])).items()}
    domain = rc.load_domain(args.domain)
    trips, people = round_trip.measure(domain), [1 + i % 5 for i in range(args.scenes)]
    results: dict[str, list[Errors]] = {}
    for i, count in enumerate(people):
        scene = sample_scene(count, FIRST_SEED + 100 * i, 480, 320)
        for name, values in measure(scene, edits, domain, i).items():
            results.setdefault(name, []).append(values)
    command = f"python -m benchmarks.photos --scenes {args.scenes} --edit {rc.editing.format_edits(edits)}"
    if args.picture:
        example(edits, domain, args.picture)
    text = "\n".join(document(trips, results, people, edits, command, args.picture.name if args.picture else ""))
    print(text)
    if args.markdown:
        args.markdown.write_text(text + "\n", encoding="utf-8")
    if args.json:
        found = {"edits": edits, "people": people, "round_trip": trips, "results": results}
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
