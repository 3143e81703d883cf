"""Scenes with faces at known places, for the face detector: photographs of faces put into made-up surroundings.

Everything comes from the labelled photographs themselves and from drawn shapes, so that nothing else is needed: no
pictures without faces, no scenes with boxes. What is no face but looks a little like one is made of faces as well:
enlarged parts, and faces upside down.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from reganie_core.errors import InputError
from reganie_core.networks.face_detector import CROP

KEPT = 112                  # px, side of a photograph in memory
SCENE = 128                 # px
SIDES = (28.0, 80.0)        # px, of a face's square in a scene
WITHOUT = 0.3               # share of scenes without a face
NAMES = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")


@dataclass
class Photographs:
    """``images`` uint8 ``[N,3,112,112]``; ``points`` ``[N,5,2]`` in their pixels."""

    images: Tensor
    points: Tensor


@dataclass
class Scenes:
    """``images [B,3,128,128]`` in [-1,1]; of the face of each: ``points [B,5,2]`` and ``side [B]`` in px, 0: none."""

    images: Tensor
    points: Tensor
    side: Tensor


def read(folder: Path) -> Photographs:
    """The photographs of ``folder/labels.csv``: a column `file`, and ten with the points in pixels.

    Raises:
        InputError: no table, no such columns, or no picture that it names.
    """
    table = folder / "labels.csv"
    if not table.is_file():
        raise InputError(f"There is no {table}: a table with a column `file` and x and y of five points each "
                         f"({NAMES[0]}_x, {NAMES[0]}_y, ...).")
    with table.open(newline="", encoding="utf-8-sig") as handle:
        rows = list(csv.DictReader(handle))
    columns = [f"{name}_{axis}" for name in NAMES for axis in "xy"]
    missing = [c for c in ("file", *columns) if not rows or c not in rows[0]]
    if missing:
        raise InputError(f"{table} lacks the columns {', '.join(missing)}.")
    images, points = [], []
    for row in rows:
        path = folder / row["file"]
        if not path.is_file():
            continue
        with Image.open(path) as picture:
            width, height = picture.size
            small = picture.convert("RGB").resize((KEPT, KEPT), Image.Resampling.BOX)
        images.append(torch.from_numpy(np.array(small)).permute(2, 0, 1))
        found = torch.tensor([float(row[c]) for c in columns]).view(5, 2)
        points.append((found + 0.5) * KEPT / torch.tensor([width, height]) - 0.5)
    if not images:
        raise InputError(f"None of the {len(rows)} pictures named in {table} is in {folder}.")
    return Photographs(torch.stack(images), torch.stack(points))


def _uniform(random: torch.Generator, count: int, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=random)


def _similarity(photos: Photographs, rows: Tensor, side: Tensor, centre: Tensor, turn: Tensor, mirror: Tensor,
                size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Photographs ``rows`` drawn as squares of ``side`` px around ``centre`` into ``size`` px, turned (radians) and
    mirrored: pictures ``[B,3,size,size]``, how far a place is from the photograph's centre along its axes
    ``[B,2,size,size]`` (1 on its edges), and its points ``[B,5,2]`` there.
    """
    half = (KEPT - 1) / 2.0
    scale = side / KEPT
    flip = torch.where(mirror, -1.0, 1.0)
    cos, sin = turn.cos(), turn.sin()
    # scene = centre + scale * turn(flip(photo - half)); its inverse is what grid_sample needs
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    dx = (x[None] - centre[:, 0, None, None]) / scale[:, None, None]
    dy = (y[None] - centre[:, 1, None, None]) / scale[:, None, None]
    u = (cos[:, None, None] * dx + sin[:, None, None] * dy) * flip[:, None, None]
    v = -sin[:, None, None] * dx + cos[:, None, None] * dy
    grid = torch.stack([u, v], -1) * 2.0 / KEPT
    images = photos.images[rows].float() / 127.5 - 1.0
    # smaller ones are averaged first, so that no pixel is skipped
    small = F.interpolate(images, size=int(KEPT / 2), mode="area")
    images = torch.where((scale < 0.6)[:, None, None, None], F.interpolate(small, size=KEPT, mode="bilinear"), images)
    drawn = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    inside = torch.stack([u, v], 1).abs() / half                                    # 1 on the photograph's edges
    local = (photos.points[rows] - half) * torch.stack([flip, torch.ones_like(flip)], 1)[:, None]
    points = torch.stack([cos[:, None] * local[..., 0] - sin[:, None] * local[..., 1],
                          sin[:, None] * local[..., 0] + cos[:, None] * local[..., 1]], -1)
    points = centre[:, None] + scale[:, None, None] * points
    swapped = points[:, [1, 0, 2, 4, 3]]                                            # a mirrored right eye is a left one
    return drawn, inside, torch.where(mirror[:, None, None], swapped, points)


