"""Short clips of a portrait in motion, with exact points: for anything that works on frames."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import InputError
from .parameters import Portraits, sample
from .scenes import Scene

__all__ = ["clip_scenes", "points_of", "turning_head"]


def turning_head(frames: int, seed: int, *, turn: float = 22.0, nod: float = 6.0, turns: float = 1.0) -> Portraits:
    """One person with earrings in ``frames`` poses: the head turns to both sides and nods, the earrings swing along.

    Args:
        turn, nod: largest yaw and pitch in degrees.
        turns: whole swings from side to side within the clip.
    """
    if frames < 1:
        raise InputError(f"A clip needs at least one frame, found {frames}.")
    person = sample(1, seed, items=("earrings",)).repeat(frames)
    phase = torch.arange(frames) * (2.0 * math.pi * turns / frames)
    return person.replace({"yaw": turn * torch.sin(phase), "pitch": nod * torch.sin(2.0 * phase),
                           "smile": 0.5 + 0.3 * torch.sin(phase)})


def clip_scenes(people: Portraits, width: int = 320, height: int = 240, *, side: float = 180.0, drift: float = 20.0,
                tilt: float = 6.0, seed: int = 0) -> list[Scene]:
    """One scene a frame: the person wanders by ``drift`` pixels and tilts by ``tilt`` degrees over the clip."""
    scenes = []
    for t, person in enumerate(people):
        phase = 2.0 * math.pi * t / max(1, len(people))
        place = ((width - 1) / 2.0 + drift * math.sin(phase), (height - 1) / 2.0 + 0.3 * drift * math.cos(phase),
                 side, tilt * math.sin(phase))
        scenes.append(Scene(person, (place,), width, height, seed))
    return scenes


def points_of(scenes: list[Scene]) -> Tensor:
    """Exact points ``[T,5,2]`` of the first person of every scene."""
    return torch.stack([scene.points()[0] for scene in scenes])
