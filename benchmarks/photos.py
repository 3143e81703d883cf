"""The whole chain on photos with exact answers: points, alignment, edit, pasting back.

    python -m benchmarks.photos [--scenes 5] [--domain portraits] [--edit yaw=+10 ...] [--json OUT.json]

Scenes of 1 to 5 rendered people are edited face by face and put back; the exact answer is the same scene rendered with
the edit. Errors are mean absolute differences in levels of 255 inside the people's squares, and over the pixels that
the edit should change. Points are off by shares of the face's size (half a portrait's side). The rows "photo" (nothing
done) and "exact crop" (the true edited crop pasted) bound what the networks can lose or win.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

import reganie_core as rc
from reganie_core.faces import Face, align_faces, align_photos, paste_faces
from reganie_core.portraits.scenes import Scene, sample_scene

FIRST_SEED = 600_000_000  # of the seeds for development
OFFSETS = (0.0, 0.01, 0.02, 0.03)
LEVELS = 127.5


def measure(scene: Scene, edits: dict[str, float], domain: rc.Domain, seed: int) -> dict[str, tuple[float, float]]:
    """{row: (error inside the squares, error where the edit should change something)} of one scene."""
    photo, exact = scene.render(), scene.edited(edits).render()
    size = domain.generator.resolution
    shape = (scene.width, scene.height)
    squares = [Face.from_quad(quad, size, shape) for quad in scene.quads()]
    inside = paste_faces(photo, align_faces(photo, squares), squares).mask > 0.5
    rows = {"photo": photo}
    fine = [face.resized(2 * max(16, round(face.side / 2))) for face in squares]
    rows["exact crop"] = torch.cat([photo])
    for face in fine:
        rows["exact crop"] = paste_faces(rows["exact crop"], align_faces(exact, face), face).photos
    rows["square known, whole crop pasted"] = chain(photo, squares, edits, domain, whole=True)
    rows["square known"] = chain(photo, squares, edits, domain)
    noise = torch.randn(scene.points().shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    sides = torch.tensor([place[2] for place in scene.places], dtype=torch.float64)[:, None, None]
    for offset in OFFSETS:
        points = scene.points() + noise * (offset * 0.5 / 2**0.5) * sides
        found = align_photos(photo, size, points=points, which="all", framing="portraits", missing="skip")
        rows[f"points off by {100 * offset:g} %"] = chain(photo, list(found.faces), edits, domain)
    changed = inside & ((exact - photo).abs().amax(1, keepdim=True) > 0.1)
    return {name: (error(picture, exact, inside), error(picture, exact, changed)) for name, picture in rows.items()}


def chain(photo: Tensor, faces: list[Face], edits: dict[str, float], domain: rc.Domain, whole: bool = False) -> Tensor:
    """Align, edit with the rectifier, paste back what the edit changed (``whole``: everything the networks drew)."""
    result = rc.edit(align_faces(photo, faces), edits, domain=domain, rectify=domain.rectifier is not None)
    unedited = result.inversion if result.reconstruction is None else result.reconstruction
    return paste_faces(photo, result.result, faces, reference=None if whole else unedited).photos


def error(picture: Tensor, exact: Tensor, where: Tensor) -> float:
    """Mean absolute difference in levels of 255."""
    return float((picture - exact).abs()[where.expand_as(picture)].mean()) * LEVELS


def table(results: dict[str, list[tuple[float, float]]]) -> Iterable[str]:
    """Markdown lines."""
    yield "| row | inside the squares | where it should change |"
    yield "| --- | ---: | ---: |"
    for name, values in results.items():
        a, b = (sum(v[i] for v in values) / len(values) for i in (0, 1))
        yield f"| {name} | {a:.2f} | {b:.2f} |"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=5)
    parser.add_argument("--domain", default="portraits")
    parser.add_argument("--edit", action="append", default=[], metavar="CONTROL=CHANGE")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    edits = {name: float(value) for name, value in rc.parse_edits(", ".join(args.edit or ["yaw=+10"])).items()}
    domain = rc.load_domain(args.domain)
    results: dict[str, list[tuple[float, float]]] = {}
    for i in range(args.scenes):
        scene = sample_scene(1 + i % 5, FIRST_SEED + 100 * i, 480, 320)
        for name, values in measure(scene, edits, domain, i).items():
            results.setdefault(name, []).append(values)
    print("\n".join(table(results)))
    if args.json:
        args.json.write_text(json.dumps({"edits": edits, "scenes": args.scenes, "results": results}, indent=1))


if __name__ == "__main__":
    main()