def _surroundings(photos: Photographs, count: int, random: torch.Generator) -> Tensor:
    """Pictures ``[count,3,128,128]`` without a face: enlarged parts, faces upside down, drawn shapes, noise."""
    rows = torch.randint(len(photos.images), (count,), generator=random)
    large = _uniform(random, count, 3.0, 12.0) * SCENE
    # a corner of the photograph, away from eyes and mouth, fills the scene
    corner = torch.where(torch.rand(count, 2, generator=random) < 0.5, 0.38, -0.38) * large[:, None]
    turn = _uniform(random, count, -3.14, 3.14)
    never = torch.zeros(count, dtype=torch.bool)
    shift = torch.stack([turn.cos() * corner[:, 0] - turn.sin() * corner[:, 1],
                         turn.sin() * corner[:, 0] + turn.cos() * corner[:, 1]], 1)
    scene = _similarity(photos, rows, large, SCENE / 2 + shift, turn, never, SCENE)[0]
    coarse = torch.randn(count, 3, 4, 4, generator=random)
    fine = torch.randn(count, 3, 32, 32, generator=random) * _uniform(random, count, 0.0, 0.4)[:, None, None, None]
    drawn = (F.interpolate(coarse, size=SCENE, mode="bicubic") * 0.5
             + F.interpolate(fine, size=SCENE, mode="bilinear")).tanh()
    plain = torch.rand(count, generator=random) < 0.4
    scene = torch.where(plain[:, None, None, None], drawn, scene)
    for _ in range(6):                                    # boxes and bars with their own colour, as rooms have
        low = torch.rand(count, 2, generator=random) * 1.2 - 0.2
        high = low + torch.rand(count, 2, generator=random).square() * 0.8
        colour = torch.rand(count, 3, 1, 1, generator=random) * 2 - 1
        axis = torch.linspace(0, 1, SCENE)
        box = (((axis >= low[:, :1]) & (axis < high[:, :1]))[:, None, :]
               & ((axis >= low[:, 1:]) & (axis < high[:, 1:]))[:, :, None])
        shown = torch.rand(count, generator=random) < 0.35
        scene = torch.where((box & shown[:, None, None])[:, None], 0.8 * colour + 0.2 * scene, scene)
    return scene


def _degraded(images: Tensor, random: torch.Generator) -> Tensor:
    """Light, contrast, colour, blur, noise, now and then grey: what photographs of other cameras have."""
    count = len(images)

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return _uniform(random, count * channels, low, high).view(count, channels, 1, 1)

    soft = F.interpolate(F.interpolate(images, scale_factor=0.5, mode="area"), size=images.shape[-1], mode="bilinear")
    images = torch.lerp(images, soft, draw(-0.3, 1.0).clamp_min(0.0))
    grey = images.mean(1, keepdim=True)
    images = torch.lerp(grey, images, torch.where(draw(0, 1) < 0.15, torch.zeros(1), draw(0.6, 1.3)))
    images = images * draw(0.5, 1.2) + draw(-0.35, 0.35) + draw(-0.1, 0.1, 3)
    noise = torch.randn(images.shape, generator=random) * draw(0.0, 0.08)
    return (images + noise).clamp(-1.0, 1.0)


def scenes(photos: Photographs, count: int, random: torch.Generator) -> Scenes:
    """``count`` scenes; about a third without a face. The same generator state gives the same scenes."""
    scene = _surroundings(photos, count, random)
    for upside_down in (True, False):
        rows = torch.randint(len(photos.images), (count,), generator=random)
        side = (torch.rand(count, generator=random) * np.log(SIDES[1] / SIDES[0])).exp() * SIDES[0]
        centre = torch.rand(count, 2, generator=random) * (SCENE - 0.6 * side[:, None]) + 0.3 * side[:, None]
        turn = torch.randn(count, generator=random) * 0.2 + (3.14159 if upside_down else 0.0)
        mirror = torch.rand(count, generator=random) < 0.5
        drawn, inside, points = _similarity(photos, rows, side, centre, turn, mirror, SCENE)
        present = torch.rand(count, generator=random) < (0.15 if upside_down else 1 - WITHOUT)
        # three outlines: the whole photograph with its edges, an oval, and the photograph going on mirrored to a border
        kind = torch.rand(count, generator=random)
        soft = _uniform(random, count, 2.0, 20.0)[:, None, None]
        box = ((1.0 - inside.amax(1)) * soft + 1.0).clamp(0.0, 1.0)
        radius = (inside * torch.tensor([1.15, 1.0]).view(1, 2, 1, 1)).square().sum(1).sqrt()
        oval = ((1.0 - radius) * soft + 1.0).clamp(0.0, 1.0)
        wide = ((_uniform(random, count, 1.0, 1.35)[:, None, None] - inside.amax(1)) * 30.0).clamp(0.0, 1.0)
        mask = torch.where((kind < 0.35)[:, None, None], box, torch.where((kind < 0.75)[:, None, None], oval, wide))
        mask = (mask * present[:, None, None])[:, None]
        scene = torch.lerp(scene, drawn, mask)
    # something in front of a part of the face: a hand, a microphone, a bar of text
    colour = torch.rand(count, 3, 1, 1, generator=random) * 2 - 1
    place = centre + (torch.rand(count, 2, generator=random) - 0.5) * side[:, None]
    reach = side[:, None] * (0.08 + 0.17 * torch.rand(count, 2, generator=random))
    axis = torch.arange(SCENE)
    front = (((axis - place[:, :1]).abs() < reach[:, :1])[:, None, :]
             & ((axis - place[:, 1:]).abs() < reach[:, 1:])[:, :, None])
    shown = torch.rand(count, generator=random) < 0.25
    scene = torch.where((front & shown[:, None, None])[:, None], colour, scene)
    return Scenes(_degraded(scene, random), points, side * present)


def crops(photos: Photographs, count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Squares ``[N,3,64,64]`` around faces as the finder gives them, and the points in them as shares ``[N,5,2]``."""
    rows = torch.randint(len(photos.images), (count,), generator=random)
    side = CROP / 1.15 * (torch.randn(count, generator=random) * 0.12).exp()
    centre = (CROP - 1) / 2 + torch.randn(count, 2, generator=random) * 0.06 * CROP
    turn = torch.randn(count, generator=random) * 0.12
    mirror = torch.rand(count, generator=random) < 0.5
    drawn, _, points = _similarity(photos, rows, side, centre, turn, mirror, CROP)
    return _degraded(drawn, random), (points + 0.5) / CROP
