"""What a portrait is made of: named parameters, their distributions, and seeded sampling.

A portrait is a pure function of one integer seed. Every parameter draws its own number from a counter-based
hash of (seed, parameter name), so portraits can be made in any order, in batches of any size, and a parameter
added later does not reshuffle the others.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, MismatchError

__all__ = ["ITEMS", "STYLES", "Portraits", "concat", "mirror", "sample", "scores"]

#: Long-tail items. Training sets never contain them.
ITEMS: tuple[str, ...] = ("hat", "earrings", "paint", "hand", "pattern")
#: Drawing styles. Training sets use "default" only.
STYLES: tuple[str, ...] = ("default", "toon")
#: Longest hair that leaves the ears, and so the earrings, free.
EARRING_HAIR_LENGTH = 0.45

#: Uniform parameters: name -> (low, high).
UNIFORM: dict[str, tuple[float, float]] = {
    # attributes
    "smile": (-1.0, 1.0), "age": (-1.0, 1.0), "hair_length": (0.0, 1.0), "hair_lightness": (0.0, 1.0),
    "skin_tone": (0.0, 1.0), "light_azimuth": (-55.0, 55.0), "light_elevation": (5.0, 50.0),
    # identity
    "eye_hue": (0.0, 1.0), "hair_volume": (0.0, 1.0), "hair_curl": (0.0, 1.0), "bangs": (-1.0, 1.0),
    "part": (-1.0, 1.0), "brow_weight": (0.0, 1.0), "glasses_roundness": (0.0, 1.0), "glasses_tint": (0.0, 1.0),
    # clothes, background, light
    "cloth_hue": (0.0, 1.0), "cloth_saturation": (0.25, 0.75), "cloth_value": (0.3, 0.9), "neckline": (0.0, 1.0),
    "background_hue": (0.0, 1.0), "background_saturation": (0.1, 0.55), "background_value": (0.4, 0.9),
    "background_fall": (0.5, 0.8),
    # long-tail items
    "hat_brim": (0.0, 1.0), "hat_hue": (0.0, 1.0), "hat_saturation": (0.45, 0.9), "hat_value": (0.35, 0.95),
    "hat_band_shift": (0.25, 0.75), "earring_hue": (0.0, 1.0), "earring_gold": (0.0, 1.0),
    "earring_size": (0.055, 0.085), "earring_drop": (0.0, 1.0), "paint_kind": (0.0, 3.0), "paint_hue": (0.0, 1.0),
    "paint_shift": (0.25, 0.75), "paint_side": (-1.0, 1.0), "hand_side": (-1.0, 1.0), "hand_x": (0.06, 0.30),
    "hand_y": (-0.40, -0.14), "hand_turn": (-0.3, 0.8), "pattern_kind": (0.0, 4.0), "pattern_scale": (2.5, 5.5),
    "pattern_angle": (-1.5708, 1.5708), "pattern_hue": (0.0, 1.0), "pattern_saturation": (0.2, 0.9),
    "pattern_value": (0.2, 1.0),
}
#: Normal parameters: name -> (standard deviation, largest magnitude); all have mean 0.
NORMAL: dict[str, tuple[float, float]] = {
    "yaw": (16.0, 38.0), "pitch": (6.0, 14.0),
    "face_width": (0.5, 1.1), "face_length": (0.5, 1.1), "jaw_width": (0.5, 1.1), "nose_size": (0.5, 1.1),
    "eye_size": (0.5, 1.1), "background_tilt": (0.5, 1.0),
}
#: Yes/no parameters: name -> probability of 1.
BINARY: dict[str, float] = {"glasses": 0.3, "bun": 0.12}
#: Probability of a beard, of those who are no children.
BEARDED = 0.42
#: Sampled people of at most this age never have a beard; an edited child may.
BEARDLESS_AGE = -0.4
#: Parameters that change sign when the picture is flipped left to right.
MIRRORED: tuple[str, ...] = ("yaw", "light_azimuth", "part", "background_tilt", "paint_side", "hand_side",
                             "pattern_angle")
#: Draws with a distribution of their own, see `sample`.
SPECIAL: tuple[str, ...] = ("eye_openness", "bearded", "beard", "hair_warmth")
#: Everything that is drawn for a portrait without long-tail items, in the order of `scores`.
DRAWN: tuple[str, ...] = tuple(sorted(
    name for name in (*UNIFORM, *NORMAL, *BINARY, *SPECIAL) if not name.startswith(("hat_", "earring_", "paint_",
                                                                                  "hand_", "pattern_"))))


@dataclass(frozen=True)
class Portraits:
    """Parameters of n portraits: `values` maps every parameter and item name to a float tensor [n].

    Supports len(), indexing (an int gives one portrait, still a set), slices, index lists and tensors.
    """

    values: Mapping[str, Tensor] = field(repr=False)
    style: str = "default"

    def __len__(self) -> int:
        return int(self.values["yaw"].shape[0])

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Portraits:
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"portrait {index} of {len(self)}")
            index = slice(index, index + 1 or None)
        return self._map(lambda value: value[index])

    def __iter__(self) -> Iterable[Portraits]:
        return (self[i] for i in range(len(self)))

    @property
    def device(self) -> torch.device:
        return self.values["yaw"].device

    @property
    def items(self) -> tuple[str, ...]:
        """The long-tail items that at least one portrait wears."""
        return tuple(name for name in ITEMS if bool((self.values[name] > 0).any()))

    def _map(self, change) -> Portraits:
        return Portraits({name: change(value) for name, value in self.values.items()}, self.style)

    def to(self, device: torch.device | str) -> Portraits:
        """The same parameters on another device; render() works where they are."""
        return self._map(lambda value: value.to(device))

    def repeat(self, times: int) -> Portraits:
        """Every portrait `times` times in a row: a, a, b, b, ..."""
        return self._map(lambda value: value.repeat_interleave(times))

    def replace(self, values: Mapping[str, Tensor]) -> Portraits:
        """The same portraits with some parameter tensors [n] replaced."""
        merged = dict(self.values)
        for name, value in values.items():
            if name not in merged:
                raise InputError(f"A portrait has no parameter {name!r}. It has: {', '.join(merged)}.")
            merged[name] = torch.as_tensor(value, dtype=torch.float32, device=self.device).expand(len(self)).clone()
        return Portraits(merged, self.style)


def concat(parts: Sequence[Portraits]) -> Portraits:
    """Several sets one after the other; they must share a style."""
    if not parts:
        raise InputError("concat needs at least one set of portraits.")
    if len({part.style for part in parts}) > 1:
        raise MismatchError(f"Portraits of different styles cannot be joined: {sorted({p.style for p in parts})}.")
    return Portraits({name: torch.cat([part.values[name] for part in parts]) for name in parts[0].values},
                     parts[0].style)


def mirror(portraits: Portraits) -> Portraits:
    """The portraits whose pictures are the left-right flipped pictures of the given ones (labels flipped too)."""
    return Portraits({name: -value if name in MIRRORED else value.clone() for name, value in portraits.values.items()},
                     portraits.style)


def _mix(state: np.ndarray) -> np.ndarray:
    """SplitMix64's output function (Steele, Lea, Flood 2014): a bijection on 64-bit words that avalanches."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def uniforms(seeds: np.ndarray, name: str) -> np.ndarray:
    """Numbers in (0, 1), float64 [n], that depend on the seed (uint64 [n]) and the name only."""
    key = np.array([zlib.crc32(name.encode())], dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    words = _mix(_mix(seeds * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x632BE59BD9B4E019)) ^ _mix(key))
    return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def sample(n: int, seed: int, items: Sequence[str] = (), style: str = "default") -> Portraits:
    """Parameters of n portraits; number i depends on seed + i only, so sample(n, s)[i] equals sample(1, s + i).

    `items` switches long-tail items (see ITEMS) on for all n portraits; earrings bring hair that leaves the ears
    free. `style` is one of STYLES. Training sets use neither. Raises InputError for unknown items or styles.
    """
    if isinstance(items, str):
        items = (items,)
    unknown = [item for item in items if item not in ITEMS]
    if unknown:
        raise InputError(f"Unknown portrait items {unknown}; there are: {', '.join(ITEMS)}.")
    if style not in STYLES:
        raise InputError(f"Unknown portrait style {style!r}; there are: {', '.join(STYLES)}.")
    if n < 0:
        raise InputError(f"The number of portraits must not be negative, got {n}.")
    start = np.array([int(seed) % 2**64], dtype=np.uint64)
    seeds = start + np.arange(n, dtype=np.uint64)

    def draw(name: str) -> Tensor:
        return torch.from_numpy(uniforms(seeds, name))

    values: dict[str, Tensor] = {}
    for name, (low, high) in UNIFORM.items():
        values[name] = low + (high - low) * draw(name)
    for name, (deviation, limit) in NORMAL.items():
        values[name] = (torch.special.ndtri(draw(name)) * deviation).clamp(-limit, limit)
    for name, probability in BINARY.items():
        values[name] = (draw(name) < probability).double()
    # Open eyes are the rule: about one portrait in seven has them wide open, one in nine (nearly) closed.
    values["eye_openness"] = (1.1 * draw("eye_openness") ** 0.6).clamp(0.0, 1.0)
    values["beard"] = beard_of(draw("bearded"), draw("beard"), values["age"])
    # Every second head of hair is neutral; the others lean to red.
    values["hair_warmth"] = (2.0 * draw("hair_warmth") - 1.0).clamp_min(0.0)
    if "earrings" in items:
        values["hair_length"] = values["hair_length"].clamp_max(EARRING_HAIR_LENGTH)
    for item in ITEMS:
        values[item] = torch.full((n,), float(item in items))
    return Portraits({name: value.float() for name, value in sorted(values.items())}, style)


def beard_of(bearded: Tensor, amount: Tensor, age: Tensor) -> Tensor:
    """The beard, from the draws in (0,1) whether and how much, and the age; two thirds of people have none."""
    return torch.where((bearded < BEARDED) & (age > BEARDLESS_AGE), 0.25 + 0.75 * amount, 0.0)


def scores(n: int, seed: int) -> Tensor:
    """Standard normal scores [n,len(DRAWN)], float64, of what `sample(n, seed)` draws: they determine the portraits.

    A score is the quantile of the draw, so scores of different names are independent, and those of the MIRRORED names
    change sign when the picture is flipped.
    """
    seeds = np.array([int(seed) % 2**64], dtype=np.uint64) + np.arange(n, dtype=np.uint64)
    return torch.stack([torch.special.ndtri(torch.from_numpy(uniforms(seeds, name))) for name in DRAWN], dim=1)
