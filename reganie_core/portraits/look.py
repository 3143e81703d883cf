"""Derived quantities of a batch of portraits: colours, proportions, frames. Computed once per render chunk."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .geometry import Frame, rotation
from .parameters import Portraits

#: Three colour channels, each [n,1,1] (one colour per portrait) or [n,h,w].
Colour = tuple[Tensor, Tensor, Tensor]

#: The head turns about a point in the neck, so that turning also moves it.
HEAD_PIVOT = (0.0, -0.30, -0.10)

_SKIN = ((0.97, 0.82, 0.71), (0.94, 0.73, 0.59), (0.85, 0.62, 0.45), (0.67, 0.45, 0.31), (0.49, 0.31, 0.21),
         (0.36, 0.22, 0.15))
_HAIR = ((0.09, 0.075, 0.085), (0.20, 0.12, 0.08), (0.38, 0.22, 0.11), (0.60, 0.38, 0.18), (0.82, 0.61, 0.32),
         (0.97, 0.84, 0.55))
_IRIS = ((0.28, 0.15, 0.07), (0.45, 0.28, 0.10), (0.30, 0.52, 0.28), (0.24, 0.50, 0.78), (0.42, 0.50, 0.58))
_GLASSES = ((0.04, 0.04, 0.05), (0.05, 0.05, 0.06), (0.25, 0.10, 0.05), (0.45, 0.06, 0.08), (0.06, 0.12, 0.38))


def split(colour: Tensor) -> Colour:
    """[n,3] -> three [n,1,1]."""
    return tuple(colour[:, i, None, None] for i in range(3))


def blend(a: Colour, b: Colour | tuple[float, float, float], weight: Tensor | float) -> Colour:
    """a * (1 - weight) + b * weight per channel."""
    return tuple(x + (y - x) * weight for x, y in zip(a, b, strict=True))


def scale(colour: Colour, factor: Tensor | float | tuple[float, float, float], weight: Tensor | float = 1.0) -> Colour:
    """Multiply by `factor` (one number, a tensor, or one per channel) where `weight` is 1."""
    factors = factor if isinstance(factor, tuple) else (factor, factor, factor)
    return tuple(x * (1.0 - (1.0 - f) * weight) for x, f in zip(colour, factors, strict=True))


def hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Hue (wraps at 1), saturation and value, each [n], to RGB [n,3]."""
    offset = torch.tensor([5.0, 3.0, 1.0], device=hue.device)
    x = torch.remainder(offset + hue[:, None] * 6.0, 6.0)
    return value[:, None] - (value * saturation)[:, None] * torch.minimum(x, 4.0 - x).clamp(0.0, 1.0)


def ramp(stops: tuple[tuple[float, float, float], ...], position: Tensor) -> Tensor:
    """Piecewise linear colour ramp: position [n] in [0,1] -> [n,3]."""
    table = torch.tensor(stops, device=position.device)
    place = position.clamp(0.0, 1.0) * (len(stops) - 1)
    index = place.floor().long().clamp_max(len(stops) - 2)
    return torch.lerp(table[index], table[index + 1], (place - index)[:, None])


@dataclass
class Look:
    """Per-portrait constants. Parameters are [n,1,1] in `p`; colours are triples of [n,1,1]."""

    p: dict[str, Tensor]
    head: Frame
    body: Frame
    child: Tensor
    old: Tensor
    happy: Tensor
    sad: Tensor
    width: Tensor
    length: Tensor
    jaw: Tensor
    skin: Colour
    hair: Colour
    iris: Colour
    glasses: Colour
    light: Tensor
    light_in_head: Tensor
    hair_volume: Tensor
    hair_thickness: Tensor
    hair_end: Tensor
    eye_level: Tensor

    @classmethod
    def of(cls, portraits: Portraits) -> Look:
        v = portraits.values
        p = {name: value[:, None, None] for name, value in v.items()}
        child, old = (-p["age"]).clamp_min(0.0), p["age"].clamp_min(0.0)
        head = Frame(rotation(v["yaw"], v["pitch"]), HEAD_PIVOT)
        body = Frame(rotation(v["yaw"] * 0.3, v["pitch"] * 0.0), HEAD_PIVOT)
        hair = ramp(_HAIR, v["hair_lightness"])
        hair = hair * (1.0 + v["hair_warmth"][:, None] * torch.tensor([0.45, -0.12, -0.45], device=hair.device))
        grey = ((v["age"] - 0.15) / 0.85).clamp(0.0, 1.0)[:, None] * 0.9
        hair = torch.lerp(hair, torch.tensor([0.83, 0.83, 0.86], device=hair.device).expand_as(hair), grey)
        azimuth, elevation = torch.deg2rad(v["light_azimuth"]), torch.deg2rad(v["light_elevation"])
        light = torch.stack([azimuth.sin() * elevation.cos(), elevation.sin(), azimuth.cos() * elevation.cos()], -1)
        # A hat presses the hair down.
        volume = p["hair_volume"] * (1.0 - 0.8 * p["hat"])
        grown = (p["hair_length"] * 4.0).clamp_max(1.0)
        return cls(
            p=p, head=head, body=body, child=child, old=old,
            happy=p["smile"].clamp_min(0.0), sad=(-p["smile"]).clamp_min(0.0),
            width=1.0 + 0.05 * p["face_width"] + 0.05 * child, length=1.0 + 0.05 * p["face_length"] - 0.11 * child,
            jaw=1.0 + 0.10 * p["jaw_width"] + 0.05 * old,
            skin=split(ramp(_SKIN, v["skin_tone"])), hair=split(hair.clamp(0.03, 1.0)),
            iris=split(ramp(_IRIS, v["eye_hue"])), glasses=split(ramp(_GLASSES, v["glasses_tint"])),
            light=light, light_in_head=head.direction_to_local(light),
            hair_volume=volume, hair_thickness=0.018 + 0.030 * grown + volume * (0.025 + 0.050 * grown),
            hair_end=0.02 - 0.80 * p["hair_length"],
            eye_level=0.035 - 0.035 * child,
        )

    def flat(self, name: str) -> Tensor:
        """A parameter or derived [n,1,1] value as [n]."""
        value = self.p[name] if name in self.p else getattr(self, name)
        return value[:, 0, 0]
