"""Larger pictures with several portraits at known places: the ground truth for aligning and putting back.

>>> scene = sample_scene(3, seed=7, width=1200, height=800)
>>> photo, points = scene.render(), scene.points()          # [1,3,800,1200], [3,5,2]
>>> exact = scene.edited({"yaw": 15.0}, who=[1]).render()   # the exact answer to an edit of the second person
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..faces.warp import crop_coordinates, edge_distance, spread_square
from .controls import edit
from .landmarks import face_points
from .parameters import Portraits, concat, sample, uniforms
from .render import render

__all__ = ["Scene", "sample_scene"]

#: Width of the soft edge of a portrait, as a share of its side.
FEATHER = 0.06
LARGEST_RENDER = 2048


@dataclass(frozen=True)
class Scene:
    """People in a picture.

    Attributes:
        people: n portraits.
        places: for each its centre x, y (pixels, centres at whole numbers), side in pixels and turn in degrees
            (clockwise as seen).
        width, height: of the picture.
        seed: of the background.
    """

    people: Portraits
    places: tuple[tuple[float, float, float, float], ...]
    width: int
    height: int
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.places) != len(self.people) or not self.places or min(self.width, self.height) < 16:
            raise InputError(f"A scene needs one place for each of its {len(self.people)} people and at least 16x16 "
                             f"pixels; found {len(self.places)} places and {self.width}x{self.height}.")

    def quads(self) -> Tensor:
        """Squares ``[n,4,2]``: upper left, lower left, lower right, upper right, in the scene's pixels; float64."""
        corners = torch.tensor([[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5]], dtype=torch.float64)
        rows = []
        for x, y, side, turn in self.places:
            c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
            rotate = torch.tensor([[c, s], [-s, c]], dtype=torch.float64)
            rows.append(corners @ rotate * side + torch.tensor([x, y], dtype=torch.float64))
        return torch.stack(rows)

    def points(self) -> Tensor:
        """The five points ``[n,5,2]`` of everybody, in the scene's pixels; float64 and exact."""
        local = (face_points(self.people, 1000) + 0.5) / 1000.0
        quads = self.quads()
        across, down = quads[:, 3] - quads[:, 0], quads[:, 1] - quads[:, 0]
        return quads[:, None, 0] + local[..., :1] * across[:, None] + local[..., 1:] * down[:, None]

    def render(self) -> Tensor:
        """The picture ``[1,3,height,width]`` in [-1,1], on the people's device; deterministic."""
        picture = self._background()
        for person, place, quad in zip(self.people, self.places, self.quads(), strict=True):
            low, high = quad.amin(0).ceil().long().tolist(), quad.amax(0).floor().long().tolist()
            bounds = (max(low[0], 0), min(high[0] + 1, self.width), max(low[1], 0), min(high[1] + 1, self.height))
            if bounds[0] >= bounds[1] or bounds[2] >= bounds[3]:
                continue
            # Twice as fine as it is seen, so that the warp loses nothing.
            crop = render(person, min(LARGEST_RENDER, 2 * math.ceil(place[2])))
            coordinates = crop_coordinates(quad, bounds, picture.device)
            ramp = (edge_distance(coordinates) / FEATHER).clamp_max(1.0)
            weight = ramp * ramp * (3.0 - 2.0 * ramp)
            part = picture[..., bounds[2] : bounds[3], bounds[0] : bounds[1]]
            part += weight * (spread_square(crop, coordinates, place[2]).clamp(-1.0, 1.0) - part)
        return picture

    def edited(self, changes: Mapping[str, float | Tensor], who: Sequence[int] | None = None) -> Scene:
        """The same scene with the attributes of some people (None: all) changed; see :func:`portraits.edit`."""
        chosen = range(len(self.people)) if who is None else [int(i) for i in who]
        parts = [edit(person, changes) if i in chosen else person for i, person in enumerate(self.people)]
        return replace(self, people=concat(parts))

    def _background(self) -> Tensor:
        """A smooth wall of two colours with faint waves."""
        device = self.people.device
        draw = uniforms(np.arange(self.seed * 16, self.seed * 16 + 12, dtype=np.uint64), "scene")
        colours = torch.from_numpy(draw[:6]).float().to(device).view(2, 3, 1, 1) * 0.9 - 0.6
        y, x = torch.meshgrid(torch.linspace(0, 1, self.height, device=device),
                              torch.linspace(0, 1, self.width, device=device), indexing="ij")
        angle = 2.0 * math.pi * float(draw[6])
        blend = (0.5 + (x - 0.5) * math.cos(angle) + (y - 0.5) * math.sin(angle)).clamp(0.0, 1.0)
        wave = 0.08 * torch.sin(2.0 * math.pi * ((3 + 5 * float(draw[7])) * x + 4 * float(draw[8]) * y))
        return (colours[0] + (colours[1] - colours[0]) * blend + wave).clamp(-1.0, 1.0)[None].clone()


def sample_scene(count: int, seed: int, width: int = 1200, height: int = 800, *, turn: float = 30.0,
                 items: Sequence[str] = (), low: float = 0.6, high: float = 0.95) -> Scene:
    """A scene of ``count`` people (seeds from ``seed``) that do not cover each other's faces.

    Args:
        turn: people are turned by up to this many degrees either way.
        items: long-tail items everybody wears; see :func:`portraits.sample`.
        low, high: sides of the portraits as shares of the room each has.
    """
    if not 1 <= count <= 64:
        raise InputError(f"A scene has 1 to 64 people, found {count}.")
    columns = min(count, max(1, round(math.sqrt(count * width / height))))
    rows = math.ceil(count / columns)
    cell = (width / columns, height / rows)
    draws = uniforms(np.arange(seed * 4, seed * 4 + 4 * count, dtype=np.uint64), "place").reshape(count, 4)
    places = []
    for i, (across, down, size, angle) in enumerate(draws.tolist()):
        side = min(cell) * (low + (high - low) * size)
        x = (i % columns + 0.5) * cell[0] + (across - 0.5) * (cell[0] - side)
        y = (i // columns + 0.5) * cell[1] + (down - 0.5) * (cell[1] - side)
        places.append((x, y, side, turn * (2.0 * angle - 1.0)))
    return Scene(sample(count, seed, items=tuple(items)), tuple(places), width, height, seed)
