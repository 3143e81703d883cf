"""Who somebody is, apart from pose, expression, light and surroundings: other pictures of the same person."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import InputError
from .parameters import BINARY, NORMAL, UNIFORM, Portraits, uniforms

__all__ = ["VARYING", "variants"]

#: Parameters that differ between two pictures of one person: pose, expression, glasses, light, clothes, background.
VARYING: tuple[str, ...] = (
    "yaw", "pitch", "smile", "eye_openness", "glasses", "light_azimuth", "light_elevation", "cloth_hue",
    "cloth_saturation", "cloth_value", "neckline", "background_hue", "background_saturation", "background_value",
    "background_fall", "background_tilt",
)
#: Largest difference of age between two pictures of one person, in the control's unit.
AGE_SPREAD = 0.25


def variants(portraits: Portraits, count: int, seed: int) -> Portraits:
    """`count` pictures of each person, person-major: [n * count] portraits.

    Every parameter of :data:`VARYING` is drawn anew from its distribution and age moves by up to 0.25; the rest, the
    identity, stays. Deterministic in (seed, row). Raises InputError for a count below 1.
    """
    if count < 1:
        raise InputError(f"Give at least one picture of each person, got {count}.")
    rows = portraits.repeat(count)
    seeds = np.array([seed % 2**64], dtype=np.uint64) + np.arange(len(rows), dtype=np.uint64)

    def draw(name: str) -> torch.Tensor:
        return torch.from_numpy(uniforms(seeds, f"variant.{name}"))

    values = {}
    for name in VARYING:
        u = draw(name)
        if name in UNIFORM:
            low, high = UNIFORM[name]
            values[name] = low + (high - low) * u
        elif name in NORMAL:
            deviation, limit = NORMAL[name]
            values[name] = (torch.special.ndtri(u) * deviation).clamp(-limit, limit)
        elif name in BINARY:
            values[name] = (u < BINARY[name]).double()
        else:  # eye_openness, drawn as `sample` draws it
            values[name] = (1.1 * u**0.6).clamp(0.0, 1.0)
    values["age"] = (rows.values["age"].cpu().double() + AGE_SPREAD * (2 * draw("age") - 1)).clamp(-1.0, 1.0)
    return rows.replace({name: value.float() for name, value in values.items()})
